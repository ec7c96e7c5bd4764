import type { Duration } from '../../core/base/duration.ts';

/**
 * A kind of question that a `Reader` asks its child process: work that can block forever because of another process or
 * file system, and so must not be done by the agent itself.
 *
 * To add a kind:
 *
 * 1. Write one file that exports the kind and the function that answers it (an `Answerer`). The child may block in it.
 * 2. Add a row to the list in `src/agent/reader-main.ts`.
 * 3. Ask: `const [answer] = await reader.ask(KIND, [question])`.
 *
 * Questions and answers are JSON. A reader handles one question at a time; use a separate `Reader` for work that takes
 * long, so that other questions needn't wait for it.
 */
export interface QuestionKind<Q, A> {
  /** The name of its row in `src/agent/reader-main.ts`. */
  readonly name: string;
  /** If the child neither answers nor calls `at` for this time, it is killed and replaced. */
  readonly limit: Duration;
  /** The longest answer, in bytes of JSON. A child that sends more is killed. */
  readonly maxBytes: number;
  /**
   * How often a question is asked before it counts as hung; default 1. With 2, a disk that is slow for a moment isn't
   * mistaken for an attack.
   */
  readonly attempts?: number;
  /** What a question is about. After a question hung, no further one about the same subject is asked. */
  readonly subject?: (question: Q) => Subject;
  /** Holds the type of the answer; never set. */
  readonly answer?: A;
}

export interface Subject {
  /** Unique, and never reused: for a process, its pid and start time. */
  readonly id: string;
  /**
   * The user who could have caused a hang. After several hangs, no subject of this owner is asked about for an hour.
   */
  readonly owner?: string;
}

/** Runs in the child. What it throws becomes a `failed` answer. */
export type Answerer<Q, A> = (question: Q, context: AnswerContext) => A | Promise<A>;

export interface AnswerContext {
  /**
   * Reports progress, and restarts the time limit. Call this before each step that may block, at least a few times
   * within the limit. A `hung` answer contains the last `step`.
   */
  readonly at: (step: string) => void;
}

export type Answer<A> =
  | { readonly state: 'answered'; readonly value: A }
  /** The answerer threw; `code` is the name of its errno, such as ENOENT, if it has one. */
  | { readonly state: 'failed'; readonly message: string; readonly code?: string }
  /** It took too long, and the child was killed. */
  | {
      readonly state: 'hung';
      /** What the answerer last reported by `at`. */
      readonly at?: string;
      /** Whether no subject of this owner is asked about for the next hour. */
      readonly ownerSkipped: boolean;
    }
  /** Not asked: a question about the same subject hung, or several about the same owner. */
  | { readonly state: 'avoided' }
  /** The child can't be started or exited unexpectedly, too many questions hung or wait, or the reader is closed. */
  | { readonly state: 'unavailable'; readonly message: string };

/** Makes the answer to a question that can't be asked, or whose answer won't arrive. */
export const unavailable = (message: string): Answer<never> => ({ state: 'unavailable', message });
