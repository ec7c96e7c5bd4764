import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { findTool } from '../../../src/agent/host/run-tool.ts';
import { systemClock } from '../../../src/core/base/clock.ts';

/** Marks the events that are counted; their number follows. */
export const MARK = 'vakt-number-';

/** Where numbered events come from. */
export interface NumberedEvents {
  /** The path that the agent uses as the host's root directory. */
  readonly hostRoot: string;
  /** Whether it keeps events while no agent listens, and never produces damaged ones. */
  readonly isComplete: boolean;
  /** Numbers 0 up to here, less one, have happened. */
  readonly appended: number;
  /** Generates this number of events; the last one may be incomplete. */
  burst(count: number): void;
  /** Completes them. */
  complete(): Promise<void>;
  /** Whether an event happened between these two times of the monotonic clock; absent if it is kept for an agent. */
  happenedWithin?(number: number, from: number, to: number): boolean;
  /** The agent was killed. */
  killed?(stateDirectory: string): void;
  /** Whether the agent may have read an event once more after one of the kills; absent if events are never read again. */
  wasReadAgain?(number: number): boolean;
  /** Maximum number of events that it may have read once more, over all kills. */
  mostReadAgain?(): number;
  /** Whether the agent has read everything. */
  isRead(stateDirectory: string): boolean;
  /** Something else that may happen to the source. */
  disturb?(): void;
  /** The agent has started a program. */
  ran?(pid: number, argv: readonly string[]): void;
}

/** Programs that are actually started, for the kernel's own audit. */
export class NumberedStarts implements NumberedEvents {
  readonly hostRoot = '/';
  readonly isComplete = false;
  readonly #startedAt: number[] = [];
  readonly #running = new Set<Promise<unknown>>();

  get appended(): number {
    return this.#startedAt.length;
  }

  burst(count: number): void {
    for (let started = 0; started < count; started += 1) {
      const child = spawn(findTool('true') ?? 'true', [`${MARK}${this.appended}`], { stdio: 'ignore' });
      this.#startedAt.push(systemClock.monotonic());
      const ended = once(child, 'exit').finally(() => this.#running.delete(ended));
      this.#running.add(ended);
    }
  }

  async complete(): Promise<void> {
    await Promise.all(this.#running);
  }

  happenedWithin(number: number, from: number, to: number): boolean {
    const at = this.#startedAt[number] ?? Number.NaN;
    return at >= from && at <= to;
  }

  isRead(): boolean {
    return this.#running.size === 0;
  }
}
