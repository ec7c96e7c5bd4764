import type * as v from 'valibot';
import { ALERT_LEVELS } from './event.ts';
import type { EventRow } from './events.ts';
import {
  bytes,
  choice,
  DURATION,
  EXCEPTIONS,
  FLAG,
  type Kind,
  NAMES,
  PATH,
  PRIORITY,
  RATE,
  SHA256,
  SHA256_OR_NONE,
  type Spelling,
  TIME,
  text,
} from './setting-kinds.ts';

/* What can be configured while the agent runs. `SETTINGS` is the only list: the type `Settings`, the defaults, the checks,
 * the local limits, the mirror in reported and the docs follow from its rows. A dialect decides how the module
 * twin names them, see config/dialect.ts. */

type AnySchema = v.GenericSchema<Spelling, unknown>;

/** The limit of the local file that overrides a setting, see config/limits.ts. */
export interface LimitedBy {
  /** A lower value is raised to this limit. */
  readonly floor?: 'shortestMessageFrequency' | 'shortestSnapshotFrequency';
  /** A higher value is lowered to this limit. */
  readonly ceiling?: 'largestCacheInBytes';
  /** The default replaces Off, or false, for the events that this limit lists. */
  readonly neverOff?: 'alwaysOn';
  /** The event that the limit is about, if the setting itself does not belong to an event. */
  readonly event?: string;
}

/** One row of the table. */
export interface Setting<S extends AnySchema = AnySchema> extends Kind<S> {
  /** The default, in its canonical spelling. `undefined`: the setting is absent unless the module twin contains it. */
  readonly fallback: v.InferInput<S> | undefined;
  /** One sentence for the docs. */
  readonly purpose: string;
  readonly limits: LimitedBy;
}

type WithDefault<S extends AnySchema> = Setting<S> & { readonly fallback: v.InferInput<S> };
type WithoutDefault<S extends AnySchema> = Setting<S> & { readonly fallback: undefined };

const setting = <S extends AnySchema>(
  kind: Kind<S>,
  fallback: v.InferInput<S>,
  purpose: string,
  limits: LimitedBy = {},
): WithDefault<S> => ({ ...kind, fallback, purpose, limits });

/** Absent from `Settings` unless the module twin contains it. */
const settingWithoutDefault = <S extends AnySchema>(kind: Kind<S>, purpose: string): WithoutDefault<S> => ({
  ...kind,
  fallback: undefined,
  purpose,
  limits: {},
});

/** What the settings of an event depend on. */
export type ConfigurableEvent = Pick<EventRow, 'name' | 'priority' | 'isAggregated'>;

/**
 * Every setting, in the order of the docs. A function returns the settings of one event: one, several by name, or
 * `undefined` for none. Other objects are groups.
 */
