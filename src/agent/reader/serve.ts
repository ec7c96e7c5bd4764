import { readSync, writeSync } from 'node:fs';
import { errnoOf, messageOf } from '../../core/base/errors.ts';
import { encodeFrame, FrameReader, type QuestionFrame } from './frames.ts';
import type { Answerer } from './question.ts';

/** Loads the answerer of a kind of question, at the first such question. */
export type Load = () => Promise<Answerer<never, unknown>>;

/** Standard input and output: pipes to the agent. */
const QUESTIONS = 0;
const ANSWERS = 1;
const CHUNK_BYTES = 64 * 1024;
/** A terminal, or a service manager, sends these to all processes of a group at once. */
const OF_THE_GROUP = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** More than any question of the agent has. */
const MAX_QUESTION_BYTES = 8 * 1024 * 1024;
/** Progress reports are cut to this, in characters. */
const MAX_AT_LENGTH = 1_024;

/**
 * The child's side of a `Reader`: answers one question at a time until the agent closes the pipe.
 *
 * Ignores signals that are meant to stop the agent: until it has stopped, it needs answers.
 *
 * Reads and writes its pipes synchronously, which loads less of Node; the child has nothing else to do.
 */
export async function serve(kinds: Readonly<Record<string, Load>>): Promise<void> {
  for (const signal of OF_THE_GROUP) process.on(signal, () => {});
  const answerers = new Map<string, Answerer<unknown, unknown>>();
  const frames = new FrameReader(() => MAX_QUESTION_BYTES);
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  const context = { at: (step: string) => write({ at: step.slice(0, MAX_AT_LENGTH) }) };
  write({ ready: true });
  for (;;) {
    const frame = frames.next() as QuestionFrame | undefined;
    if (frame === undefined) {
      const length = readSync(QUESTIONS, buffer, 0, buffer.length, null);
      if (length === 0) return; // the agent has closed the pipe, or exited
      frames.push(Buffer.from(buffer.subarray(0, length)));
      continue;
    }
    try {
      let answer = answerers.get(frame.kind);
      if (answer === undefined) {
        const load = Object.hasOwn(kinds, frame.kind) ? kinds[frame.kind] : undefined;
        if (load === undefined) throw new Error(`there is no question kind "${frame.kind}"`);
        answer = (await load()) as Answerer<unknown, unknown>;
        answerers.set(frame.kind, answer);
      }
      write({ value: (await answer(frame.question, context)) ?? null });
    } catch (error) {
      const code = errnoOf(error);
      write({ error: messageOf(error), ...(code === undefined ? {} : { code }) });
    }
  }
}

function write(frame: Parameters<typeof encodeFrame>[0]): void {
  const bytes = encodeFrame(frame);
  for (let written = 0; written < bytes.length; ) written += writeSync(ANSWERS, bytes, written);
}
