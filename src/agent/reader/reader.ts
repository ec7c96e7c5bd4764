import type { Clock } from '../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, minutes, seconds } from '../../core/base/duration.ts';
import { messageOf } from '../../core/base/errors.ts';
import type { Logger } from '../../core/base/log.ts';
import { nextTurn } from '../../core/base/waiting.ts';
import { Avoidance } from './avoidance.ts';
import { ReaderChild } from './child.ts';
import type { AnswerFrame } from './frames.ts';
import { type Answer, type QuestionKind, type Subject, unavailable } from './question.ts';

/** Questions sent but not answered: enough that the child never waits for the agent. */
const MAX_SENT = 32;
/** Questions that wait to be sent. */
const MAX_WAITING = 4_096;
/** How long the child may take to start. Node needs 30 ms, on a slow and busy board a hundred times as long. */
const START_LIMIT = seconds(30);
/** An idle child is ended after this time. */
const IDLE = seconds(10);
/** The time limit is multiplied by this for a child that is using the CPU, or waiting for it. */
const BUSY_LIMITS = 5;
/**
 * Killed children that have not exited, for example since they wait for a FUSE server. With this many, none is started.
 */
const MAX_STUCK = 4;
/** A killed child that has not exited after this time counts as unkillable. Most exit within milliseconds. */
const DIES_WITHIN = seconds(1);
/** Delay after a child couldn't be started, or exited unexpectedly; doubled each time. */
const SHORTEST_BACKOFF = seconds(5);
const LONGEST_BACKOFF = minutes(5);
/** Frame size that is always accepted, for frames that are not answers. */
const MIN_BYTES = 8 * 1024;

interface Job {
  readonly kind: QuestionKind<never, unknown>;
  readonly question: unknown;
  readonly subject: Subject | undefined;
  readonly resolve: (answer: Answer<unknown>) => void;
  tries: number;
  isOver: boolean;
}

interface Parts {
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when `blockedReason` has changed. */
  readonly changed?: () => void;
  /** The child's program, for tests. */
  readonly program?: string;
}

/**
 * Lets a child process do reads that could block forever: a thread that waits for another process's memory lock can't
 * be ended, a process can.
 *
 * The child is started at the first question, and ends ten seconds after the last answer. A child that exceeds the time
 * limit of a question is killed and replaced; the questions after that one are asked again. How often that may happen
 * is limited (`Avoidance`). `ask` never rejects: without an answer, an event lacks a detail, but is not lost.
 *
 * The child reads hostile input: callers must check its answers.
 *
 * How to add a kind of question: see `QuestionKind`.
 */
