import type { Clock } from '../../core/base/clock.ts';
import { AgentError } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import type { TwinSection } from '../../core/contract/hub.ts';
import type { Settings, SettingsReader } from '../../core/contract/settings.ts';
import type { ConfigurationFault } from '../../core/contract/streams.ts';
import type { Dialect } from '../../core/twin/dialect.ts';
import { type Limits, NO_LIMITS } from '../../core/twin/limits.ts';
import { type Fault, readDefaults, readTwin, type TwinReading } from '../../core/twin/twin.ts';
import { readStateJson } from '../state/read-state.ts';
import type { StateFiles } from '../state/state-files.ts';
import { type ConfigurationChange, changesBetween } from './changes.ts';

type Applied = Extract<TwinReading, { ok: true }>;

/** Where the configuration in force comes from, and the faults of the desired one (contract §2). */
export interface ConfigurationState {
  readonly desiredVersion?: number;
  readonly source: 'desired' | 'lastKnownGood' | 'defaults';
  /** Keyed by property name; empty unless the desired configuration was refused. */
  readonly errors: Readonly<Record<string, string>>;
  readonly warnings: Readonly<Record<string, string>>;
}

/**
 * Takes desired configurations from the module twin and keeps the one in force.
 *
 * A desired configuration is applied as a whole or not at all. The last one that was applied is kept on disk, for a start
 * without a network.
 */
export class TwinConfiguration {
  readonly settings: LiveSettings;
  /** Resolves when the first desired configuration is applied, with `undefined`, or refused, with the error. */
  readonly verdict: Promise<AgentError | undefined>;
  #judge: (refusal: AgentError | undefined) => void = () => {};
  readonly #dialect: Dialect;
  readonly #lastGoodFile: string;
  readonly #onFaults: (faults: readonly ConfigurationFault[]) => void;
  readonly #changed: (change: ConfigurationChange) => void;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #files: StateFiles;
  #inForce: Applied;
  #state: ConfigurationState;
  /** The document that was last applied or refused, as JSON. */
  #latest: string | undefined;
  /** The last logged warnings about unknown names and about local limits, as JSON. */
  #loggedStray = '{}';
  #loggedLimited = '{}';
  /** The last document that was applied, as JSON, while it is not on disk yet. */
  #unsaved: string | undefined;

  constructor(options: {
    /** How desired and reported write settings. */
    dialect: Dialect;
    lastGoodFile: string;
    /** Called with every fault and warning of a desired configuration, once per change; with none if it has none. */
    onFaults: (faults: readonly ConfigurationFault[]) => void;
    /** Called with the changes after they have been applied. */
    changed?: (change: ConfigurationChange) => void;
    /** If omitted, only the ranges of the settings limit the values. */
    limits?: Limits;
    clock: Clock;
    log: Logger;
    files: StateFiles;
  }) {
    this.#files = options.files;
    this.#dialect = options.dialect;
    this.#lastGoodFile = options.lastGoodFile;
    this.#onFaults = options.onFaults;
    this.#changed = options.changed ?? (() => {});
    this.#limits = options.limits ?? NO_LIMITS;
    this.#clock = options.clock;
    this.#log = options.log;
    this.verdict = new Promise((resolve) => {
      this.#judge = resolve;
    });
    const lastGood = this.#readLastGood();
    this.#inForce = lastGood ?? readDefaults(this.#dialect, this.#limits);
    this.settings = new LiveSettings(this.#inForce.settings);
    this.#state = {
      source: lastGood === undefined ? 'defaults' : 'lastKnownGood',
      errors: {},
      warnings: byName(this.#inForce.warnings),
    };
    this.#logLimited();
  }

  state(): ConfigurationState {
    return this.#state;
  }

  /** The members of reported that mirror what is in force. */
  reported(): Readonly<Record<string, unknown>> {
    return this.#dialect.sectionWith(this.#inForce.mirror);
  }

  /**
   * Puts a whole `desired` section in force, or refuses it. Never throws: it is hostile input. When the configuration in
   * it has not changed, only its version is noted.
   */
  apply(desired: TwinSection): void {
    const document = this.#dialect.documentIn(desired);
    const desiredVersion = desired.$version;
    const unknownProperties = this.#dialect.unknownNames(desired);
    const text = JSON.stringify(document);
    if (text === this.#latest) {
      this.#state = { ...this.#state, desiredVersion, warnings: this.#warnings(unknownProperties) };
      if (this.#unsaved !== undefined) this.#writeLastGood(this.#unsaved);
    } else this.#take(document, text, desiredVersion, unknownProperties);
    this.#logUnknownNames(unknownProperties);
  }

  #take(
    document: unknown,
    text: string,
    desiredVersion: number,
    unknownProperties: Readonly<Record<string, string>>,
  ): void {
    this.#latest = text;
    const reading = readTwin(document, this.#dialect, this.#limits);
    if (!reading.ok) {
      const errors = byName(reading.faults);
      this.#state = { ...this.#state, desiredVersion, errors, warnings: this.#warnings(unknownProperties) };
      this.#log.error(
        { desiredVersion, faults: errors, id: 'TWIN_INVALID' },
        'Refused the desired configuration; what was in force stays.',
      );
      this.#reportFaults(reading.faults);
      this.#judge(invalid(reading.faults));
      return;
    }
    const before = this.#inForce;
    this.#inForce = reading;
    this.#state = { desiredVersion, source: 'desired', errors: {}, warnings: this.#warnings(unknownProperties) };
    this.settings.replace(reading.settings);
    this.#judge(undefined);
    this.#log.info({ desiredVersion }, 'Put the desired configuration in force.');
    this.#logLimited();
    this.#reportFaults(reading.warnings);
    const change = changesBetween(before, reading, this.#dialect.properties, {
      time: this.#clock.now(),
      desiredVersion,
    });
    if (change !== undefined) this.#changed(change);
    this.#writeLastGood(text);
  }

