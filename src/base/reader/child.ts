import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Alarm } from '../alarm.ts';
import { messageOf } from '../errors.ts';
import { INSPECTOR_NOWHERE } from '../no-inspector.ts';
import { rememberOwn } from '../own-processes.ts';
import { type AnswerFrame, encodeFrame, FrameReader, type QuestionFrame } from './frames.ts';

/** As the agent's own in `main.ts`; and a limit on the heap, so that hostile input costs the child and not the agent. */
const FLAGS = ['--max-semi-space-size=1', '--single-threaded', '--max-old-space-size=128', INSPECTOR_NOWHERE];
/** What is kept of the child's standard error, in characters. */
const MOST_STDERR = 2_048;

/** Children that run. They must not outlive the agent: one that is blocked would not notice that the pipe is closed. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** `src/reader-main.ts`: beside the chunk that this file is in, when it is bundled. */
const PROGRAM = ['./reader-main.js', '../../reader-main.js']
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((path) => existsSync(path));

interface Events {
  /** The longest frame to accept now, in bytes. */
  readonly mostBytes: () => number;
  readonly frame: (frame: AnswerFrame) => void;
  /** Called once, unless it was killed: it could not be started, or ended, or sent something that is no frame. */
  readonly failed: (why: string) => void;
  /** Called once it has really ended. */
  readonly ended: () => void;
}

/** A child process that answers questions; see `serve`. */
export class ReaderChild {
  /** Wakes whoever watches its time limits. */
  readonly alarm = new Alarm();
  readonly #process: ChildProcess;
  #over = false;
  #stderr = '';

  /** @param program for tests. @throws what keeps it from being started */
  constructor({ mostBytes, frame, failed, ended }: Events, program = PROGRAM) {
    if (program === undefined) throw new Error('reader-main.js is missing beside main.js');
    const child = spawn(process.execPath, [...FLAGS, program], {
      env: {},
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
      windowsHide: true,
    });
    this.#process = child;
    child.stdin?.on('error', () => {}); // it has ended, which `exit` tells
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
      fail(`it ended with ${signal ?? code}`);
      ended();
    });
    const frames = new FrameReader(mostBytes);
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
        fail(`it sent something that is no answer (${messageOf(error)})`);
      }
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(0, MOST_STDERR);
    });
    // It alone is no reason for the agent to go on; a timer runs as long as an answer is waited for.
    child.unref();
    for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as Socket | null)?.unref();
  }

  get isOver(): boolean {
    return this.#over;
  }

  send(frame: QuestionFrame): void {
    if (!this.#over) this.#process.stdin?.write(encodeFrame(frame));
  }

  /** Lets it end by itself. */
  dismiss(): void {
    this.#over = true;
    this.alarm.ring();
    this.#process.stdin?.end();
  }

  /** A child that waits for another's lock dies of it; one that waits for a FUSE server's answer may stay. */
  kill(): void {
    this.#over = true;
    this.alarm.ring();
    this.#process.kill('SIGKILL');
    for (const stream of [this.#process.stdin, this.#process.stdout, this.#process.stderr]) stream?.destroy();
  }

  /** Whether it wants the processor, rather than waits for something. Its `stat` can be read even if it is blocked. */
  isBusy(): boolean {
    try {
      const stat = readFileSync(`/proc/${this.#process.pid}/stat`, 'latin1');
      return stat.slice(stat.lastIndexOf(')') + 2).startsWith('R');
    } catch {
      return false;
    }
  }
}
