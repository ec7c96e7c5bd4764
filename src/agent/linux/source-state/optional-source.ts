import { type AgentError, toAgentError } from '../../../core/base/errors.ts';
import type { SourceStatus } from '../../../core/contract/sources.ts';

interface Openable {
  open(): Promise<void> | void;
  close(): Promise<void>;
}

/** A source that is opened on demand, and retried until it is available. */
export class OptionalSource<T extends Openable> {
  readonly #make: (onLost: (reason: AgentError) => void) => T;
  #source: T | undefined;
  #problem: AgentError | undefined;

  /** @param make called for each opening; the source calls `onLost` when it can't continue */
  constructor(make: (onLost: (reason: AgentError) => void) => T) {
    this.#make = make;
  }

  /**
   * Opens or closes the source. Call this every minute, which retries a source that could not be opened. Never rejects.
   *
   * @returns whether it was opened just now
   */
  async want(wanted: boolean): Promise<boolean> {
    const isOpen = this.#source !== undefined && this.#problem === undefined;
    if (wanted && isOpen) return false;
    await this.close();
    if (!wanted) return false;
    const source = this.#make((reason) => {
      if (this.#source === source) this.#problem = reason;
    });
    try {
      await source.open();
      this.#source = source;
      return true;
    } catch (error) {
      this.#problem = toAgentError(error);
      return false;
    }
  }

  /** @param statusOf the status of the open source */
  status(statusOf: (source: T) => SourceStatus): SourceStatus {
    if (this.#problem !== undefined) {
      return { state: 'unavailable', reason: `${this.#problem.message} ${this.#problem.remedy}` };
    }
    return this.#source === undefined ? { state: 'off' } : statusOf(this.#source);
  }

  async close(): Promise<void> {
    await this.#source?.close();
    this.#source = undefined;
    this.#problem = undefined;
  }
}
