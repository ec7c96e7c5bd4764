import { createHash, randomUUID } from 'node:crypto';
import * as v from 'valibot';
import type { Clock } from '../../core/base/clock.ts';
import { type Duration, hours, milliseconds, minutes, seconds } from '../../core/base/duration.ts';
import type { Logger } from '../../core/base/log.ts';
import { uuidOf } from '../../core/base/stable-id.ts';
import type { Evidence, Message } from '../../core/contract/message.ts';
import { readStateJson } from '../state/read-state.ts';
import type { StateFiles, When } from '../state/state-files.ts';

/** How long a message waits for its number to be on disk. */
const DISK_LIMIT = seconds(5);
/** Minimum time before numbers are written again after that failed. Doubled with each failure in a row. */
const FIRST_RETRY = minutes(1);
const LAST_RETRY = hours(1);
/** The digest before the first message. */
const NOTHING = '0'.repeat(64);

const Digest = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** The last message that got a number. */
const Last = v.object({
  chain: v.pipe(v.string(), v.uuid()),
  /** 0: none yet. */
  sequence: Count,
  /** The id that its events have together, and the digest of its body. */
  content: v.string(),
  digest: Digest,
  acknowledged: v.boolean(),
  /** Its statement about the messages before it. */
  previousDigest: Digest,
  abandonedFrom: v.optional(Count),
});
type Last = v.InferOutput<typeof Last>;

/**
 * Numbers the messages of one marking, so that anyone who stores them can detect missing or altered ones (contract §3).
 *
 * A number is on disk before its message is sent, so that it is never given to another body: neither after kill -9 nor
 * after a power cut. While the disk does not take it, messages belong to a chain that is only in memory and is never
 * continued after a restart. A chain that was given to the disk is left when the disk fails, since it is unknown which of
 * its numbers is available.
 */
export class MessageChain {
  readonly #file: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #files: StateFiles;
  #last: Last;
  /** Present while the chain is only in memory. */
  #detached: { readonly failures: number; readonly retryAt: Duration } | undefined;
  /** Writes that have not returned yet. */
  #writing = 0;

  /** Reads the file that an earlier run has left. Without one that can be read, a new chain begins. */
  constructor(options: {
    file: string;
    clock: Clock;
    log: Logger;
    files: StateFiles;
  }) {
    this.#file = options.file;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#files = options.files;
    this.#last = this.#read() ?? newChain(NOTHING);
  }

  get id(): string {
    return this.#last.chain;
  }

  /**
   * Gives a message its number; the one that it had if it is the last one again, with the same body. On return the number
   * is on disk, or belongs to a chain that is not continued after a restart.
   */
  async numbered(message: Message): Promise<Message> {
    const digest = createHash('sha256').update(message.body).digest('hex');
    const { acknowledged, content } = this.#last;
    const isRepeat = !acknowledged && content === message.id && this.#last.digest === digest;
    if (!isRepeat) await this.#advance(message.id, digest);
    return withEvidence(message, this.#last);
  }

  /** Call this when the hub has accepted the message that `numbered` returned last. */
  accepted(): void {
    this.#last = { ...this.#last, acknowledged: true };
    // Not waited for: after a crash the message counts as abandoned, which is true of what this agent knows.
    if (this.#detached === undefined) this.#write(() => {}, 'later');
  }

  async #advance(content: string, digest: string): Promise<void> {
    this.#last = after(this.#last, content, digest);
    const { failures = 0, retryAt = 0 } = this.#detached ?? {};
    if (this.#detached !== undefined && (this.#writing > 0 || this.#clock.monotonic() < retryAt)) return;
    const error = await this.#written();
    if (error === undefined) {
      this.#detached = undefined;
      return;
    }
    const wait = Math.min(FIRST_RETRY * 2 ** failures, LAST_RETRY);
    this.#detached = { failures: failures + 1, retryAt: milliseconds(this.#clock.monotonic() + wait) };
    this.#last = after(newChain(this.#last.previousDigest), content, digest);
    if (failures > 0) return;
    this.#log.warn({ err: error }, 'Could not save the number of a message; a new chain of messages begins.');
  }

  /** @returns `undefined` when the number is on disk, else why it may not be */
  async #written(): Promise<unknown> {
    const written = new Promise<unknown>((resolve) => this.#write(resolve));
    void this.#files.settled(); // shortens the pause between two batches of changes
    const done = await this.#clock
      .within(DISK_LIMIT, 'the number of a message', written)
      .then((error) => ({ error }))
      .catch((error: unknown) => ({ error }));
    return done.error;
  }

  #write(done: (error: unknown) => void, when?: When): void {
    this.#writing += 1;
    const text = `${JSON.stringify(this.#last)}\n`;
    const written = (error: unknown) => {
      this.#writing -= 1;
      done(error);
    };
    this.#files.replace(this.#file, text, written, when);
  }

  #read(): Last | undefined {
    try {
      return readStateJson(this.#file, (value) => v.parse(Last, value));
    } catch (err) {
      this.#log.warn({ err }, 'Could not read the number of the last message; a new chain of messages begins.');
      return undefined;
    }
  }
}

/** @param digest of the last message that was acknowledged, in an earlier chain */
const newChain = (digest: string): Last => ({
  chain: randomUUID(),
  sequence: 0,
  content: '',
  digest,
  acknowledged: true,
  previousDigest: NOTHING,
});

/** The next message after `last`. */
const after = (last: Last, content: string, digest: string): Last => ({
  chain: last.chain,
  sequence: last.sequence + 1,
  content,
  digest,
  acknowledged: false,
  previousDigest: last.acknowledged ? last.digest : last.previousDigest,
  ...(last.acknowledged ? {} : { abandonedFrom: last.abandonedFrom ?? last.sequence }),
});

/** The id follows from the number, too: a message with another number is another message. */
function withEvidence(message: Message, { chain, sequence, previousDigest, abandonedFrom }: Last): Message {
  const id = uuidOf(createHash('sha256').update(`${chain} ${sequence} ${message.id}`).digest('hex'));
  const abandoned = abandonedFrom === undefined ? {} : { abandoned: numbers(abandonedFrom, sequence - 1) };
  const evidence: Evidence = { chain, sequence, previousDigest, ...abandoned };
  return { ...message, id, evidence };
}

/** `7`, `7,8` or `7-12`. */
function numbers(first: number, last: number): string {
  if (first === last) return String(first);
  return first + 1 === last ? `${first},${last}` : `${first}-${last}`;
}
