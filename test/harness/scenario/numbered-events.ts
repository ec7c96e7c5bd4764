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
  /** Whether an event that happened between these two times of the monotonic clock is lost while no agent listened. */
  happenedWithin(number: number, from: number, to: number): boolean;
  /** The agent was killed. */
  killed(stateDirectory: string): void;
  /** Whether the agent may have read an event once more after one of the kills. */
  wasReadAgain(number: number): boolean;
  /** How many events it may have read once more, at most, over all kills. */
  mostReadAgain(): number;
  /** Whether the agent has read everything. */
  isRead(stateDirectory: string): boolean;
  /** Something else that may happen to the source. */
  disturb?(): void;
  /** The agent has started a program. */
  ran?(pid: number, argv: readonly string[]): void;
}
