/* Messages between the server and the page's code in the browser: JSON, over HTTP and Server-Sent Events. Every string in
 * a `MessageRow` and an `AlertRow` is made safe to display by base/text.ts. */

/** A message that the hub has received. */
export interface MessageRow {
  /** Number of the message at the hub, from 1. */
  readonly sequence: number;
  /** When the hub received it, RFC 3339. */
  readonly at: string;
  /** `device/module` */
  readonly module: string;
  readonly priority: string;
  readonly bytes: number;
  /** 4-KB units, as the hub bills them. */
  readonly units: number;
  /** Whether the module sent a message with this id before. */
  readonly duplicate: boolean;
  readonly events: readonly EventRow[];
  /** Number of further events of this message, which are not listed. */
  readonly left: number;
}

/** An event of a message, in sentences. */
export interface EventRow {
  readonly name: string;
  /** The time of the event, by the device's clock. */
  readonly time: string;
  /** One line per shown element of the payload. */
  readonly lines: readonly string[];
  /** Notes about omitted parts. */
  readonly notes: readonly string[];
}

export const ALERT_SEVERITIES = ['Critical', 'High', 'Medium', 'Low', 'Informational'] as const;
export type AlertSeverity = (typeof ALERT_SEVERITIES)[number];

/** The latest state of an alert. */
export interface AlertRow {
  readonly id: string;
  /** `device/module` */
  readonly module: string;
  readonly severity: AlertSeverity;
  readonly title: string;
  readonly type: string;
  readonly count: number;
  readonly firstSeen: string;
  readonly lastSeen: string;
  /** The subject: a command line, a user, an address. */
  readonly subject: string;
  readonly techniques: string;
  readonly remediation: string;
  /** Number of the message that contained it. */
  readonly sequence: number;
}

/** The traffic of one minute. */
export interface Minute {
  /** Start of the minute, in minutes since the Unix epoch. */
  readonly minute: number;
  readonly messages: number;
  readonly bytes: number;
  readonly units: number;
  /** Number of events by name. */
  readonly events: Readonly<Record<string, number>>;
}

export type Totals = Pick<Minute, 'messages' | 'bytes' | 'units'> & { readonly events: number };

/** A module of the hub. */
export interface ModuleState {
  readonly deviceId: string;
  readonly moduleId: string;
  readonly connected: boolean;
}

export interface HubState {
  readonly hostName: string;
  readonly port: number;
  readonly online: boolean;
  readonly modules: readonly ModuleState[];
  /** Number of further modules, which are not listed. */
  readonly modulesLeft: number;
  readonly connected: number;
  readonly faults: readonly FaultState[];
}

export interface FaultState {
  readonly kind: string;
  /** Number of times that it has applied. */
  readonly hits: number;
}

/** A kind of fault that can be switched on. */
export interface FaultKindForm {
  readonly kind: string;
  readonly title: string;
  readonly about: string;
  readonly fields: readonly Field[];
}

/** A direct method, with a field for each member of its payload. */
export interface MethodForm {
  readonly name: string;
  readonly about: string;
  readonly fields: readonly Field[];
}

/** A field of a form. `names`: any of `choices`, sent as a list. `json`: any JSON value. */
export interface Field {
  readonly name: string;
  readonly kind: 'text' | 'number' | 'flag' | 'choice' | 'names' | 'json';
  readonly about: string;
  readonly required: boolean;
  readonly choices?: readonly string[];
  readonly initial?: string;
}

/** A setting of the module twin. */
export interface SettingForm extends Field {
  /** Type and range, as a phrase. */
  readonly range: string;
  /** The default; omitted if there is none. */
  readonly fallback?: unknown;
}

/** The first event of the stream. */
export interface Hello {
  /** The name of the module twin's configuration object. */
  readonly object: string;
  readonly settings: readonly SettingForm[];
  readonly methods: readonly MethodForm[];
  readonly faults: readonly FaultKindForm[];
  readonly state: HubState;
  readonly alerts: readonly AlertRow[];
  readonly minutes: readonly Minute[];
  readonly totals: Totals;
  readonly rows: Rows;
}

/** Messages, oldest first. */
export interface Rows {
  readonly messages: readonly MessageRow[];
  /** Number of earlier messages that were skipped, since there were too many. */
  readonly skipped: number;
}

export interface News extends Rows {
  /** The minutes that have changed. */
  readonly minutes: readonly Minute[];
  /** The alerts that are new or have changed, including those of skipped messages. */
  readonly alerts: readonly AlertRow[];
  readonly totals: Totals;
}

/** Twins that have changed, by `device/module`. */
export interface TwinChanges {
  readonly modules: readonly string[];
  /** Whether there were too many to name, so that any twin may have changed. */
  readonly any: boolean;
}

/** The events of the stream by name. */
export interface StreamEvents {
  readonly hello: Hello;
  readonly news: News;
  readonly state: HubState;
  readonly twin: TwinChanges;
}

export interface TwinView {
  readonly desired: Readonly<Record<string, unknown>>;
  readonly reported: Readonly<Record<string, unknown>>;
  readonly desiredVersion: number;
  readonly reportedVersion: number;
}

export interface TwinCheck {
  /** Each of these makes the agent reject the whole configuration. */
  readonly faults: readonly Finding[];
  /** The agent would apply the configuration, but these values are probably mistakes. */
  readonly warnings: readonly Finding[];
}

export interface Finding {
  /** Name of the property. */
  readonly name: string;
  readonly message: string;
}

/** The body of every error response. */
export interface Refusal {
  readonly error: string;
  /** The faults of a desired configuration. */
  readonly check?: TwinCheck;
}
