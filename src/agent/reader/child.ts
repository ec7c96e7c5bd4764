import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../../core/base/errors.ts';
import { UNREACHABLE_INSPECTOR } from '../../core/base/no-inspector.ts';
import { Alarm } from '../../core/base/waiting.ts';
import { rememberOwn } from '../host/own-processes.ts';
import { type AnswerFrame, encodeFrame, FrameReader, type QuestionFrame } from './frames.ts';

/** As in `main.ts`, and a limit on the heap, so that hostile input cannot exhaust the device's memory. */
const FLAGS = ['--max-semi-space-size=1', '--single-threaded', '--max-old-space-size=128', UNREACHABLE_INSPECTOR];
/** The child's standard error is cut to this, in characters. */
const MAX_STDERR = 2_048;

/** Running children. They must exit with the agent: a blocked child would not notice that its pipe is closed. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** `src/agent/reader-main.ts`; in the bundle it is beside the program. */
const PROGRAM = ['./reader-main.js', '../reader-main.js']
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((path) => existsSync(path));

interface Events {
  /** The longest frame to accept now, in bytes. */
  readonly maxBytes: () => number;
  readonly frame: (frame: AnswerFrame) => void;
  /** Called once when the child could not be started, exited by itself, or sent an invalid frame. */
  readonly failed: (why: string) => void;
  /** Called once when the process has exited. */
  readonly ended: () => void;
}

/** A child process that answers questions; see `serve`. */
export class ReaderChild {
  /** Wakes the loop that watches the time limits. */
  readonly alarm = new Alarm();
  readonly #process: ChildProcess;
  #over = false;
  #stderr = '';

  /** @param program for tests. @throws the error if the child can't be started */
  constructor({ maxBytes, frame, failed, ended }: Events, program = PROGRAM) {
    if (program === undefined) throw new Error('reader-main.js is missing beside main.js');
    const child = spawn(process.execPath, [...FLAGS, program], {
      env: {},
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
      windowsHide: true,
    });
    this.#process = child;
    child.stdin?.on('error', () => {}); // it has exited, which the `exit` event reports
    const fail = (why: string) => {
      if (this.#over) return;
      this.kill();
      failed(this.#stderr === '' ? why : `${why}: ${this.#stderr.trim()}`);
    };
    child.on('error', (error) => {
      fail(error.message);
      if (child.pid === undefined) ended();
    });
    if (child.pid === undefined) return;
    running.add(child);
    rememberOwn(child.pid);
    child.on('exit', (code, signal) => {
      running.delete(child);
      fail(`it exited with ${signal ?? code}`);
      ended();
    });
    const frames = new FrameReader(maxBytes);
    child.stdout?.on('data', (chunk: Buffer) => {
      if (this.#over) return;
      frames.push(chunk);
      try {
        for (;;) {
          const next = frames.next();
          if (next === undefined || this.#over) return;
          frame(next as AnswerFrame);
        }
      } catch (error) {
        fail(`it sent an invalid answer (${messageOf(error)})`);
      }
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(0, MAX_STDERR);
    });
    // An idle child must not keep the agent's event loop alive; while an answer is pending, a timer does.
    child.unref();
    for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as Socket | null)?.unref();
  }

  get isOver(): boolean {
    return this.#over;
  }

  send(frame: QuestionFrame): void {
    if (!this.#over) this.#process.stdin?.write(encodeFrame(frame));
  }

  /** Makes the child exit when it has answered, by closing its input. */
  dismiss(): void {
    this.#over = true;
    this.alarm.ring();
    this.#process.stdin?.end();
  }

  /** Sends SIGKILL. That ends a child that waits for a memory lock, but not always one that waits for a FUSE server. */
  kill(): void {
    this.#over = true;
    this.alarm.ring();
    this.#process.kill('SIGKILL');
    for (const stream of [this.#process.stdin, this.#process.stdout, this.#process.stderr]) stream?.destroy();
  }

  /** Whether the child is running or runnable, rather than blocked. Its `stat` can be read even if it is blocked. */
  isBusy(): boolean {
    try {
      const stat = readFileSync(`/proc/${this.#process.pid}/stat`, 'latin1');
      return stat.slice(stat.lastIndexOf(')') + 2).startsWith('R');
    } catch {
      return false;
    }
  }
}
