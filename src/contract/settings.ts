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
}

/** How the parts see the configuration. */
export interface SettingsReader {
  current(): Settings;
  /** Called after every change, with the old snapshot; in the order of subscription. */
  onChange(listener: (before: Settings) => void): void;
}
