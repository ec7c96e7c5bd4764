import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, hours } from '../../../core/base/duration.ts';
import { AgentError, messageOf } from '../../../core/base/errors.ts';
import type { QuestionKind } from '../../reader/question.ts';
import type { Reader } from '../../reader/reader.ts';

/** How long nothing is asked after a question hung: each attempt may leave a child process that cannot be killed. */
const REST = hours(1);

export interface Asking {
  readonly reader: Pick<Reader, 'ask'>;
  readonly clock: Pick<Clock, 'monotonic'>;
}

interface Options<Q, A> extends Asking {
  readonly kind: QuestionKind<Q, A>;
  /** What fails without an answer: `Hardware can't be listed`. */
  readonly failure: string;
  /** Reads an answer. It is untrusted: devices and users control what the child reads. @throws if it is not valid */
  readonly parse: (answer: unknown) => A;
}

/**
 * A question about the machine, answered by the reader process: any user can keep a folder of `/sys` or `/etc` locked
 * for any length of time, and a process that looks up a name there waits.
 */
export class MachineQuestion<Q, A> {
  readonly #options: Options<Q, A>;
  #hung: { readonly at: Duration; readonly where: string } | undefined;

  constructor(options: Options<Q, A>) {
    this.#options = options;
  }

  /** @throws the signal's reason when it aborts, AgentError SOURCE_UNREADABLE when there is no valid answer */
  async ask(question: Q, signal: AbortSignal): Promise<A> {
    const { kind, reader, clock } = this.#options;
    signal.throwIfAborted();
    if (this.#hung !== undefined && clock.monotonic() - this.#hung.at < REST) throw this.#hangs(this.#hung.where);
    const [answer] = await reader.ask(kind, [question], signal);
    signal.throwIfAborted();
    this.#hung = undefined;
    if (answer?.state === 'hung') {
      this.#hung = { at: clock.monotonic(), where: answer.at ?? 'files' };
      throw this.#hangs(this.#hung.where);
    }
    if (answer?.state !== 'answered')
      throw this.unreadable(answer === undefined || answer.state === 'avoided' ? 'it was not asked' : answer.message);
    try {
      return this.#options.parse(answer.value);
    } catch (error) {
      throw this.unreadable(`the reader's answer is not valid: ${messageOf(error)}`);
    }
  }

  unreadable(
    what: string,
    remedy = 'Look for lines about the reader process in the log: journalctl -u vakt -p warning',
  ): AgentError {
    return new AgentError('SOURCE_UNREADABLE', `${this.#options.failure}: ${what}`, remedy);
  }

  #hangs(where: string): AgentError {
    return this.unreadable(
      `reading ${where} hung, and its process was killed; it is tried again an hour later`,
      'Look for a program that keeps the folder locked: its mkdir(2) there does not return. Any user can write one, with FUSE.',
    );
  }
}
