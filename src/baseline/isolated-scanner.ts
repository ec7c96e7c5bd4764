import { type Clock, TimeLimitError } from '../base/clock.ts';
import { type Duration, hours, seconds } from '../base/duration.ts';
import { AgentError, messageOf, toAgentError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Reader } from '../base/reader/reader.ts';
import type { BaselineReport, BaselineScanner, ScanOptions } from '../contract/baseline.ts';
import type { FirewallRule } from '../contract/sources.ts';
import { BASELINE_SCAN, type FirewallFacts, parseReport, type ScanQuestion } from './scan-question.ts';
import { CUSTOM, heard, START } from './stage.ts';

/** For a scan with all that is made again of it: less than a snapshot may take. */
const LONGEST = seconds(100);
/** A scan that hung is made again without the stage that it hung in, so often at most. */
const MOST_HANGS = 3;
/** How long a stage that hung is left out. Each try may leave a child behind that can't be killed. */
const LEFT_OUT_FOR = hours(24);
/** Of the question, in bytes of JSON: less than the reader takes. */
const MOST_FIREWALL_BYTES = 6 * 1024 * 1024;

interface Parts {
  /** One of its own: a scan takes seconds. */
  readonly reader: Pick<Reader, 'ask'>;
  readonly hostRoot: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly firewall?: { rules(signal: AbortSignal): Promise<readonly FirewallRule[]> };
  /** Absent: 100 s, in which a snapshot is taken. */
  readonly longest?: Duration;
  /** How long the child may take from one step to the next; for tests. */
  readonly stepLimit?: Duration;
}

/**
 * Scans in a child process, which is killed when it hangs: a user's file system that doesn't answer blocks whoever looks
 * into his home, for as long as he likes.
 *
 * What hung is left out of the scan that is made in its place, and of those of the next day: its rules are an `err`.
 */
export class IsolatedScanner implements BaselineScanner {
  readonly #parts: Parts;
  /** By stage. */
  readonly #hung = new Map<string, { readonly where: string; readonly at: Duration }>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @throws the signal's reason when that aborts; AgentError SOURCE_UNREADABLE when there can be no scan, with the reason */
  async scan(options: ScanOptions, signal: AbortSignal): Promise<BaselineReport> {
    signal.throwIfAborted();
    const { clock, longest = LONGEST } = this.#parts;
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    try {
      return await clock.within(longest, 'the scan', this.#scan(options, either));
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof TimeLimitError) throw noScan(error.message, error);
      throw error instanceof AgentError ? error : noScan(messageOf(error), error);
    } finally {
      stop.abort(); // and ends the child, where the time is over
    }
  }

  async #scan(options: ScanOptions, signal: AbortSignal): Promise<BaselineReport> {
    const firewall = await this.#firewall(signal);
    const kind = { ...BASELINE_SCAN, limit: this.#parts.stepLimit ?? BASELINE_SCAN.limit };
    for (let hangs = 0; ; hangs += 1) {
      const question: ScanQuestion = {
        hostRoot: this.#parts.hostRoot,
        options,
        ...(firewall === undefined ? {} : { firewall }),
        hung: this.#leftOut(),
      };
      const [answer] = await this.#parts.reader.ask(kind, [question], signal);
      signal.throwIfAborted();
      if (answer?.state === 'answered') return this.#parsed(answer.value);
      if (answer?.state !== 'hung')
        throw noScan(
          answer === undefined || answer.state === 'avoided'
            ? 'an earlier scan hung; not repeated yet'
            : answer.message,
        );
      const { stage, where } = heard(answer.at ?? START);
      // Of custom checks as little as of any other reason to refuse them: this line would go to the hub as a warning.
      this.#parts.log[stage === CUSTOM ? 'info' : 'warn'](
        { stage, where },
        'The baseline scan hung and its process was killed; repeating it without the rules that look there.',
      );
      if (stage === START || this.#hung.has(stage) || hangs >= MOST_HANGS)
        throw noScan(`looking at ${where} did not end`);
      this.#hung.set(stage, { where, at: this.#parts.clock.monotonic() });
    }
  }

  #parsed(answer: unknown): BaselineReport {
    try {
      return parseReport(answer);
    } catch (error) {
      throw noScan('the process that scans answered with what is no report', error);
    }
  }

  #leftOut(): Record<string, string> {
    const now = this.#parts.clock.monotonic();
    for (const [stage, { at }] of this.#hung) if (now - at > LEFT_OUT_FOR) this.#hung.delete(stage);
    return Object.fromEntries([...this.#hung].map(([stage, { where }]) => [stage, where]));
  }

  /** Asked here: its tools are the agent's own processes, and nothing that a user has can hold them up. */
  async #firewall(signal: AbortSignal): Promise<FirewallFacts | undefined> {
    const { firewall } = this.#parts;
    if (firewall === undefined) return undefined;
    try {
      const rules = await firewall.rules(signal);
      if (Buffer.byteLength(JSON.stringify(rules)) <= MOST_FIREWALL_BYTES) return { rules };
      return {
        problem: 'There are more rules of the packet filter than are judged.',
        remedy: 'Use sets in their place.',
      };
    } catch (error) {
      signal.throwIfAborted();
      const { message, remedy } = toAgentError(error);
      return { problem: message, remedy };
    }
  }
}

const noScan = (why: string, cause?: unknown) =>
  new AgentError(
    'SOURCE_UNREADABLE',
    `The system can't be judged: ${why}.`,
    'Look for a file system that does not answer: a network mount whose server is gone, or a mount of type fuse in a home.',
    { cause },
  );