  /** Warnings about the current configuration and about unknown names in the desired section. */
  #warnings(unknownProperties: Readonly<Record<string, string>>): Record<string, string> {
    return { ...unknownProperties, ...byName(this.#inForce.warnings) };
  }

  #logUnknownNames(unknownProperties: Readonly<Record<string, string>>): void {
    const text = JSON.stringify(unknownProperties);
    if (text === this.#loggedStray) return;
    this.#loggedStray = text;
    if (text !== '{}')
      this.#log.warn({ names: unknownProperties }, 'The module twin has names that the agent does not know.');
  }

  #logLimited(): void {
    const limits = byName(this.#inForce.limited);
    const text = JSON.stringify(limits);
    if (text === this.#loggedLimited) return;
    this.#loggedLimited = text;
    if (text !== '{}')
      this.#log.warn({ limits }, 'Local limits hold instead of values of the module twin, or of defaults.');
  }

  #reportFaults(faults: readonly Fault[]): void {
    const time = this.#clock.now();
    this.#onFaults(faults.map((fault) => ({ ...fault, time, used: JSON.stringify(this.#used(fault.name)) })));
  }

  /** The value in force of a property, as reported spells it. */
  #used(name: string): unknown {
    const property = this.#dialect.properties.find((each) => each.name === name);
    return property === undefined ? null : (this.#inForce.spellings.get(property.id) ?? null);
  }

  #readLastGood(): Applied | undefined {
    try {
      const reading = readStateJson(this.#lastGoodFile, (value) =>
        readTwin((value as { configuration?: unknown }).configuration, this.#dialect, this.#limits),
      );
      if (reading === undefined) return undefined;
      if (reading.ok) return reading;
      const faults = byName(reading.faults);
      this.#log.warn({ faults }, 'The last good configuration is not valid any more; starting with the defaults.');
      return undefined;
    } catch (error) {
      this.#log.warn({ err: error }, 'Could not read the last good configuration; starting with the defaults.');
      return undefined;
    }
  }

  #writeLastGood(configuration: string): void {
    this.#unsaved = configuration;
    this.#files.replace(this.#lastGoodFile, `{"configuration":${configuration}}`, (error) => {
      if (error === undefined) {
        if (this.#unsaved === configuration) this.#unsaved = undefined;
        return;
      }
      this.#log.warn(
        { err: error },
        'Could not save the configuration; a start without a network will use an older one.',
      );
    });
  }
}

/** The messages of one property are joined. */
function byName(faults: readonly Fault[]): Record<string, string> {
  const messages = new Map<string, string>();
  for (const { name, message } of faults.slice(0, 32)) {
    const before = messages.get(name);
    messages.set(name, before === undefined ? message : `${before}; ${message}`);
  }
  return Object.fromEntries(messages);
}

function invalid(faults: readonly Fault[]): AgentError {
  const all = faults.map(({ name, message }) => `${name} ${message}`).join('; ');
  const remedy = "Correct the module twin's desired properties.";
  return new AgentError('TWIN_INVALID', `the desired configuration is not valid: ${all}`, remedy);
}

/** The configuration in force. Only `replace` changes it. */
export class LiveSettings implements SettingsReader {
  readonly #listeners: ((before: Settings) => void)[] = [];
  #current: Settings;

  constructor(initial: Settings) {
    this.#current = Object.freeze(initial);
  }

  current(): Settings {
    return this.#current;
  }

  onChange(listener: (before: Settings) => void): void {
    this.#listeners.push(listener);
  }

  /** Puts `next` in force and calls every listener. */
  replace(next: Settings): void {
    const before = this.#current;
    this.#current = Object.freeze(next);
    for (const listener of this.#listeners) listener(before);
  }
}
