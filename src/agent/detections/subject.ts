import { ALERT_LEVELS, type AlertLevel, type Payload } from '../../core/contract/event.ts';
import type { ActorKind } from './actors/trusted-actors.ts';

/** Sources of `service: vakt`: what Sigma's taxonomy has no name for. */
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

/** What rules are written for; see the table in README.md. */
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

/** Fields of an event under the names of Sigma's taxonomy, and the payload's own; numbers in decimal, absent when unknown. */
export type Fields = Readonly<Record<string, string>>;

/** What one view of a process start says. All other fields are those of the subject. */
export interface View {
  readonly Image: string;
  readonly CommandLine: string;
  readonly CurrentDirectory?: string | undefined;
  /** The arguments with their bounds: of the first view only, where they are known. */
  readonly argv?: readonly string[] | undefined;
  /** Which of several files that it downloads counts in this view; the first, if absent. */
  readonly download?: number | undefined;
}

/** What rules are judged on: one thing that happened. */
export interface Subject {
  readonly source: LogSource;
  /** When it happened by the kernel's clock, in milliseconds since the epoch. */
  readonly time: number;
  readonly fields: Fields;
  /** Where the arguments of a start end, if that is known: its views follow from this and the fields. */
  readonly bounds?: string;
  /** Several views of a process start, of which any may match; the first is the event as it is. Empty for other sources. */
  readonly views: readonly View[];
  /** The ids of the events it is about, the name of the event, and its payload for the evidence. */
  readonly event: { readonly name: string; readonly ids: readonly string[]; readonly payload: Payload };
}

/** What a rule says about itself. How it is judged is known to the engine only. */
export interface Rule {
  /** Of the document, else its name, else its title. */
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
  /** `builtin`: shipped with the agent; `local`: of the operator. */
  readonly origin: 'builtin' | 'local';
  /** The file that it is in. */
  readonly file: string;
  /** The type of its alerts; absent for rules that don't name one. */
  readonly alert?: string;
  readonly remediation?: string;
  /** Fields by which alerts are the same. */
  readonly key?: readonly string[];
  /** Tags of single selections, which take the place of the rule's own: by the name of the selection. */
  readonly selectionTags?: Readonly<Record<string, readonly string[]>>;
  /** Kinds of trusted actors with a good reason for what it looks for: their matches count one level lower. */
  readonly lowered?: readonly ActorKind[];
  /** Lists that must be set for the rule to be on. */
  readonly requires: readonly string[];
  /** What it is judged on; for a correlation, that of the rules that it refers to. */
  readonly sources: readonly LogSource[];
  /** Whether it makes alerts itself; rules that only a correlation uses don't. */
  readonly alerts: boolean;
}

/** An event of a correlation, for the evidence. */
export interface HitEvent {
  readonly source: LogSource;
  /** Its command line or address; empty if it is not known any more. */
  readonly summary: string;
  /** How many equal events it stands for. */
  readonly count: number;
}

/** A rule that matched. */
export interface Hit {
  readonly rule: Rule;
  /** The event, for a correlation the last one. */
  readonly subject: Subject;
  /** The view that matched, if there are several. */
  readonly view?: View;
  /** Of a correlation: how many events, or different values. */
  readonly count?: number;
  /** The values that all events of a correlation share, by field. */
  readonly group?: readonly { readonly name: string; readonly value: string }[];
  /** The events of a correlation, oldest first; a long series is counted in groups. */
  readonly events?: readonly HitEvent[];
  /** Time of the first event of a correlation, in milliseconds since the epoch. */
  readonly since?: number;
  /** Of a correlation: the ids of its events, the last ones. */
  readonly ids?: readonly string[];
  /** Names of the rule's selections that matched; of a correlation, those of the rule that the last event matched. */
  readonly selections?: readonly string[];
  /** Whether an expression was matched on a part of a text only. */
  readonly cut?: true;
  /** The trusted actor on whose behalf it happened, such as `dpkg`: the level is one lower than the rule's. */
  readonly during?: string;
  /** Programs of a start's parent, grandparent and so on, as they were at that time. */
  readonly ancestors?: readonly string[];
  /** Of a correlation: to be called when the hit may make no alert, so that the next event which completes it hits again. */
  readonly rearm?: () => void;
}

/** The level of a hit: the rule's, or one below if a trusted actor caused it. Never below the lowest. */
export function levelOf({ rule: { level }, during }: Pick<Hit, 'rule' | 'during'>): AlertLevel {
  return during === undefined ? level : (ALERT_LEVELS[ALERT_LEVELS.indexOf(level) - 1] ?? level);
}
