import { endianness } from 'node:os';
import { type Clock, isPlausible } from '../../../core/base/clock.ts';
import { milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import { AgentError } from '../../../core/base/errors.ts';
import type { Logger } from '../../../core/base/log.ts';
import { keepGoing } from '../../../core/base/loop.ts';
import { isCount } from '../../../core/base/values.ts';
import { untilBeat } from '../../../core/base/waiting.ts';
import type { SourceStatus } from '../../../core/contract/sources.ts';
import type { LoginSeen, StreamSink } from '../../../core/contract/streams.ts';
import { cLibraryOf } from '../../host/c-library.ts';
import { hostProc } from '../../host/in-root.ts';
import { ProcFolder } from '../../host/proc-folder.ts';
import type { FilePosition, LoginEntry, LoginFeed } from './login-feed.ts';
import { LoginRegistry } from './login-registry.ts';
import { utmpLayout } from './utmp.ts';
import { UtmpFeed } from './utmp-feed.ts';
import { WtmpdbFeed } from './wtmpdb-feed.ts';

/** Interval of checks for new entries; also the delay between two parts while catching up. */
const PAUSE = seconds(1);
const CATCH_UP_PAUSE = milliseconds(10);
/** Entries processed at a time: some milliseconds. */
const MAX_AT_ONCE = 500;

/** An entry dated this far in the future was written before the clock was set back. */
const CLOCK_STEP = minutes(1);
/** Tolerance for a process's start time, which has a resolution of 10 ms. */
const CLOCK_ERROR = milliseconds(100);

/** How much later than another source the files may date the same login. */
const MAX_LATENESS = seconds(1);

/** The login files by their names in the status; the one with the most details first. */
const PATHS = { wtmp: 'var/log/wtmp', wtmpdb: 'var/lib/wtmpdb/wtmp.db', btmp: 'var/log/btmp' } as const;
type FileName = keyof typeof PATHS;
const NAMES = Object.keys(PATHS) as FileName[];

/** How far logins have been reported. */
export interface LoginCheckpoint {
  /** Time of the latest reported login, in milliseconds since the epoch. */
  readonly timeMs: number;
  /** Positions in the files. Absent when logins were reported from another source since: then the time decides. */
  readonly places?: Readonly<Partial<Record<FileName, FilePosition>>>;
}

/** Reads a checkpoint back from JSON. @returns `undefined` when it is not valid */
export function parseLoginCheckpoint(value: unknown): LoginCheckpoint | undefined {
  const { timeMs, places } = (value ?? {}) as { timeMs?: unknown; places?: unknown };
  if (!isCount(timeMs)) return undefined;
  if (typeof places !== 'object' || places === null) return { timeMs };
  const known = NAMES.flatMap((name) => {
    const { inode, at } = ((places as Record<string, unknown>)[name] ?? {}) as { inode?: unknown; at?: unknown };
    return isCount(inode) && isCount(at) ? [[name, { inode, at }] as const] : [];
  });
  return { timeMs, places: Object.fromEntries(known) };
}

interface Parts {
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostRoot: string;
  /** Absent at the first start ever: then no earlier login is reported. */
  readonly checkpoint?: LoginCheckpoint | undefined;
  /** Called with each new checkpoint, after the logins before it were passed to the sink. */
  readonly moved?: (checkpoint: LoginCheckpoint) => void;
}

/**
 * Logins from wtmp and btmp, see utmp(5), and from the database of wtmpdb(8): the source when audit is not available. The
 * files record sessions with a terminal, refusals if a program writes btmp, and usually not the program.
 *
 * With a checkpoint, entries written since then are reported once, also those in rotated files. When audit becomes the
 * source again, close this one, and keep `{ timeMs }` of the last login from audit as the checkpoint for the next time.
 */
export class LoginFiles {
  readonly #parts: Parts;
  readonly #proc: ProcFolder;
  #feeds: Readonly<Record<FileName, LoginFeed>> | undefined;
  /** Time of the latest reported login. */
  #timeMs = 0;
  /** The last checkpoint passed to `moved`. */
  #lastCheckpoint = '';
  #stopping: AbortController | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#proc = new ProcFolder(hostProc(parts.hostRoot));
  }

  /** @throws AgentError SOURCE_UNREADABLE when none of the files can be read */
  open(): void {
    if (this.#stopping !== undefined) return;
    const { clock, log } = this.#parts;
    const feeds = this.#openFeeds();
    const registry = new LoginRegistry((pid, timeMs) => this.#programOf(pid, timeMs));
    this.#feeds = feeds;
    this.#saveCheckpoint(feeds);
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    const turn = async () => {
      const isBehind = this.#take(feeds, registry);
      await clock.sleep(isBehind ? CATCH_UP_PAUSE : untilBeat(clock, PAUSE), signal);
    };
    this.#reading = keepGoing(turn, { signal, clock, log });
  }

  /** Entries written since the last check are left to the next reader. Safe to call twice; never rejects. */
  async close(): Promise<void> {
    this.#stopping?.abort();
    this.#stopping = undefined;
    await this.#reading;
    for (const feed of this.#all()) feed.close();
    this.#feeds = undefined;
  }

  /** Which files are read, and what they cannot show. */
  status(): SourceStatus {
    const feeds = this.#feeds;
    if (feeds === undefined) return { state: 'off' };
    const read = NAMES.filter((name) => feeds[name].problem === undefined);
    const { problem } = feeds.btmp;
    const refusals =
      problem === undefined
        ? 'refused logins are seen where programs write them to btmp'
        : `refused logins are not seen (/${PATHS.btmp}: ${problem})`;
    return {
      state: 'degraded',
      source: read[0] ?? 'wtmp',
      reason: `Read from ${read.map((name) => `/${PATHS[name]}`).join(', ')}: sessions without a terminal are not recorded there, and ${refusals}.`,
    };
  }

  #openFeeds(): Readonly<Record<FileName, LoginFeed>> {
    const { hostRoot, clock, checkpoint } = this.#parts;
    const layout = utmpLayout(process.arch, endianness(), cLibraryOf(hostRoot));
    const feeds = {
      wtmp: new UtmpFeed({ hostRoot, path: PATHS.wtmp }, 'wtmp', layout),
      wtmpdb: new WtmpdbFeed({ hostRoot, path: PATHS.wtmpdb }),
      btmp: new UtmpFeed({ hostRoot, path: PATHS.btmp }, 'btmp', layout),
    };
    this.#timeMs = reportedUntil(checkpoint, clock.now());
    const isFromElsewhere = checkpoint !== undefined && checkpoint.places === undefined;
    const reportedUntilMs = this.#timeMs + (isFromElsewhere ? MAX_LATENESS : 0);
    for (const name of NAMES) {
      feeds[name].open({ position: checkpoint?.places?.[name], unread: checkpoint !== undefined, reportedUntilMs });
    }
    if (NAMES.some((name) => feeds[name].problem === undefined)) return feeds;
    for (const name of NAMES) feeds[name].close();
    throw new AgentError(
      'SOURCE_UNREADABLE',
      `Logins can't be read: ${NAMES.map((name) => `/${PATHS[name]}: ${feeds[name].problem}`).join('; ')}.`,
      'Run the agent as root or in the group utmp, and in a container with the host mounted at hostRoot; ' +
        'where these files do not exist, grant it CAP_AUDIT_CONTROL and CAP_AUDIT_READ, which audit needs.',
    );
  }

  /** @returns whether there are more entries to process at once */
  #take(feeds: Readonly<Record<FileName, LoginFeed>>, registry: LoginRegistry): boolean {
    const logins: LoginSeen[] = [];
    const filled = new Set<LoginFeed>();
    let left = MAX_AT_ONCE;
    for (let next = this.#next(filled); next !== undefined && left > 0; next = this.#next(filled)) {
      const login = registry.take(next.entry);
      if (login !== undefined) logins.push(login);
      next.feed.shift();
      left -= 1;
    }
    if (logins.length > 0) this.#parts.sink.accept('logins', logins);
    const now = this.#parts.clock.now().getTime();
    // An entry from the future must not stop later ones from being reported.
    for (const { time } of logins) if (time.getTime() <= now) this.#timeMs = Math.max(this.#timeMs, time.getTime());
    this.#saveCheckpoint(feeds);
    return left === 0;
  }

  /**
   * The entry that happened first, so that two files' entries of one session follow one another.
   *
   * @param filled feeds that were already filled in this turn
   */
  #next(filled: Set<LoginFeed>): { feed: LoginFeed; entry: LoginEntry } | undefined {
    let first: { feed: LoginFeed; entry: LoginEntry } | undefined;
    for (const feed of this.#all()) {
      if (feed.peek() === undefined && !filled.has(feed)) {
        filled.add(feed);
        feed.fill();
      }
      const entry = feed.peek();
      if (entry !== undefined && (first === undefined || entry.timeMs < first.entry.timeMs)) first = { feed, entry };
    }
    return first;
  }

  #all(): readonly LoginFeed[] {
    const feeds = this.#feeds;
    return feeds === undefined ? [] : NAMES.map((name) => feeds[name]);
  }

  #saveCheckpoint(feeds: Readonly<Record<FileName, LoginFeed>>): void {
    const places = Object.fromEntries(
      NAMES.flatMap((name) => (feeds[name].position === undefined ? [] : [[name, feeds[name].position]])),
    );
    const checkpoint: LoginCheckpoint = { timeMs: this.#timeMs, places };
    const text = JSON.stringify(checkpoint);
    if (text === this.#lastCheckpoint) return;
    this.#lastCheckpoint = text;
    this.#parts.moved?.(checkpoint);
  }

  /** The program of this process, if it still runs: a process that began after the entry is another one. */
  #programOf(pid: number, timeMs: number): string | undefined {
    try {
      const startTicks = this.#proc.stat(pid)?.startTicks;
      if (startTicks === undefined) return undefined;
      const startedAt = this.#parts.clock.now().getTime() - this.#proc.uptime() + startTicks * ProcFolder.TICK_MS;
      const isPast = timeMs <= this.#parts.clock.now().getTime() + CLOCK_STEP; // otherwise the clock was set back since then
      return isPast && startedAt <= timeMs + CLOCK_ERROR ? this.#proc.executable(pid) : undefined;
    } catch {
      return undefined; // /proc is missing
    }
  }
}

/**
 * Up to which time logins have been reported. A login from the future was dated by a wrong clock and must not stop later
 * ones from being reported, unless it is the present clock that is wrong.
 */
function reportedUntil(checkpoint: LoginCheckpoint | undefined, now: Date): number {
  if (checkpoint === undefined) return now.getTime();
  return isPlausible(now) ? Math.min(checkpoint.timeMs, now.getTime()) : checkpoint.timeMs;
}
