import type { Duration } from '../duration.ts';

/**
 * A kind of question that a `Reader` asks its child process: work that can block for ever because of somebody else's
 * process or file system, and so must not be done by the agent itself.
 *
 * To add a kind:
 *
 * 1. Write one file that exports the kind and the function that answers it (an `Answerer`). The child may block in it.
 * 2. Add a row to the list in `src/reader-main.ts`.
 * 3. Ask: `const [answer] = await reader.ask(KIND, [question])`.
 *
 * Questions and answers are JSON. A reader asks one question after the other; work that takes long gets a `Reader` of its
 * own, so that others needn't wait for it.
 */
export interface QuestionKind<Q, A> {
  /** The name of its row in `src/reader-main.ts`. */
  readonly name: string;
  /** How long the child may go without answering, or calling `at`. Then it is killed and replaced. */
  readonly limit: Duration;
  /** The longest answer, in bytes of JSON. A child that sends more is killed. */
  readonly mostBytes: number;
  /**
   * How often a question is asked before it counts as hung; 1 unless told. With 2, a disk that was slow for a moment
   * isn't taken for an attack.
   */
  readonly attempts?: number;
  /** What a question is about. After a question hung, no other one about the same subject is asked. */
  readonly subject?: (question: Q) => Subject;
  /** Holds the type of the answer; never set. */
  readonly answer?: A;
}

export interface Subject {
  /** Never given to anything else: for a process, its pid and start time. */
  readonly id: string;
  /** Who could have caused it. After several of an owner's subjects hung, nobody asks about this owner for an hour. */
  readonly owner?: string;
}

/** Runs in the child. What it throws is told to the asker as `failed`. */
export type Answerer<Q, A> = (question: Q, context: AnswerContext) => A | Promise<A>;

export interface AnswerContext {
  /**
   * Says what the child does next, and restarts the time limit. To be called before each step that may block, at least
   * a few times within the limit. When the child is killed, the asker gets the last `what` that was said.
   */
  readonly at: (what: string) => void;
}

export type Answer<A> =
  | { readonly state: 'answered'; readonly value: A }
  /** The answerer threw; `code` is an errno's name such as ENOENT, where there is one. */
  | { readonly state: 'failed'; readonly message: string; readonly code?: string }
  /** It took too long, and the child was killed. */
  | {
      readonly state: 'hung';
      /** What the answerer said last by `at`. */
      readonly at?: string;
      /** Nobody asks about the subject's owner for an hour from now on. */
      readonly mutesOwner: boolean;
    }
  /** Not asked: a question about the same subject hung, or several about the same owner. */
  | { readonly state: 'avoided' }
  /** There is no child: it can't be started, ended unexpectedly, too many hung, too many wait, or the reader is closed. */
  | { readonly state: 'unavailable'; readonly message: string };

/** For answers that never came, such as when the agent stops. */
export const unavailable = (message: string): Answer<never> => ({ state: 'unavailable', message });