export class Reader {
  readonly #parts: Parts;
  readonly #avoidance: Avoidance;
  #child: ReaderChild | undefined;
  #isReady = false;
  /** Monotonic time when the child last sent data, or was sent a question after a rest. */
  #progressAt: Duration;
  #at: string | undefined;
  /** Sent to the child and not answered, in order. */
  #sent: Job[] = [];
  #waiting: Job[] = [];
  #stuck = 0;
  /** Whether it has been reported that no child can be started. */
  #isStuck = false;
  #isDoubted = false;
  readonly #closing = new AbortController();
  #holders = 0;
  #backoff: Duration = SHORTEST_BACKOFF;
  #notBefore: number = LONG_AGO;
  #isClosed = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#avoidance = new Avoidance(parts.clock);
    this.#progressAt = parts.clock.monotonic();
  }

  /**
   * Asks questions of one kind.
   *
   * @param signal cancels the questions; the child is killed if it is answering one of them
   * @returns an answer for each question, in their order, when all are answered. Never rejects
   */
  ask<Q, A>(kind: QuestionKind<Q, A>, questions: readonly Q[], signal?: AbortSignal): Promise<Answer<A>[]> {
    const jobs: Job[] = [];
    const answers = questions.map(
      (question) =>
        new Promise<Answer<A>>((resolve) => {
          const subject = kind.subject?.(question);
          const finish = resolve as (answer: Answer<unknown>) => void;
          jobs.push({ kind, question, subject, resolve: finish, tries: 0, isOver: false });
        }),
    );
    for (const job of jobs) {
      if (this.#waiting.length < MAX_WAITING) this.#waiting.push(job);
      else finish(job, unavailable('too many questions wait'));
    }
    const abort = () => this.#giveUp(jobs);
    if (signal?.aborted === true) abort();
    signal?.addEventListener('abort', abort, { once: true });
    this.#pump();
    return Promise.all(answers).finally(() => signal?.removeEventListener('abort', abort));
  }

  /** Keeps a child running, for questions that can't wait until one has started. @returns a function that ends that */
  hold(): () => void {
    this.#holders += 1;
    if (this.#canStart() === undefined) this.#start();
    let held = true;
    return () => {
      if (held) this.#holders -= 1;
      held = false;
      this.#child?.alarm.ring();
    };
  }

  /** Why no question is answered while killed children have not exited; `undefined` otherwise. */
  get blockedReason(): string | undefined {
    return this.#isStuck ? BLOCKED_REASON : undefined;
  }

  /** Kills the child; all questions, also later ones, are answered `unavailable`. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    this.#closing.abort();
    this.#child?.kill();
    this.#child = undefined;
    this.#refuseAll('the reader is closed');
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#sent.length < MAX_SENT) {
      const why = this.#canStart();
      if (why !== undefined) {
        this.#refuseAll(why);
        return;
      }
      const job = this.#waiting.shift();
      if (job === undefined || job.isOver) continue;
      if (job.subject !== undefined && this.#avoidance.avoids(job.subject)) {
        finish(job, { state: 'avoided' });
        continue;
      }
      const child = this.#child ?? this.#start();
      if (child === undefined) {
        this.#waiting.unshift(job);
        continue; // the next round refuses it
      }
      if (this.#sent.length === 0) {
        if (this.#isReady) this.#progressAt = this.#parts.clock.monotonic();
        child.alarm.ring();
      }
      this.#sent.push(job);
      child.send({ kind: job.kind.name, question: job.question });
    }
  }

  /** @returns why no child can be started now; `undefined` if one runs or can be started */
  #canStart(): string | undefined {
    if (this.#isClosed) return 'the reader is closed';
    if (this.#avoidance.restMs() > 0) return 'too many questions hung';
    if (this.#child !== undefined) return undefined;
    if (this.#stuck >= MAX_STUCK) {
      void this.#reportStuck();
      return 'too many readers can’t be killed';
    }
    return this.#parts.clock.monotonic() < this.#notBefore ? 'the reader failed a moment ago' : undefined;
  }

  /** Reports once that no child can be started, if that still holds after DIES_WITHIN. */
  async #reportStuck(): Promise<void> {
    if (this.#isStuck || this.#isDoubted) return;
    this.#isDoubted = true;
    await this.#parts.clock.sleep(DIES_WITHIN, this.#closing.signal);
    this.#isDoubted = false;
    if (this.#isClosed || this.#stuck < MAX_STUCK || this.#child !== undefined) return;
    this.#isStuck = true;
    this.#parts.log.warn("Four reader processes can't be killed; no new one is started until one of them exits.");
    this.#parts.changed?.();
  }

  #reportEnded(): void {
    if (!this.#isStuck || this.#stuck >= MAX_STUCK) return;
    this.#isStuck = false;
    this.#parts.log.info('A reader process that could not be killed has exited; a new one can be started.');
    this.#parts.changed?.();
  }

  #start(): ReaderChild | undefined {
    if (this.#child !== undefined) return this.#child;
    this.#isReady = false;
    this.#progressAt = this.#parts.clock.monotonic();
    try {
      const child: ReaderChild = new ReaderChild(
        {
          maxBytes: () => Math.max(MIN_BYTES, this.#sent[0]?.kind.maxBytes ?? 0),
          frame: (frame) => this.#take(frame),
          failed: (why) => this.#failed(child, why),
          ended: () => {
            this.#stuck -= 1;
            this.#reportEnded();
          },
        },
        this.#parts.program,
      );
      this.#stuck += 1; // until it has exited
      this.#child = child;
      void this.#watch(child);
      return child;
    } catch (error) {
      this.#backOff(messageOf(error));
      return undefined;
    }
  }

  #take(frame: AnswerFrame): void {
    this.#progressAt = this.#parts.clock.monotonic();
    if ('ready' in frame) {
      this.#isReady = true;
      this.#child?.alarm.ring(); // another time limit applies now
      return;
    }
    if ('at' in frame) {
      this.#at = String(frame.at);
      return;
    }
    const job = this.#sent.shift();
    this.#at = undefined;
    this.#backoff = SHORTEST_BACKOFF;
    if (job === undefined) throw new Error('an answer without a question');
    if ('error' in frame) {
      const { error, code } = frame;
      finish(job, { state: 'failed', message: String(error), ...(code === undefined ? {} : { code }) });
    } else finish(job, { state: 'answered', value: frame.value });
    this.#pump();
  }

  /** Enforces the time limits of one child. */
  async #watch(child: ReaderChild): Promise<void> {
    const { clock } = this.#parts;
    let busy = 0;
    let progressAt: Duration | undefined;
    while (!child.isOver) {
      const [job] = this.#sent;
      const limit = job === undefined ? IDLE : this.#isReady ? job.kind.limit : START_LIMIT;
      const waited = clock.monotonic() - this.#progressAt;
      if (progressAt !== this.#progressAt) busy = 0;
      progressAt = this.#progressAt;
      const left = limit * (busy + 1) - waited;
      if (left > 0) {
        await child.alarm.sleep(clock, milliseconds(left));
        continue;
      }
      if (job === undefined) {
        if (this.#holders === 0) return this.#dismiss(child);
        await child.alarm.sleep(clock, IDLE);
        continue;
      }
      // If the agent itself was blocked, the answer may have arrived without having been read.
      await nextTurn();
      await nextTurn();
      if (child.isOver || this.#progressAt !== progressAt) continue;
      busy += 1;
      if (busy < BUSY_LIMITS && child.isBusy()) continue;
      this.#hung(child);
    }
  }

  #dismiss(child: ReaderChild): void {
    child.dismiss();
    this.#child = undefined;
  }

  #hung(child: ReaderChild): void {
    const [job, ...others] = this.#sent;
    const at = this.#at;
    const wasReady = this.#isReady;
    this.#replace(child, others);
    if (!wasReady) this.#backOff('it took too long to start');
    const rests = this.#avoidance.killed();
    if (job !== undefined) {
      job.tries += 1;
      if (!wasReady || job.tries < (job.kind.attempts ?? 1)) this.#waiting.unshift(job);
      else {
        const ownerSkipped = job.subject !== undefined && this.#avoidance.hung(job.subject);
        finish(job, { state: 'hung', ownerSkipped, ...(at === undefined ? {} : { at }) });
      }
    }
    if (rests) {
      const restSeconds = Math.round(this.#avoidance.restMs() / 1_000);
      this.#parts.log.warn(
        { kind: job?.kind.name, restSeconds },
        'Ten reader processes hung within a minute; waiting before a new one is started.',
      );
    }
    this.#pump();
  }

  #failed(child: ReaderChild, why: string): void {
    if (child !== this.#child) return;
    const [job, ...others] = this.#sent;
    this.#replace(child, others);
    if (job !== undefined) finish(job, unavailable(why));
    this.#backOff(why, job?.kind.name);
    this.#pump();
  }

  /** Kills a child. Questions that it has not begun to answer wait for the next one. */
  #replace(child: ReaderChild, unanswered: readonly Job[]): void {
    child.kill();
    this.#child = undefined;
    this.#sent = [];
    this.#at = undefined;
    this.#waiting.unshift(...unanswered);
  }

  #giveUp(jobs: readonly Job[]): void {
    for (const job of jobs) finish(job, unavailable('cancelled'));
    const [current, ...others] = this.#sent;
    if (this.#child !== undefined && current !== undefined && jobs.includes(current)) {
      this.#replace(this.#child, others);
      this.#pump();
    }
  }

  #refuseAll(why: string): void {
    const jobs = [...this.#sent, ...this.#waiting];
    this.#waiting = [];
    if (this.#child === undefined) this.#sent = [];
    for (const job of jobs) if (!this.#sent.includes(job)) finish(job, unavailable(why));
  }

  #backOff(why: string, kind?: string): void {
    if (this.#isClosed) return;
    const waitSeconds = this.#backoff / 1_000;
    this.#notBefore = this.#parts.clock.monotonic() + this.#backoff;
    this.#backoff = milliseconds(Math.min(LONGEST_BACKOFF, this.#backoff * 2));
    const details = { why, waitSeconds, ...(kind === undefined ? {} : { kind }) };
    this.#parts.log.warn(details, 'The reader process failed; retrying later. What it reads is missing until then.');
  }
}

const BLOCKED_REASON =
  'Command lines are not read: four reader processes hang in system calls that SIGKILL does not end, as on a FUSE file ' +
  'system whose server does not answer. End that server, or unmount its file system with "umount -f".';

function finish(job: Job, answer: Answer<unknown>): void {
  if (job.isOver) return;
  job.isOver = true;
  job.resolve(answer);
}
