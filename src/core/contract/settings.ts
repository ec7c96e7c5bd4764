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
  type OptionalKind,
  optional,
  PATH,
  PRIORITY,
  RATE,
  SHA256,
  SHA256_OR_NONE,
  type Spelling,
  TIME,
  text,
} from './setting-kinds.ts';

/* What can be configured while the agent runs. `SETTINGS` is the only list: names in the module twin, the type `Settings`,
 * defaults, checks, local limits, the mirror in reported and the docs follow from its rows. */

interface CommonRow {
  /** One sentence for the docs. */
  readonly purpose: string;
  /** A lower value is raised to this limit of the local file. */
  readonly floor?: 'shortestMessageFrequency' | 'shortestSnapshotFrequency';
  /** A higher value is lowered to this limit of the local file. */
  readonly ceiling?: 'largestCacheInBytes';
  /** The default replaces Off, or false, if `limits.alwaysOn` of the local file lists this event. */
  readonly alwaysOn?: string;
  /** The name by which detection rules refer to the list. A rule that requires a list is off until the list is set. */
  readonly ruleList?: string;
}

/** A setting. Its key is also its name in the module twin, which is part of contract §2. */
type Setting = CommonRow &
  (
    | { readonly kind: Kind<unknown> /** In the canonical spelling. */; readonly fallback: Spelling }
    | { readonly kind: OptionalKind<unknown>; readonly fallback: undefined }
  );

/** What the settings of an event depend on. */
export type ConfigurableEvent = Pick<EventRow, 'name' | 'priority' | 'isAggregated'>;

/** A setting that each event has for itself. `*` in a string stands for the event's name. */
interface EventSetting extends CommonRow {
  /** The name in the module twin. */
  readonly name: string;
  readonly kind: Kind<unknown>;
  readonly fallback: (event: ConfigurableEvent) => Spelling;
  readonly appliesTo: (event: ConfigurableEvent) => boolean;
}

const isAggregated = (event: ConfigurableEvent) => event.isAggregated === true;

const EVENT_SETTINGS = {
  priorities: {
    name: 'eventPriority*',
    kind: PRIORITY,
    fallback: ({ priority }) => priority,
    purpose: 'Priority of *; Off switches it off.',
    alwaysOn: '*',
    appliesTo: () => true,
  },
  aggregationEnabled: {
    name: 'aggregationEnabled*',
    kind: FLAG,
    fallback: () => true,
    purpose: 'Whether identical occurrences of * are counted instead of listed.',
    appliesTo: isAggregated,
  },
  aggregationInterval: {
    name: 'aggregationInterval*',
    kind: DURATION,
    fallback: () => 'PT1H',
    purpose: 'How long occurrences of * are counted before they are queued.',
    floor: 'shortestMessageFrequency',
    appliesTo: isAggregated,
  },
} satisfies Readonly<Record<string, EventSetting>>;