export const SETTINGS = {
  highPriorityMessageFrequency: setting(DURATION, 'PT7M', 'How often High events are sent.', {
    floor: 'shortestMessageFrequency',
  }),
  lowPriorityMessageFrequency: setting(DURATION, 'PT5H', 'How often Low events are sent.', {
    floor: 'shortestMessageFrequency',
  }),
  snapshotFrequency: setting(DURATION, 'PT13H', 'How often Periodic events are collected.', {
    floor: 'shortestSnapshotFrequency',
  }),
  /** Maximum size of both queues on disk, framing included. */
  maxLocalCacheSizeInBytes: setting(bytes(8192), 2_560_000, 'Disk space for queued events, both queues together.', {
    ceiling: 'largestCacheInBytes',
  }),
  maxMessageSizeInBytes: setting(bytes(8192, 262_144), 204_800, 'Largest message, its properties included.'),
  /** Keyed by event name; every collector has one. */
  priorities: ({ name, priority }: ConfigurableEvent) =>
    setting(PRIORITY, priority, `Priority of ${name}; Off switches it off.`, { neverOff: 'alwaysOn' }),
  /** Keyed by event name; only for events that can be aggregated. */
  aggregation: ({ name, isAggregated }: ConfigurableEvent) =>
    isAggregated === undefined
      ? undefined
      : {
          enabled: setting(FLAG, true, `Whether identical occurrences of ${name} are counted instead of listed.`),
          interval: setting(DURATION, 'PT1H', `How long occurrences of ${name} are counted before they are queued.`, {
            floor: 'shortestMessageFrequency',
          }),
        },
  /** For the hardening rules, see contract/baseline.ts. Names in these lists come from the twin, and may be unknown. */
  baseline: {
    customChecksEnabled: setting(FLAG, false, 'Whether OSBaseline also evaluates the rules of a file of your own.'),
    customChecksFilePath: settingWithoutDefault(
      PATH,
      'Path of that file on the device: `{"rules": [ … ]}`, with rules in the format of the default ones, whose ids begin with `custom.`. It belongs to root, and no other user can write it.',
    ),
    customChecksFileHash: settingWithoutDefault(SHA256, 'SHA-256 of that file.'),
    groupsDisabled: setting(
      NAMES,
      '',
      'Categories of rules that OSBaseline does not evaluate. The status shows every exception.',
    ),
    checksDisabled: setting(NAMES, '', 'Ids of rules that OSBaseline does not evaluate.'),
    roles: setting(NAMES, '', 'Roles of the device; OSBaseline skips the rules that do not apply to one of them.'),
  },
  /** For the alerts that detection rules raise on the device. */
  detections: {
    enabled: setting(FLAG, true, 'Whether detection rules evaluate events and raise SecurityAlert events.', {
      neverOff: 'alwaysOn',
      event: 'SecurityAlert',
    }),
    minimumLevel: setting(choice(ALERT_LEVELS), 'medium', 'Rules below this level raise no alert; they are counted.'),
    disabledRules: setting(NAMES, '', 'Rules that raise no alert: their ids, or types of alerts.'),
    exceptions: setting(EXCEPTIONS, {}, 'Events that raise no alert of a rule; they are counted by exception.'),
    silencedUntil: setting(
      TIME,
      '',
      'No alert is raised until this time, such as during maintenance; at most 7 days ahead.',
    ),
    /** Lists by the names that rules call them by. A rule that requires a list is off until it is set. */
    lists: {
      allowedUsers: setting(NAMES, '', 'The only users who may log in; empty: the rule is off.'),
      allowedProcesses: setting(NAMES, '', 'The only programs that may start, with wildcards; empty: the rule is off.'),
      allowedRemotes: setting(NAMES, '', 'The only addresses and networks to connect to; empty: the rule is off.'),
      allowedPorts: setting(NAMES, '', 'Ports that may be opened without an alert; empty: none.'),
      connectionsMax: setting(
        RATE,
        '',
        'The number of connections in a span of time that is normal; empty: the rule is off.',
      ),
      failedLocalLoginsMax: setting(
        RATE,
        '',
        'The number of failed local logins in a span of time that is normal; empty: the rule is off.',
      ),
    },
    rulesHash: setting(
      SHA256_OR_NONE,
      '',
      "SHA-256 of the device's own rules, as the status shows it; when it differs, they are not loaded. Empty: not checked.",
    ),
  },
  /** An ARM id is ASCII and shorter than 512. Message packing reserves 512 bytes for it (pipeline/). */
  hubResourceId: setting(text(512), '', "The hub's Azure resource id, a property of every message."),
};

type Table = typeof SETTINGS;
type PerEvent = (event: ConfigurableEvent) => unknown;

type ValueOf<T> =
  T extends Setting<infer S>
    ? v.InferOutput<S>
    : T extends (event: ConfigurableEvent) => infer Each
      ? Readonly<Record<string, ValueOf<NonNullable<Each>>>>
      : ValuesOf<T>;
