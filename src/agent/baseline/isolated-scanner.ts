import { type Clock, TimeLimitError } from '../../core/base/clock.ts';
import { type Duration, hours, seconds } from '../../core/base/duration.ts';
import { AgentError, messageOf, toAgentError } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import { withEither } from '../../core/base/waiting.ts';
import type { BaselineReport, BaselineScanner, ScanOptions } from '../../core/contract/baseline.ts';
import type { FirewallRule } from '../../core/contract/sources.ts';
import type { Reader } from '../reader/reader.ts';
import { CUSTOM, parseStage, START } from './rule.ts';
import { BASELINE_SCAN, type FirewallFacts, parseReport, type ScanQuestion } from './scan-question.ts';

/** Time limit for a scan with its repetitions: less than that of a snapshot. */
const LONGEST_SCAN = seconds(100);
/** Limit of repetitions of a scan that hung, each without the stage in which it hung. */
const MAX_HANGS = 3;
/** How long a stage that hung is skipped. Each attempt can leave a child process that cannot be killed. */
const LEFT_OUT_FOR = hours(24);
/** Limit of the packet filter's rules in bytes of JSON: less than the reader accepts. */
const MAX_FIREWALL_BYTES = 6 * 1024 * 1024;

interface Parts {
  /** One of its own: a scan takes seconds. */
  readonly reader: Pick<Reader, 'ask'>;
  readonly hostRoot: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly firewall?: { rules(signal: AbortSignal): Promise<readonly FirewallRule[]> };
  /** If absent, 100 s, the time limit of a snapshot. */
  readonly longest?: Duration;
  /** How long the child may take from one step to the next; for tests. */
  readonly stepLimit?: Duration;
}

/**
 * Scans in a child process, which is killed when it hangs: a user's FUSE file system can block any process that reads
 * the user's home, indefinitely.
 *
 * The stage that hung is skipped in the repeated scan and for the next 24 h; its rules are reported as `err`.
 */
export class IsolatedScanner implements BaselineScanner {
  readonly #parts: Parts;
  /** Stages that hung, keyed by name. */
  readonly #hung = new Map<string, { readonly where: string; readonly at: Duration }>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * @throws the signal's reason when that aborts; AgentError SOURCE_UNREADABLE when there can be no scan, with the
   *   reason
   */
  async scan(options: ScanOptions, signal: AbortSignal): Promise<BaselineReport> {
    signal.throwIfAborted();
    const { clock, longest = LONGEST_SCAN } = this.#parts;
    const stop = new AbortController();
    return withEither([signal, stop.signal], async (either) => {
      try {
        return await clock.within(longest, 'the scan', this.#scan(options, either));
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof TimeLimitError) throw noScan(error.message, error);
        throw error instanceof AgentError ? error : noScan(messageOf(error), error);
      } finally {
        stop.abort(); // ends the child if the time limit was reached
      }
    });
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
      const { stage, where } = parseStage(answer.at ?? START);
      // Not a warning for custom checks: warnings go to the hub, which must not learn the reason.
      this.#parts.log[stage === CUSTOM ? 'info' : 'warn'](
        { stage, where },
        'The baseline scan hung and its process was killed; repeating it without the rules that look there.',
      );
      if (stage === START || this.#hung.has(stage) || hangs >= MAX_HANGS) throw noScan(`reading ${where} hung`);
      this.#hung.set(stage, { where, at: this.#parts.clock.monotonic() });
    }
  }

  #parsed(answer: unknown): BaselineReport {
    try {
      return parseReport(answer);
    } catch (error) {
      throw noScan("the scan process's answer is not a valid report", error);
    }
  }

  #leftOut(): Record<string, string> {
    const now = this.#parts.clock.monotonic();
    for (const [stage, { at }] of this.#hung) if (now - at > LEFT_OUT_FOR) this.#hung.delete(stage);
    return Object.fromEntries([...this.#hung].map(([stage, { where }]) => [stage, where]));
  }

  /** Read in the agent, not in the child: no user can block the tools of the packet filter. */
  async #firewall(signal: AbortSignal): Promise<FirewallFacts | undefined> {
    const { firewall } = this.#parts;
    if (firewall === undefined) return undefined;
    try {
      const rules = await firewall.rules(signal);
      if (Buffer.byteLength(JSON.stringify(rules)) <= MAX_FIREWALL_BYTES) return { rules };
      return {
        problem: `The packet filter has more rules than can be evaluated (${MAX_FIREWALL_BYTES} bytes).`,
        remedy: 'Replace rules with nftables sets.',
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
    `The system can't be evaluated: ${why}.`,
    'Look for a file system that does not answer: a network mount whose server is gone, or a mount of type fuse in a home.',
    { cause },
  );