/** Every setting, in the order of the docs. */
export const SETTINGS = {
  highPriorityMessageFrequency: {
    kind: DURATION,
    fallback: 'PT7M',
    purpose: 'How often High events are sent.',
    floor: 'shortestMessageFrequency',
  },
  lowPriorityMessageFrequency: {
    kind: DURATION,
    fallback: 'PT5H',
    purpose: 'How often Low events are sent.',
    floor: 'shortestMessageFrequency',
  },
  snapshotFrequency: {
    kind: DURATION,
    fallback: 'PT13H',
    purpose: 'How often Periodic events are collected.',
    floor: 'shortestSnapshotFrequency',
  },
  /** Maximum size of both queues on disk, framing included. */
  maxLocalCacheSizeInBytes: {
    kind: bytes(8192),
    fallback: 2_560_000,
    purpose: 'Disk space for queued events, both queues together.',
    ceiling: 'largestCacheInBytes',
  },
  maxMessageSizeInBytes: {
    kind: bytes(8192, 262_144),
    fallback: 204_800,
    purpose: 'Largest message, its properties included.',
  },
  ...EVENT_SETTINGS,
  baselineCustomChecksEnabled: {
    kind: FLAG,
    fallback: false,
    purpose: 'Whether OSBaseline also evaluates the rules of a file of your own.',
  },
  baselineCustomChecksFilePath: {
    kind: optional(PATH),
    fallback: undefined,
    purpose:
      'Path of that file on the device: `{"rules": [ … ]}`, with rules in the format of the default ones, whose ids begin with `custom.`. It belongs to root, and no other user can write it.',
  },
  baselineCustomChecksFileHash: {
    kind: optional(SHA256),
    fallback: undefined,
    purpose: 'SHA-256 of that file.',
  },
  /** The names in this list and the next two come from the twin, and may be unknown. */
  baselineGroupsDisabled: {
    kind: NAMES,
    fallback: '',
    purpose: 'Categories of rules that OSBaseline does not evaluate. The status shows every exception.',
  },
  baselineChecksDisabled: {
    kind: NAMES,
    fallback: '',
    purpose: 'Ids of rules that OSBaseline does not evaluate.',
  },
  baselineRoles: {
    kind: NAMES,
    fallback: '',
    purpose: 'Roles of the device; OSBaseline skips the rules that do not apply to one of them.',
  },
  detectionsEnabled: {
    kind: FLAG,
    fallback: true,
    purpose: 'Whether detection rules evaluate events and raise SecurityAlert events.',
    alwaysOn: 'SecurityAlert',
  },
  detectionsMinimumLevel: {
    kind: choice(ALERT_LEVELS),
    fallback: 'medium',
    purpose: 'Rules below this level raise no alert; they are counted.',
  },
  detectionsDisabledRules: {
    kind: NAMES,
    fallback: '',
    purpose: 'Rules that raise no alert: their ids, or types of alerts.',
  },
  detectionsExceptions: {
    kind: EXCEPTIONS,
    fallback: {},
    purpose: 'Events that raise no alert of a rule; they are counted by exception.',
  },
  detectionsSilencedUntil: {
    kind: TIME,
    fallback: '',
    purpose: 'No alert is raised until this time, such as during maintenance; at most 7 days ahead.',
  },
  detectionsAllowedUsers: {
    kind: NAMES,
    fallback: '',
    purpose: 'The only users who may log in; empty: the rule is off.',
    ruleList: 'allowedUsers',
  },
  detectionsAllowedProcesses: {
    kind: NAMES,
    fallback: '',
    purpose: 'The only programs that may start, with wildcards; empty: the rule is off.',
    ruleList: 'allowedProcesses',
  },
  detectionsAllowedRemotes: {
    kind: NAMES,
    fallback: '',
    purpose: 'The only addresses and networks to connect to; empty: the rule is off.',
    ruleList: 'allowedRemotes',
  },
  detectionsAllowedPorts: {
    kind: NAMES,
    fallback: '',
    purpose: 'Ports that may be opened without an alert; empty: none.',
    ruleList: 'allowedPorts',
  },
  detectionsMaximumConnections: {
    kind: RATE,
    fallback: '',
    purpose: 'The number of connections in a span of time that is normal; empty: the rule is off.',
    ruleList: 'connectionsMax',
  },
  detectionsMaximumFailedLogins: {
    kind: RATE,
    fallback: '',
    purpose: 'The number of failed local logins in a span of time that is normal; empty: the rule is off.',
    ruleList: 'failedLocalLoginsMax',
  },
  detectionsRulesHash: {
    kind: SHA256_OR_NONE,
    fallback: '',
    purpose:
      "SHA-256 of the device's own rules, as the status shows it; when it differs, they are not loaded. Empty: not checked.",
  },
  /** An ARM id is ASCII and shorter than 512. Message packing reserves 512 bytes for it (pipeline/). */
  hubResourceId: {
    kind: text(512),
    fallback: '',
    purpose: "The hub's Azure resource id, a property of every message.",
  },
} satisfies Readonly<Record<string, Setting | EventSetting>>;

