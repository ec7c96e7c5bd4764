import type { Stats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../../../core/base/clock.ts';
import { sourceOf } from '../../../core/base/credential-copies.ts';
import { hours } from '../../../core/base/duration.ts';
import { Lane } from '../../../core/base/lane.ts';
import type { Logger } from '../../../core/base/log.ts';
import { keepGoing } from '../../../core/base/loop.ts';
import type { Service } from '../../../core/base/service.ts';
import { shellWord } from '../../../core/base/text.ts';
import { defined } from '../../../core/base/values.ts';

/** Interval of the checks; a request for the status also starts one. */
const LOOK_EVERY = hours(1);
/** Number of files checked: more than the state directory has. Files that others put there are not counted. */
const MAX_FILES = 1_000;

const OTHERS_WRITE = 0o022;
const OTHERS_READ_OR_WRITE = 0o066;

/** Files that an attacker would want to change or read. */
export interface GuardedFiles {
  /** Neither the file nor its folder may be writable to other users. */
  readonly configuration: string;
  /** Neither readable nor writable to other users; their folders not writable. */
  readonly secrets: readonly string[];
  /** A folder whose files may not be writable to other users. */
  readonly state: string;
}

/** By kind, the first file that is accessible to other users, and the command that fixes it. */
export type Exposed = Readonly<Partial<Record<keyof GuardedFiles, string>>>;

/**
 * Watches whether the agent's own files become accessible to other users while it runs. At its start the agent refuses
 * exposed secrets and an exposed state directory; later it logs changes and continues, since otherwise anyone who can
 * change a mode could stop it.
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
    /** Shared with other users of the state directory's disk, so that a hung disk blocks only one thread of libuv's pool. */
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

  /** Checks now, on a thread of libuv's pool: a failing disk answers late or never. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#lane
      .run(() => exposed(this.#files))
      .then((found) => this.#take(found))
      .catch((err: unknown) => this.#log.debug({ err }, 'Could not check the modes of files.'))
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  /** Checks after the check that is under way, which may have passed the changed file. Never rejects. */
  async checkAgain(): Promise<void> {
    await this.#looking;
    await this.look();
  }

  #take(found: Exposed): void {
    if (this.#stop.signal.aborted) return;
    const before = this.#exposed;
    this.#exposed = found;
    if (JSON.stringify(before) === JSON.stringify(this.#exposed)) return;
    for (const [kind, finding] of Object.entries(this.#exposed)) {
      if (before[kind as keyof Exposed] !== finding) {
        this.#log.warn({ kind, reason: finding }, 'A file of the agent is accessible to other users.');
      }
    }
    for (const kind of Object.keys(before)) {
      if (!(kind in this.#exposed))
        this.#log.info({ kind }, 'A file of the agent is no longer accessible to other users.');
    }
    this.#changed();
  }
}

/** The exposed files. A missing file is skipped: that is reported where it is used. */
export async function exposed({ configuration, secrets, state }: GuardedFiles): Promise<Exposed> {
  return defined({
    configuration: await first([configuration, dirname(configuration)], OTHERS_WRITE),
    secrets:
      (await first(secrets, OTHERS_READ_OR_WRITE, isCopied)) ??
      (await first(
        secrets.map((path) => dirname(path)),
        OTHERS_WRITE,
        (folder) => secrets.some((path) => dirname(path) === folder && isCopied(path)),
      )),
    state: await first([state, ...(await filesIn(state))], OTHERS_WRITE),
  });
}

/** Whether systemd has copied a secret for this process, so that the file itself is for root only. */
const isCopied = (secret: string): boolean => sourceOf(secret) !== secret;

/** Checks one path at a time, to use one thread only. */
async function first(
  paths: readonly string[],
  forbidden: number,
  isRoots: (path: string) => boolean = () => false,
): Promise<string | undefined> {
  for (const path of paths) {
    const stats = await look(path);
    const finding = stats === undefined ? undefined : describe(path, stats, forbidden, isRoots(path));
    if (finding !== undefined) return finding;
  }
  return undefined;
}

function describe(path: string, { uid, mode }: Stats, forbidden: number, isRoots: boolean): string | undefined {
  const own = process.geteuid?.() ?? 0;
  if (uid !== 0 && uid !== own)
    return `${path} belongs to user ${uid}. Run: chown ${isRoots ? 'root' : own} ${shellWord(path)}`;
  if ((mode & forbidden) === 0) return undefined;
  const can = (mode & forbidden & 0o022) === 0 ? 'read' : 'write';
  const octal = (mode & 0o777).toString(8).padStart(4, '0');
  const fix = forbidden === OTHERS_WRITE ? 'go-w' : 'go-rwx';
  return `Other users can ${can} ${path} (mode ${octal}). Run: chmod ${fix} ${shellWord(path)}`;
}

/** Follows a link: Kubernetes mounts configuration and secrets as links. */
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
    for (const name of (await readdir(folder, { recursive: true, encoding: 'utf8' })).slice(0, MAX_FILES)) {
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
