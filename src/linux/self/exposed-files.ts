import type { Stats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { hours } from '../../base/duration.ts';
import { Lane } from '../../base/lane.ts';
import type { Logger } from '../../base/log.ts';
import { keepGoing } from '../../base/loop.ts';
import type { Service } from '../../base/service.ts';
import { shellWord } from '../../base/shell-word.ts';

/** How often files are looked at, if nobody asks. */
const LOOK_EVERY = hours(1);
/** More files than the state directory has; what somebody else put there is not for the agent to count. */
const MOST_FILES = 1_000;

const OTHERS_WRITE = 0o022;
const OTHERS_READ_OR_WRITE = 0o066;

/** What an attacker would like to change, or to read. */
export interface GuardedFiles {
  /** Nobody else may write it, or into its folder. */
  readonly configuration: string;
  /** Nobody else may read or write them, nor write into their folders. */
  readonly secrets: readonly string[];
  /** A folder of files that nobody else may write. */
  readonly state: string;
}

/** By kind, the first file found open to others, and what mends it. */
export type Exposed = Readonly<Partial<Record<keyof GuardedFiles, string>>>;

/**
 * Watches whether the agent's own files are open to others while it runs: at its start it refuses secrets and a state
 * directory that are. Says so when it changes, and goes on: an agent that ended for it could be ended by it.
 */
export class ExposedFiles implements Service {
  readonly name = 'exposed files';
  readonly #files: GuardedFiles;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #changed: () => void;
  readonly #lane: Lane;
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  #looking: Promise<void> | undefined;
  #exposed: Exposed = {};

  constructor(options: {
    files: GuardedFiles;
    clock: Clock;
    log: Logger;
    changed: () => void;
    /** Shared with who else waits for the state directory's disk, so that one that hangs blocks one thread of libuv's. */
    lane?: Lane;
  }) {
    this.#lane = options.lane ?? new Lane();
    this.#files = options.files;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#changed = options.changed;
  }

  async start(): Promise<void> {
    const { signal } = this.#stop;
    const turn = async () => {
      void this.look();
      await this.#clock.sleep(LOOK_EVERY, signal);
    };
    this.#loop = keepGoing(turn, { signal, clock: this.#clock, log: this.#log });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  status(): Exposed {
    return this.#exposed;
  }

  /** Looks now, on another thread: a dead disk answers after seconds, or never. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#lane
      .run(() => exposed(this.#files))
      .then((found) => this.#take(found))
      .catch((err: unknown) => this.#log.debug({ err }, 'Could not look at the modes of files.'))
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  #take(found: Exposed): void {
    if (this.#stop.signal.aborted) return;
    const before = this.#exposed;
    this.#exposed = found;
    if (JSON.stringify(before) === JSON.stringify(this.#exposed)) return;
    for (const [kind, finding] of Object.entries(this.#exposed)) {
      if (before[kind as keyof Exposed] !== finding) {
        this.#log.warn({ kind, reason: finding }, "A file of the agent's is open to others.");
      }
    }
    for (const kind of Object.keys(before)) {
      if (!(kind in this.#exposed)) this.#log.info({ kind }, "A file of the agent's is no longer open to others.");
    }
    this.#changed();
  }
}

/** What of these files is open to others. What can't be looked at isn't told: somebody took it away, and that is said elsewhere. */
export async function exposed({ configuration, secrets, state }: GuardedFiles): Promise<Exposed> {
  const findings = {
    configuration: await first([configuration, dirname(configuration)], OTHERS_WRITE),
    secrets:
      (await first(secrets, OTHERS_READ_OR_WRITE)) ??
      (await first(
        secrets.map((path) => dirname(path)),
        OTHERS_WRITE,
      )),
    state: await first([state, ...(await filesIn(state))], OTHERS_WRITE),
  };
  return Object.fromEntries(Object.entries(findings).filter(([, finding]) => finding !== undefined));
}

/** One after the other, so that one thread is used. */
async function first(paths: readonly string[], forbidden: number): Promise<string | undefined> {
  for (const path of paths) {
    const stats = await look(path);
    const finding = stats === undefined ? undefined : describe(path, stats, forbidden);
    if (finding !== undefined) return finding;
  }
  return undefined;
}

function describe(path: string, { uid, mode }: Stats, forbidden: number): string | undefined {
  const own = process.geteuid?.() ?? 0;
  if (uid !== 0 && uid !== own) return `${path} belongs to user ${uid}. Run: chown ${own} ${shellWord(path)}`;
  if ((mode & forbidden) === 0) return undefined;
  const can = (mode & forbidden & 0o022) === 0 ? 'read' : 'write';
  const octal = (mode & 0o777).toString(8).padStart(4, '0');
  const mend = forbidden === OTHERS_WRITE ? 'go-w' : 'go-rwx';
  return `Others can ${can} ${path} (mode ${octal}). Run: chmod ${mend} ${shellWord(path)}`;
}

/** Where a link leads: Kubernetes mounts configuration and secrets as links. */
async function look(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch {
    return undefined;
  }
}

/** Regular files and folders. Symbolic links are skipped. */
async function filesIn(folder: string): Promise<string[]> {
  try {
    const found: string[] = [];
    for (const name of (await readdir(folder, { recursive: true, encoding: 'utf8' })).slice(0, MOST_FILES)) {
      const path = join(folder, name);
      const isLink = await lstat(path).then(
        (stats) => stats.isSymbolicLink(),
        () => undefined,
      );
      if (isLink === false) found.push(path);
    }
    return found;
  } catch {
    return [];
  }
}
