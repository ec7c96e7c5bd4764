import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CorrelationState } from '../../../src/agent/detections/engine/correlations.ts';
import type { LogRecord } from '../../integration/test-bed.ts';
import type { Random } from '../scenario/random.ts';

/**
 * Alerts are limited to 20 per hour and rule, and 120 per hour and device: in ten lives of an agent, all stay below.
 */
const BURST_RULES = 6;
const WINDOW_RULES = 2;
const KEYS_A_LIFE = 7;
const GROUPS_A_LIFE = 2;
/** Attempts within the timespan that raise an alert. */
const ATTEMPTS = 8;
const KEY = 'vakt-key-';
const GROUP = 'vakt-group-';

const burstRule = (number: number) => `title: Key ${number}
id: 00000000-0000-4000-8000-00000000000${number}
level: critical
logsource: { product: linux, category: process_creation }
detection:
  s: { 'CommandLine|contains': '${KEY}${number}-' }
  condition: s
vakt: { alert: VAKT_Key, key: [CommandLine] }
`;

const windowRule = (number: number) => `title: Attempt ${number}
name: attempt_${number}
id: 00000000-0000-4000-8000-00000000001${number}
level: critical
logsource: { product: linux, category: process_creation }
detection:
  s: { 'CommandLine|contains': '${GROUP}${number}-' }
  condition: s
---
title: Group ${number}
id: ${windowRuleId(number)}
level: critical
correlation:
  type: event_count
  rules: [attempt_${number}]
  group-by: [CommandLine]
  timespan: 1h
  condition: { gte: ${ATTEMPTS} }
vakt: { alert: VAKT_Group, key: [CommandLine] }
`;

function windowRuleId(number: number): string {
  return `00000000-0000-4000-8000-00000000002${number}`;
}

const numbers = (count: number) => Array.from({ length: count }, (_, number) => number);

/** Attempts of one kind, enough within an hour to raise an alert. */
interface Group {
  attempts: number;
  /** Attempts in the window that was on disk at the last kill. */
  saved: number;
}

/**
 * Starts that raise alerts by their own rules: bursts with many keys, repeats of these, and attempts, of which several
 * together raise one alert. The agents' log lines about alerts are also recorded.
 */
export class AlertLoad {
  readonly rulesDirectory: string;
  readonly #random: Random;
  /** Names that a start with that argument raises an alert under. */
  readonly keys = new Set<string>();
  readonly groups = new Map<string, Group>();
  /** Ids of alerts that agents have logged. */
  readonly made = new Set<string>();
  /** Windows that were open on disk at a kill, and were completed afterwards. */
  continued = 0;
  #newKeys = 0;
  #newGroups = 0;
  /** Arguments of the next starts. */
  #planned: string[] = [];

  constructor(directory: string, random: Random) {
    this.rulesDirectory = directory;
    this.#random = random;
    mkdirSync(directory, { mode: 0o755 });
    for (const number of numbers(BURST_RULES)) writeFileSync(join(directory, `key-${number}.yml`), burstRule(number));
    for (const number of numbers(WINDOW_RULES))
      writeFileSync(join(directory, `group-${number}.yml`), windowRule(number));
  }

  /** A life of the agent begins. */
  begin(): void {
    this.#newKeys = KEYS_A_LIFE;
    this.#newGroups = GROUPS_A_LIFE;
  }

  /** The argument of the next start. */
  next(): string {
    const argument = this.#planned.shift() ?? this.#choose();
    const group = this.groups.get(argument);
    if (group !== undefined) group.attempts += 1;
    return argument;
  }

  /** Called when the agent has exited, with its output and its files. */
  ended(log: readonly LogRecord[], stateDirectory: string): void {
    for (const { msg, alertId } of log) if (msg === 'Security alert.') this.made.add(String(alertId));
    const saved = savedWindows(stateDirectory);
    for (const [argument, group] of this.groups) group.saved = saved.get(argument) ?? 0;
  }

  /**
   * Plans half of the attempts of further windows.
   *
   * @returns the number of starts planned, and whether the windows are on disk
   */
  halves(): { readonly starts: number; isSaved(stateDirectory: string): boolean } {
    const groups = numbers(GROUPS_A_LIFE).map(() => this.#newGroup());
    for (const group of groups) this.#planned.push(...numbers(ATTEMPTS / 2).map(() => group));
    const isSaved = (stateDirectory: string) => {
      const saved = savedWindows(stateDirectory);
      return groups.every((group) => saved.get(group) === ATTEMPTS / 2);
    };
    return { starts: this.#planned.length, isSaved };
  }

  /**
   * Plans what completes every window, given what was on disk at the last kill.
   *
   * @returns the number of starts planned
   */
  complete(): number {
    for (const [argument, { saved }] of this.groups) {
      if (saved > 0 && saved < ATTEMPTS) this.continued += 1;
      this.#planned.push(...numbers(Math.max(0, ATTEMPTS - saved)).map(() => argument));
    }
    return this.#planned.length;
  }

  #choose(): string {
    const kind = this.#random.next();
    if (kind < 0.4 && this.#newKeys > 0) {
      this.#newKeys -= 1;
      const key = `${KEY}${this.keys.size % BURST_RULES}-${this.keys.size}-`;
      this.keys.add(key);
      return key;
    }
    if (kind < 0.5 && this.#newGroups > 0) {
      this.#newGroups -= 1;
      return this.#newGroup();
    }
    const known = kind < 0.8 || this.groups.size === 0 ? [...this.keys] : [...this.groups.keys()].slice(-4);
    return known[this.#random.between(0, known.length - 1)] ?? 'nothing';
  }

  #newGroup(): string {
    const group = `${GROUP}${this.groups.size % WINDOW_RULES}-${this.groups.size}-`;
    this.groups.set(group, { attempts: 0, saved: 0 });
    return group;
  }
}

/** Whether enough attempts have happened to raise an alert. */
export const isEnough = ({ attempts }: Group): boolean => attempts >= ATTEMPTS;

/** Attempts in windows on disk, keyed by argument. */
function savedWindows(stateDirectory: string): Map<string, number> {
  const saved = new Map<string, number>();
  let text: string;
  try {
    text = readFileSync(join(stateDirectory, 'detections.json'), 'utf8');
  } catch {
    return saved; // nothing has been saved yet
  }
  const { detections } = JSON.parse(text) as {
    detections: { correlations: { correlations: Pick<CorrelationState, 'rules'> } };
  };
  const { rules } = detections.correlations.correlations;
  for (const number of numbers(WINDOW_RULES)) {
    for (const { key, entries } of rules[windowRuleId(number)]?.groups ?? []) {
      const argument = nameIn(key);
      if (argument !== undefined)
        saved.set(
          argument,
          entries.reduce((all, [, , , count = 0]) => all + count, 0),
        );
    }
  }
  return saved;
}

/** The argument in a command line. */
export const nameIn = (commandLine: string): string | undefined =>
  new RegExp(`(?:${KEY}|${GROUP})\\d-\\d+-`).exec(commandLine)?.[0];
