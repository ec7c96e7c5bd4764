import type { Duration } from '../base/duration.ts';
import type { Priority } from './event.ts';

/** The configuration in force: one frozen snapshot, defaults included. Every loop reads it anew at each turn. */
export interface Settings {
  readonly highPriorityMessageFrequency: Duration;
  readonly lowPriorityMessageFrequency: Duration;
  readonly snapshotFrequency: Duration;
  /** Room for both queues on disk, framing included. At least 8192. */
  readonly maxLocalCacheSizeInBytes: number;
  /** 8192 to 262144. */
  readonly maxMessageSizeInBytes: number;
  readonly hubResourceId: string;
  /** By event name; every collector has one. */
  readonly priorities: Readonly<Record<string, Priority>>;
  /** By event name, for those that can be aggregated. */
  readonly aggregation: Readonly<Record<string, { readonly enabled: boolean; readonly interval: Duration }>>;
  readonly baseline: BaselineSettings;
}

/** What the hardening checks are told, see contract/baseline.ts. Names as the twin has them: there may be no such ones. */
export interface BaselineSettings {
  readonly groupsDisabled: readonly string[];
  readonly checksDisabled: readonly string[];
  readonly roles: readonly string[];
  readonly customChecksEnabled: boolean;
  /** Absolute. */
  readonly customChecksFilePath?: string;
  /** SHA-256, in lower case hexadecimal. */
  readonly customChecksFileHash?: string;
}

/** How the parts see the configuration. */
export interface SettingsReader {
  current(): Settings;
  /** Called after every change, with the old snapshot; in the order of subscription. */
  onChange(listener: (before: Settings) => void): void;
}
