import type { Logger } from '../../../../core/base/log.ts';
import type { SourceStatus } from '../../../../core/contract/sources.ts';
import type { UnreadReason } from '../../../../core/contract/streams.ts';
import { parseCommandLine } from '../../../host/proc-folder.ts';
import type { Answer } from '../../../reader/question.ts';
import type { Reader } from '../../../reader/reader.ts';
import { type AskedProcess, COMMAND_LINE } from './command-line.ts';

export type Asked = Omit<AskedProcess, 'proc'> & {
  /** For the log, when reading hangs. */
  readonly named?: string;
};

/** A process's arguments, or why they are unknown. */
export type CommandLine = { readonly argv: readonly string[] } | { readonly unread: UnreadReason };

/** Reads arguments of processes. Never rejects; answers in the order of the questions, all at once. */
export interface CommandLineSource {
  read(processes: readonly Asked[], signal?: AbortSignal): Promise<readonly CommandLine[]>;
}

/** Reads command lines through a reader process, and reports processes on which it hangs. */
export class CommandLines implements CommandLineSource {
  readonly #reader: Pick<Reader, 'ask' | 'hold' | 'close' | 'blockedReason'>;
  readonly #proc: string;
  readonly #log: Logger;

  /** @param proc the host's /proc */
  constructor({
    reader,
    proc,
    log,
  }: { reader: Pick<Reader, 'ask' | 'hold' | 'close' | 'blockedReason'>; proc: string; log: Logger }) {
    this.#reader = reader;
    this.#proc = proc;
    this.#log = log;
  }

  async read(processes: readonly Asked[], signal?: AbortSignal): Promise<readonly CommandLine[]> {
    if (processes.length === 0) return [];
    const questions = processes.map(({ named: _, ...asked }) => ({ proc: this.#proc, ...asked }));
    const answers = await this.#reader.ask(COMMAND_LINE, questions, signal);
    return processes.map((asked, index) => this.#take(asked, answers[index]));
  }

  /** Keeps a reader ready: a process may end before one has started. @returns a function that releases it */
  hold(): () => void {
    return this.#reader.hold();
  }

  /** The status of a source that takes command lines from here: says when they cannot be read. */
  status(source: SourceStatus): SourceStatus {
    const { blockedReason } = this.#reader;
    if (blockedReason === undefined || source.state === 'off' || source.state === 'unavailable') return source;
    const reason = [source.reason, blockedReason].filter((text) => text !== undefined).join(' ');
    return { ...source, state: 'degraded', reason };
  }

  /** Later and pending questions are answered `unavailable`. */
  close(): void {
    this.#reader.close();
  }

  #take(asked: Asked, answer: Answer<string | null> | undefined): CommandLine {
    if (answer?.state === 'answered') {
      if (typeof answer.value === 'string') return { argv: parseCommandLine(answer.value) };
      return { unread: 'ended' };
    }
    if (answer?.state === 'hung') {
      this.#report(asked, answer.ownerSkipped);
      return { unread: 'hung' };
    }
    return { unread: answer?.state === 'avoided' ? 'avoided' : 'unavailable' };
  }

  /** The reader limits how often this can happen. */
  #report({ pid, userId, executable, named = executable ?? 'unknown' }: Asked, ownerSkipped: boolean): void {
    this.#log.warn(
      { pid, executable: named, userId, reason: `process ${pid}, ${named}, user ${userId}` },
      'A process holds its own memory lock, which blocks any reader of its arguments: a strong sign of an attack on monitoring. They are not read again.',
    );
    if (!ownerSkipped) return;
    this.#log.warn(
      { userId, reason: `user ${userId}` },
      "Several processes of one user block any reader of their arguments. No arguments of this user's processes are read for an hour.",
    );
  }
}
