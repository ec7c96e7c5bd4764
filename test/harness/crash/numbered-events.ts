/** Marks the events that are counted; their number follows. */
export const MARK = 'vakt-number-';

/** Where numbered events come from. */
export interface NumberedEvents {
  /** What the agent is to take for the host's root directory. */
  readonly hostRoot: string;
  /** Whether it keeps what nobody listens to, and makes nothing that is broken. */
  readonly isComplete: boolean;
  /** Numbers 0 up to here, less one, have happened. */
  readonly appended: number;
  /** Makes so many events happen; the last of them need not be complete. */
  burst(count: number): void;
  /** Completes them. */
  complete(): Promise<void>;
  /** Whether an event that happened between these two times of the monotonic clock is lost when nobody listened. */
  happenedWithin(number: number, from: number, to: number): boolean;
  /** The agent was killed. */
  killed(stateDirectory: string): void;
  /** Whether the agent may have read an event once more after one of the kills. */
  wasReadAgain(number: number): boolean;
  /** How many events it may have read once more, at most, over all kills. */
  mostReadAgain(): number;
  /** Whether the agent has read all that there is. */
  isRead(stateDirectory: string): boolean;
  /** Something else that may happen to the source. */
  disturb?(): void;
  /** The agent has started a program. */
  ran?(pid: number, argv: readonly string[]): void;
}
