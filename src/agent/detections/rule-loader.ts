import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { minutes } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { Loop } from '../../core/base/loop.ts';
import type { Service } from '../../core/base/service.ts';
import { Alarm } from '../../core/base/waiting.ts';
import { builtInDocuments, builtInRules } from './built-in.ts';
import type { Compiled, CompiledFiles, RuleFile } from './compiled-files.ts';
import type { RuleSet } from './detections.ts';
import { MAX_FILES, readAddresses, readOwnRules } from './own-rules.ts';
import { type Listing, RuleFolder, traceOf } from './rule-folder.ts';
import type { Fault } from './sigma/rule.ts';
import { readRuleSetInSlices } from './sigma/rule-set.ts';
import { finishInTurns } from './slices.ts';

/** Interval at which the operator's files are compared with those read. */
const LOOK_EVERY = minutes(1);
/** Maximum number of errors logged at a time; the status has their number. */
const MAX_LOGGED = 20;

/**
 * Reads the operator's own rules and addresses at the start, and again when they change or the module twin specifies another
 * SHA-256.
 */
export class RuleLoader implements Service {
  readonly name = 'detection rules';
  readonly #folder: RuleFolder;
  readonly #addressFile: string | undefined;
  readonly #wantedHash: () => string;
  readonly #load: (rules: RuleSet) => void;
  readonly #addressesChanged: () => void;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #compiled: CompiledFiles | undefined;
  readonly #abandoned: (() => void) | undefined;
  /** Whether rules are read for the first time. */
  #shipped: ReturnType<typeof builtInRules> | undefined;
  readonly #alarm = new Alarm();
  readonly #loop: Loop;
  /** State of the last read: the files' trace, and the SHA-256 from the twin. */
  #read: string | undefined;
  /** The rules of the last compilation, with the errors of its files. */
  #rules: RuleSet | undefined;
  /** Why the directory can't be listed, while these rules stay active. */
  #problem: Fault | undefined;
  #addressTrace: string | undefined;
  #addresses: readonly string[] = [];
  #addressFault: Fault | undefined;
  #logged = '';

