import { ALERT_LEVELS, type AlertLevel, type Payload } from '../../core/contract/event.ts';
import type { ActorKind } from './actors/trusted-actors.ts';

/** Sources of `service: vakt`, for which Sigma's taxonomy has no name. */
export const OWN_LOG_SOURCES = [
  'login',
  'process_end',
  'listening_port_change',
  'local_user_change',
  'firewall_change',
  'hardware_change',
  'baseline_change',
  'agent',
] as const;

/** The log sources of rules; see the table in README.md. */
export const LOG_SOURCES = [
  'process_creation',
  'network_connection',
  'file_event',
  'file_change',
  'file_delete',
  'file_rename',
  'dns_query',
  ...OWN_LOG_SOURCES,
] as const;
export type LogSource = (typeof LOG_SOURCES)[number];

/** Fields of an event under their names in Sigma's taxonomy, and the payload's own; numbers in decimal, omitted if unknown. */
export type Fields = Readonly<Record<string, string>>;

/** The fields of one view of a process start. All other fields come from the subject. */
export interface View {
  readonly Image: string;
  readonly CommandLine: string;
  readonly CurrentDirectory?: string | undefined;
  /** The exact arguments, only in the first view and if known. */
  readonly argv?: readonly string[] | undefined;
  /** Index among several downloaded files of the one that this view represents. Default: the first. */
  readonly download?: number | undefined;
}

/** The input of rules: one event. */
export interface Subject {
  readonly source: LogSource;
  /** Time by the kernel's clock, in milliseconds since the epoch. */
  readonly time: number;
  readonly fields: Fields;
  /** Bounds of a start's arguments, if known: its views follow from these and the fields. */
  readonly bounds?: string;
  /** Several views of a process start, any of which may match; the first is the original event. Empty for other sources. */
  readonly views: readonly View[];
  /** Ids of the events, the name of the event, and its payload for the evidence. */
  readonly event: { readonly name: string; readonly ids: readonly string[]; readonly payload: Payload };
}

/** Metadata of a rule. Only the engine knows its expression. */
export interface Rule {
  /** The document's id, otherwise its name or its title. */
  readonly id: string;
  readonly title: string;
  readonly name?: string;
  readonly description?: string;
  readonly author?: string;
  readonly status?: string;
  readonly level: AlertLevel;
  /** As written: `attack.t1059.004`. */
  readonly tags: readonly string[];
  readonly falsePositives: readonly string[];
  readonly references: readonly string[];
  readonly license?: string;
  /** `builtin`: shipped with the agent; `local`: the operator's. */
  readonly origin: 'builtin' | 'local';
  /** The file that contains it. */
  readonly file: string;
  /** The type of its alerts; omitted for rules that don't specify one. */
  readonly alert?: string;
  readonly remediation?: string;
  /** Fields whose values identify an alert. */
  readonly key?: readonly string[];
  /** Tags of single selections, which replace the rule's own; keyed by the selection's name. */
  readonly selectionTags?: Readonly<Record<string, readonly string[]>>;
  /** Kinds of trusted actors with a legitimate reason for the behaviour: their matches are one level lower. */
  readonly lowered?: readonly ActorKind[];
  /** Lists that must be set to enable the rule. */
  readonly requires: readonly string[];
  /** The log sources of the rule; for a correlation, those of the rules that it refers to. */
  readonly sources: readonly LogSource[];
  /** Whether it raises alerts itself; rules that only a correlation uses don't. */
  readonly alerts: boolean;
}

/** An event of a correlation, for the evidence. */
export interface HitEvent {
  readonly source: LogSource;
  /** Its command line or address; empty if no longer known. */
  readonly summary: string;
  /** The number of equal events that this one represents. */
  readonly count: number;
}

/** A rule that matched. */
export interface Hit {
  readonly rule: Rule;
  /** The event; for a correlation, the last one. */
  readonly subject: Subject;
  /** The matching view, if there are several. */
  readonly view?: View;
  /** For a correlation: the number of events or different values. */
  readonly count?: number;
  /** The values that all events of a correlation share, keyed by field. */
  readonly group?: readonly { readonly name: string; readonly value: string }[];
  /** The events of a correlation, oldest first; a long series is grouped. */
  readonly events?: readonly HitEvent[];
  /** Time of the first event of a correlation, in milliseconds since the epoch. */
  readonly since?: number;
  /** For a correlation: the ids of its last events. */
  readonly ids?: readonly string[];
  /** Names of the rule's matching selections; for a correlation, those of the rule that the last event matched. */
  readonly selections?: readonly string[];
  /** Whether an expression saw only a part of a text. */
  readonly cut?: true;
  /** The trusted actor that caused the event, such as `dpkg`: the level is one lower than the rule's. */
  readonly during?: string;
  /** Programs of the parent, grandparent and so on of a start, in their state at that time. */
  readonly ancestors?: readonly string[];
  /** For a correlation: call this if the hit raises no alert, so that the next completing event is a hit again. */
  readonly rearm?: () => void;
}

/** The level of a hit: the rule's, or one lower if a trusted actor caused it. Never below the lowest level. */
export function levelOf({ rule: { level }, during }: Pick<Hit, 'rule' | 'during'>): AlertLevel {
  return during === undefined ? level : (ALERT_LEVELS[ALERT_LEVELS.indexOf(level) - 1] ?? level);
}
