import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Clock } from '../../../core/base/clock.ts';
import type { Logger } from '../../../core/base/log.ts';
import { Turn } from '../../../core/base/waiting.ts';
import type { Payload } from '../../../core/contract/event.ts';
import type { AlertException } from '../../../core/contract/setting-kinds.ts';
import type { ParsedRule } from '../sigma/rule.ts';
import type { Hit, Subject } from '../subject.ts';
import { subjectOf } from '../subjects.ts';
import { covers, isInForce, Networks } from './exceptions.ts';
import { alertTypeOf, isBelow, isNamed } from './policy.ts';

/** An event of an attack: its name, and its fields. */
export type AttackEvent = readonly [name: string, payload: Payload];

/** A sample of the attacks that the shipped rules were written with, keyed by alert type. */
export type Attacks = Readonly<Record<string, readonly AttackEvent[]>>;

/** Share of its attacks that makes a rule count as silenced. */
const SILENCED = 0.5;

/** In the bundle, `config/` is beside the program; in the repository, at its root. */
const PLACES = ['./config/detections/attacks.json', '../../../../../config/detections/attacks.json'];

/** @throws if the package lacks its file, or it is damaged */
export async function readAttacks(): Promise<Attacks> {
  const file = PLACES.map((place) => new URL(place, import.meta.url)).find((url) => existsSync(url));
  if (file === undefined) throw new Error('config/detections/attacks.json is missing');
  return JSON.parse(await readFile(file, 'utf8')) as Attacks;
}

/**
 * Finds the rules of level high or critical that the twin's exceptions silence in combination, even if each exception looks
 * harmless. After a change, the exceptions are applied in slices to a sample of the attacks that the rules were written with.
 */
export class ExceptionEffect {
  readonly #rules: () => readonly ParsedRule[];
  readonly #read: () => Promise<Attacks>;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #changed: () => void;
  #silenced: ReadonlySet<string> = new Set();
  /** The last exceptions and rules that were evaluated or are being evaluated. */
  #of: string | undefined;
  #rulesOf: readonly ParsedRule[] = [];

  constructor(options: {
    rules: () => readonly ParsedRule[];
    /** Reads the attacks. Called once per change of the exceptions, because they are rarely needed. */
    read?: () => Promise<Attacks>;
    clock: Clock;
    log: Logger;
    /** Called after each evaluation. */
    changed: () => void;
  }) {
    this.#rules = options.rules;
    this.#read = options.read ?? readAttacks;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#changed = options.changed;
  }

  /** Ids of the silenced rules. Until the given exceptions are evaluated, those of the previous ones. */
  silenced(exceptions: Readonly<Record<string, AlertException>>): ReadonlySet<string> {
    const now = this.#clock.now();
    const inForce = Object.values(exceptions).filter((exception) => isInForce(exception, now));
    const rules = this.#rules();
    const of = JSON.stringify(inForce);
    if (of !== this.#of || rules !== this.#rulesOf) {
      this.#of = of;
      this.#rulesOf = rules;
      if (inForce.length > 0 || this.#silenced.size > 0) void this.#evaluate(of, rules, inForce);
    }
    return this.#silenced;
  }

  async #evaluate(of: string, rules: readonly ParsedRule[], exceptions: readonly AlertException[]): Promise<void> {
    try {
      const found = exceptions.length === 0 ? [] : await this.#silencedBy(exceptions, rules);
      if (of !== this.#of || rules !== this.#rulesOf) return;
      this.#silenced = new Set(found);
      this.#changed();
    } catch (error) {
      this.#log.error({ err: error }, 'Failed to evaluate the exceptions of the module twin.');
    }
  }

  async #silencedBy(exceptions: readonly AlertException[], rules: readonly ParsedRule[]): Promise<readonly string[]> {
    const attacks = await this.#read();
    const networks = new Networks();
    const turn = new Turn(this.#clock);
    const silenced: string[] = [];
    for (const { facts } of rules) {
      const named = exceptions.filter(({ rule }) => isNamed(facts, rule));
      if (named.length === 0 || !facts.alerts || isBelow(facts.level, 'high')) continue;
      let count = 0;
      let covered = 0;
      for (const [name, payload] of attacks[alertTypeOf(facts)] ?? []) {
        if (turn.isOver()) await turn.next();
        const subject = subjectOf({ name, payload, time: 0 });
        if (subject === undefined || !facts.sources.includes(subject.source)) continue;
        count += 1;
        const hit = hitOf(subject, facts);
        if (named.some((exception) => covers(exception, hit, networks))) covered += 1;
      }
      if (count > 0 && covered >= count * SILENCED) silenced.push(facts.id);
    }
    return silenced;
  }
}

const hitOf = (subject: Subject, rule: Hit['rule']): Hit => {
  const [view] = subject.views;
  return view === undefined ? { rule, subject } : { rule, subject, view };
};