type ValuesOf<T> = Flat<
  { readonly [K in keyof T as T[K] extends { fallback: undefined } ? never : K]: ValueOf<T[K]> } & {
    readonly [K in keyof T as T[K] extends { fallback: undefined } ? K : never]?: ValueOf<T[K]>;
  }
>;
type Flat<T> = { [K in keyof T]: T[K] };

/**
 * The configuration in force: one frozen snapshot, defaults included. Every loop reads the current one at each turn.
 */
export type Settings = ValuesOf<Table>;
export type BaselineSettings = Settings['baseline'];

type KeysOf<T, Above extends string = ''> = {
  [K in keyof T & string]: T[K] extends Setting
    ? `${Above}${K}`
    : T[K] extends (event: ConfigurableEvent) => infer Each
      ? KeysOf<{ '*': NonNullable<Each> }, `${Above}${K}.`>
      : KeysOf<T[K], `${Above}${K}.`>;
}[keyof T & string];

/** A row of the table: its path, with `*` for the event: `snapshotFrequency`, `baseline.roles`, `priorities.*`. */
export type SettingKey = KeysOf<Table>;
type IdOf<K extends string> = K extends `${infer Before}.*${infer After}` ? `${Before}.${string}${After}` : K;
/** One setting: its path in `Settings`, such as `aggregation.ProcessCreate.interval`. */
export type SettingId = IdOf<SettingKey>;
/** Returns the name of a setting in the module twin. */
export type NameOfSetting = (id: SettingId) => string;

/** A setting from a row of the table; a row for events has one setting per event. */
export interface SettingRow extends Setting {
  readonly id: SettingId;
  readonly key: SettingKey;
  /** The steps to the setting in `Settings`. */
  readonly path: readonly string[];
  readonly event?: string;
}

/** Every setting that an agent with these events has, in the order of the docs. */
export const settingRows = (events: readonly ConfigurableEvent[]): readonly SettingRow[] => rowsOf(SETTINGS, events);

function rowsOf(
  entry: unknown,
  events: readonly ConfigurableEvent[],
  path: readonly string[] = [],
  key: readonly string[] = [],
  about: Pick<SettingRow, 'event'> = {},
): readonly SettingRow[] {
  if (isSetting(entry)) {
    const names = { id: path.join('.'), key: key.join('.') } as Pick<SettingRow, 'id' | 'key'>;
    return [{ ...entry, ...names, path, ...about }];
  }
  if (typeof entry === 'function') {
    return events.flatMap((event) => {
      const ofEvent = (entry as PerEvent)(event);
      if (ofEvent === undefined) return [];
      return rowsOf(ofEvent, events, [...path, event.name], [...key, '*'], { event: event.name });
    });
  }
  return Object.entries(entry as object).flatMap(([name, member]) =>
    rowsOf(member, events, [...path, name], [...key, name], about),
  );
}

const isSetting = (entry: unknown): entry is Setting =>
  typeof entry === 'object' && entry !== null && 'schema' in entry && 'purpose' in entry;

/** @param values by row; a row without one is absent from the settings */
export function settingsOf(rows: readonly SettingRow[], values: ReadonlyMap<SettingId, unknown>): Settings {
  // A group or a list of events without settings is empty, not absent.
  const groups = Object.entries(SETTINGS).filter(([, entry]) => !isSetting(entry));
  const settings: Group = Object.fromEntries(groups.map(([name]) => [name, {}]));
  for (const { id, path } of rows) {
    const value = values.get(id);
    if (value === undefined) continue;
    let group = settings;
    for (const step of path.slice(0, -1)) {
      group[step] ??= {};
      group = group[step] as Group;
    }
    group[path.at(-1) ?? ''] = value;
  }
  return settings as unknown as Settings;
}

interface Group {
  [name: string]: unknown;
}

/** Gives the parts of the agent access to the configuration. */
export interface SettingsReader {
  current(): Settings;
  /** Called after every change, with the old snapshot; in the order of subscription. */
  onChange(listener: (before: Settings) => void): void;
}