  constructor(options: {
    folder: string;
    /** Without it, there is no list of bad addresses. */
    addressFile?: string | undefined;
    /** SHA-256 that the directory must have; any if empty. */
    wantedHash: () => string;
    load: (rules: RuleSet) => void;
    addressesChanged: () => void;
    /** Without it, files are parsed at each start. */
    compiled?: CompiledFiles;
    /** The shipped rules, if they were just read, so that the start does not read them again. */
    shipped?: ReturnType<typeof builtInRules>;
    clock: Clock;
    log: Logger;
    /** Called at the end if a thread of this process still waits for the directory. */
    abandoned?: (() => void) | undefined;
    /** Lists the directory, for tests. */
    list?: (folder: string) => Promise<readonly string[]>;
  }) {
    this.#folder = new RuleFolder(options.folder, options.clock, options.list);
    this.#addressFile = options.addressFile;
    this.#wantedHash = options.wantedHash;
    this.#load = options.load;
    this.#addressesChanged = options.addressesChanged;
    this.#compiled = options.compiled;
    this.#shipped = options.shipped;
    this.#abandoned = options.abandoned;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#loop = new Loop(async (signal) => {
      await this.#alarm.sleep(this.#clock, LOOK_EVERY, signal);
      if (!signal.aborted) await this.#look();
    }, options);
  }

  /** The operator's rules are active before any event is collected. */
  async start(): Promise<void> {
    if (!existsSync(this.#folder.path)) this.#compiled?.forget();
    await this.#look();
    this.#loop.start();
  }

  async stop(): Promise<void> {
    this.#folder.close();
    await this.#loop.stop();
    if (this.#folder.isWaiting) this.#abandoned?.();
  }

  /** Call this when the module twin may specify another SHA-256, or to have the files looked at now. */
  refresh(): void {
    this.#alarm.ring();
  }

  /** Addresses and networks on the operator's block list. */
  get badAddresses(): readonly string[] {
    return this.#addresses;
  }

  async #look(): Promise<void> {
    const [rules, addresses] = [await this.#readRules(), this.#readAddresses()];
    if (this.#rules === undefined || (!rules && !addresses)) return;
    const more = [this.#problem, this.#addressFault].filter((fault) => fault !== undefined);
    const faults = [...this.#rules.faults, ...more];
    this.#load({ ...this.#rules, faults });
    if (addresses) this.#addressesChanged();
    this.#report(faults);
  }

  /** @returns whether the rules or their errors have changed */
  async #readRules(): Promise<boolean> {
    const listing = await this.#folder.look();
    if (listing === undefined) return false;
    const wanted = this.#wantedHash();
    const trace = `${wanted}\n${'problem' in listing ? listing.problem : this.#trace(listing.names)}`;
    if (trace === this.#read) return false;
    if ('problem' in listing && this.#mayStay(wanted)) {
      this.#problem = { file: this.#folder.path, reason: listing.problem };
    } else {
      this.#rules = await this.#compile(wanted, listing);
      this.#problem = undefined;
    }
    this.#read = trace; // last, so that files that cannot be compiled now are read again
    return true;
  }

  /**
   * Whether the current rules stay active while the directory can't be listed: a user who keeps it locked must not disable them.
   * Their hash must still be the one in the module twin.
   */
  #mayStay(wanted: string): boolean {
    const own = this.#rules?.ownSha256;
    return this.#rules !== undefined && (own === undefined || wanted === '' || wanted === own);
  }

  /** @returns whether the addresses or their errors have changed */
  #readAddresses(): boolean {
    if (this.#addressFile === undefined) return false;
    const trace = traceOf(this.#addressFile);
    if (trace === this.#addressTrace) return false;
    this.#addressTrace = trace;
    const { addresses, fault } = readAddresses(this.#addressFile);
    this.#addresses = addresses;
    this.#addressFault = fault;
    return true;
  }

  /** State that is compared to detect a change. */
  #trace(names: readonly string[]): string {
    const files = names.slice(0, MAX_FILES + 1).map((name) => join(this.#folder.path, name));
    return [this.#folder.path, ...files].map((path) => `${path} ${traceOf(path)}`).join('\n');
  }

  async #compile(wanted: string, listing: Listing): Promise<RuleSet> {
    const { sha256, ...shipped } = this.#shipped ?? builtInRules();
    this.#shipped = undefined;
    const read = async (known?: Compiled) => {
      const own = await readOwnRules(this.#folder.path, wanted, known, listing);
      const all =
        own.documents.length === 0
          ? shipped
          : await finishInTurns(readRuleSetInSlices([...builtInDocuments(), ...own.documents]));
      const faulty = new Set(all.faults.map(({ file }) => file));
      return { own, ...all, isFaulty: ({ path }: RuleFile) => faulty.has(path) };
    };
    const before = this.#compiled?.read();
    let all = await read(before);
    // The line of an error is known only for files that were just parsed.
    if (all.own.files?.some((file) => file.wasCompiled === true && all.isFaulty(file)) === true) all = await read();
    const good = all.own.files?.filter((file) => file.documents !== undefined && !all.isFaulty(file));
    if (good !== undefined && before !== undefined) this.#compiled?.keep(good, all.rules, before);
    const { own, rules } = all;
    return {
      rules,
      faults: [...own.faults, ...all.faults],
      sha256: own.sha256 === undefined ? sha256 : createHash('sha256').update(sha256).update(own.sha256).digest('hex'),
      ...(own.sha256 === undefined ? {} : { ownSha256: own.sha256 }),
    };
  }

  #report(faults: readonly Fault[]): void {
    const text = JSON.stringify(faults);
    if (text === this.#logged) return;
    this.#logged = text;
    for (const { file, line, reason } of faults.slice(0, MAX_LOGGED)) {
      this.#log.warn({ file, ...(line === undefined ? {} : { line }), reason }, 'Rejected a detection rule file.');
    }
  }
}
