import { lstatSync, readdirSync, type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { hours } from '../../base/duration.ts';
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
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  #exposed: Exposed = {};

  constructor(options: { files: GuardedFiles; clock: Clock; log: Logger; changed: () => void }) {
    this.#files = options.files;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#changed = options.changed;
  }

  async start(): Promise<void> {
    const { signal } = this.#stop;
    const turn = async () => {
      this.look();
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

  /** Looks now. A few system calls. */
  look(): void {
    const before = this.#exposed;
    this.#exposed = exposed(this.#files);
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
export function exposed({ configuration, secrets, state }: GuardedFiles): Exposed {
  const findings = {
    configuration: first([configuration, dirname(configuration)], OTHERS_WRITE),
    secrets:
      first(secrets, OTHERS_READ_OR_WRITE) ??
      first(
        secrets.map((path) => dirname(path)),
        OTHERS_WRITE,
      ),
    state: first([state, ...filesIn(state)], OTHERS_WRITE),
  };
  return Object.fromEntries(Object.entries(findings).filter(([, finding]) => finding !== undefined));
}

function first(paths: readonly string[], forbidden: number): string | undefined {
  for (const path of paths) {
    const stats = look(path);
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
function look(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/** Regular files and folders. Symbolic links are skipped. */
function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .slice(0, MOST_FILES)
      .map((name) => join(folder, name))
      .filter((path) => lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === false);
  } catch {
    return [];
  }
}