/** A row of the table. */
export type SettingKey = keyof typeof SETTINGS;
type EventSettingKey = keyof typeof EVENT_SETTINGS;
type AgentSettingKey = Exclude<SettingKey, EventSettingKey>;
type ValueOf<Key extends SettingKey> = v.InferOutput<(typeof SETTINGS)[Key]['kind']['schema']>;

/**
 * The configuration in force: one frozen snapshot, defaults included. Every loop reads the current one at each turn.
 * Settings of events are keyed by event name.
 */
export type Settings = { readonly [Key in AgentSettingKey]: ValueOf<Key> } & {
  readonly [Key in EventSettingKey]: Readonly<Record<string, ValueOf<Key>>>;
};

/** One setting: its key; for a setting of an event, also the event, such as `priorities.Login`. */
export type SettingId = AgentSettingKey | `${EventSettingKey}.${string}`;
/** Returns the name of a setting in the module twin. */
export type NameOfSetting = (id: SettingId) => string;

/** A setting of the agent or of one event. */
export interface SettingRow extends CommonRow {
  readonly id: SettingId;
  readonly key: SettingKey;
  /** The name in the module twin. */
  readonly name: string;
  readonly kind: Kind<unknown>;
  /** The default, in its canonical spelling. `undefined`: the setting has no value unless the module twin contains it. */
  readonly fallback: Spelling | undefined;
  readonly event?: string;
}

/** Every setting that an agent with these events has, in the order of the docs. */
export const settingRows = (events: readonly ConfigurableEvent[]): readonly SettingRow[] =>
  Object.entries<Setting | EventSetting>(SETTINGS).flatMap(([name, row]) => {
    const key = name as SettingKey;
    if (!('appliesTo' in row)) return [{ ...row, id: key as AgentSettingKey, key, name }];
    return events.filter(row.appliesTo).map((event) => rowOf(key as EventSettingKey, row, event));
  });

function rowOf(key: EventSettingKey, row: EventSetting, event: ConfigurableEvent): SettingRow {
  const { appliesTo: _, alwaysOn, ...common } = row;
  const of = (text: string) => text.replace('*', event.name);
  return {
    ...common,
    id: `${key}.${event.name}`,
    key,
    name: of(row.name),
    purpose: of(row.purpose),
    fallback: row.fallback(event),
    event: event.name,
    ...(alwaysOn === undefined ? {} : { alwaysOn: of(alwaysOn) }),
  };
}

/** The name of a row of the table in the module twin. @param event for settings of events */
export function publishedName(key: SettingKey, event = ''): string {
  const row: Setting | EventSetting = SETTINGS[key];
  return 'name' in row ? row.name.replace('*', event) : key;
}

/** @param values by row */
export function settingsOf(rows: readonly SettingRow[], values: ReadonlyMap<SettingId, unknown>): Settings {
  const settings: Record<string, unknown> = {};
  for (const { id, event } of rows) if (event === undefined) settings[id] = values.get(id);
  for (const key of Object.keys(EVENT_SETTINGS)) {
    const ofEvents = rows.filter((row) => row.key === key);
    settings[key] = Object.fromEntries(ofEvents.map(({ id, event = '' }) => [event, values.get(id)]));
  }
  return settings as Settings;
}

/** Settings that detection rules refer to as lists, keyed by the name that rules use. */
export const RULE_LISTS: ReadonlyMap<string, SettingKey> = new Map(
  Object.entries<Setting | EventSetting>(SETTINGS).flatMap(([key, { ruleList }]) =>
    ruleList === undefined ? [] : [[ruleList, key as SettingKey]],
  ),
);

export const ruleLists = (settings: Settings): Readonly<Record<string, readonly string[]>> =>
  Object.fromEntries([...RULE_LISTS].map(([list, key]) => [list, settings[key] as readonly string[]]));

/** Gives the parts of the agent access to the configuration. */
export interface SettingsReader {
  current(): Settings;
  /** Called after every change, with the old snapshot; in the order of subscription. */
  onChange(listener: (before: Settings) => void): void;
}
