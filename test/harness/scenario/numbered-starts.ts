import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { findTool } from '../../../src/agent/host/run-tool.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { MARK, type NumberedEvents } from './numbered-events.ts';

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

  /** Whether it was started between these two times of the monotonic clock, while no agent listened. */
  happenedWithin(number: number, from: number, to: number): boolean {
    const at = this.#startedAt[number] ?? Number.NaN;
    return at >= from && at <= to;
  }

  /** Events that were read are never read again. */
  wasReadAgain(): boolean {
    return false;
  }

  mostReadAgain(): number {
    return 0;
  }

  killed(): void {}

  isRead(): boolean {
    return this.#running.size === 0;
  }
}
