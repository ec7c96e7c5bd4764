import { readFileIfThere } from '../base/atomic-file.ts';
import type { Clock } from '../base/clock.ts';
import { AgentError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { immediateStateFiles, type StateFiles } from '../base/state-files.ts';
import type { TwinSection } from '../contract/hub.ts';
import type { ConfigurationFault } from '../contract/sources.ts';
import { LiveSettings } from './settings.ts';
import { type Fault, readTwin, type TwinProperty, type TwinReading } from './twin.ts';

/** Where the configuration in force comes from, and what is wrong with the desired one; as in contract §2. */
export interface ConfigurationState {
  readonly desiredVersion?: number;
  readonly source: 'desired' | 'lastKnownGood' | 'defaults';
  /** By name of the property, when desired was refused. */
  readonly errors: Readonly<Record<string, string>>;
  readonly warnings: Readonly<Record<string, string>>;
}

/**
 * The twin's desired configuration: what is in force, and why.
 *
 * A desired configuration is obeyed as a whole or not at all. The last one obeyed lies on disk, so that a device that
 * starts without a network goes on as it was told.
 */
export class TwinConfiguration {
  readonly settings: LiveSettings;
  /** Resolves once the first desired configuration was obeyed, or with why it was not. */
  readonly verdict: Promise<AgentError | undefined>;
  #judge: (refusal: AgentError | undefined) => void = () => {};
  readonly #properties: readonly TwinProperty[];
  readonly #objectName: string;
  readonly #lastGoodFile: string;
  readonly #tell: (faults: readonly ConfigurationFault[]) => void;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #files: StateFiles;
  #mirror: Readonly<Record<string, unknown>>;
  #state: ConfigurationState;
  /** The configuration object that was last obeyed or refused, as JSON. */
  #latest: string | undefined;
  /** The last one that was obeyed, as JSON, while it could not be written. */
  #unsaved: string | undefined;

  constructor(options: {
    properties: readonly TwinProperty[];
    /** The configuration object's name in desired and in reported. */
    objectName: string;
    lastGoodFile: string;
    /** Gets every fault and doubt of a desired configuration, once per change. */
    tell: (faults: readonly ConfigurationFault[]) => void;
    clock: Clock;
    log: Logger;
    files?: StateFiles;
  }) {
    this.#files = options.files ?? immediateStateFiles;
    this.#properties = options.properties;
    this.#objectName = options.objectName;
    this.#lastGoodFile = options.lastGoodFile;
    this.#tell = options.tell;
    this.#clock = options.clock;
    this.#log = options.log;
    this.verdict = new Promise((resolve) => {
      this.#judge = resolve;
    });
    const lastGood = this.#readLastGood();
    const reading = lastGood ?? obeyed(readTwin(undefined, options.properties));
    this.settings = new LiveSettings(reading.settings);
    this.#mirror = reading.mirror;
    this.#state = { source: lastGood === undefined ? 'defaults' : 'lastKnownGood', errors: {}, warnings: {} };
  }

  state(): ConfigurationState {
    return this.#state;
  }

  /** The member of reported that mirrors what is in force. */
  reported(): Readonly<Record<string, unknown>> {
    return { [this.#objectName]: this.#mirror };
  }

  /**
   * Puts a whole `desired` section in force, or says why not. Never throws: it is hostile input. A change that is not of
   * the configuration object only has its version noted.
   */
  obey(desired: TwinSection): void {
    const object = (Object.hasOwn(desired, this.#objectName) ? desired[this.#objectName] : undefined) ?? null;
    const desiredVersion = desired.$version;
    const text = JSON.stringify(object);
    if (text === this.#latest) {
      this.#state = { ...this.#state, desiredVersion };
      if (this.#unsaved !== undefined) this.#writeLastGood(this.#unsaved);
      return;
    }
    this.#latest = text;
    const reading = readTwin(object, this.#properties);
    if (!reading.ok) {
      this.#state = { ...this.#state, desiredVersion, errors: byName(reading.faults), warnings: {} };
      this.#log.error(
        { desiredVersion, faults: byName(reading.faults), id: 'TWIN_INVALID' },
        'Refused the desired configuration; what was in force stays.',
      );
      this.#tellAll(reading.faults);
      this.#judge(invalid(reading.faults));
      return;
    }
    this.#mirror = reading.mirror;
    const unknown = Object.fromEntries(
      reading.unknown.slice(0, 32).map((name) => [name, 'is not known to this agent']),
    );
    this.#state = {
      desiredVersion,
      source: 'desired',
      errors: {},
      warnings: { ...unknown, ...byName(reading.warnings) },
    };
    this.settings.replace(reading.settings);
    this.#judge(undefined);
    this.#log.info({ desiredVersion }, 'Put the desired configuration in force.');
    this.#tellAll(reading.warnings);
    this.#writeLastGood(text);
  }

  #tellAll(faults: readonly Fault[]): void {
    if (faults.length === 0) return;
    const time = this.#clock.now();
    this.#tell(faults.map((fault) => ({ ...fault, time, used: JSON.stringify(this.#used(fault.name)) })));
  }

  /** The value in force of a property, as reported has it. */
  #used(name: string): unknown {
    return (this.#mirror[name] as { value?: unknown } | undefined)?.value ?? null;
  }

  #readLastGood(): Extract<TwinReading, { ok: true }> | undefined {
    try {
      const text = readFileIfThere(this.#lastGoodFile);
      if (text === undefined) return undefined;
      const reading = readTwin((JSON.parse(text) as { configuration?: unknown }).configuration, this.#properties);
      return reading.ok ? reading : undefined;
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
        'Could not keep the configuration on disk; a start without network will not know it.',
      );
    });
  }
}

const byName = (faults: readonly Fault[]): Record<string, string> =>
  Object.fromEntries(faults.slice(0, 32).map(({ name, message }) => [name, message]));

function invalid(faults: readonly Fault[]): AgentError {
  const all = faults.map(({ name, message }) => `${name} ${message}`).join('; ');
  const remedy = "Correct the module twin's desired properties.";
  return new AgentError('TWIN_INVALID', `the desired configuration is not valid: ${all}`, remedy);
}

/** A reading that cannot have faults: that of no configuration at all. */
function obeyed(reading: TwinReading): Extract<TwinReading, { ok: true }> {
  if (reading.ok) return reading;
  throw new TypeError(`the defaults are not valid: ${JSON.stringify(reading.faults)}`);
}
