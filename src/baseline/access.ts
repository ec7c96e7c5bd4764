import type { Clock } from '../base/clock.ts';
import { FIRST_ROOT, hasOwnMounts } from '../base/first-root.ts';
import { Turn } from '../base/turn.ts';
import { containerKind } from '../host/container.ts';
import { HostFiles } from '../host/host-files.ts';

/** What a scan can see of the system that it judges. */
export type View =
  /** The system that the agent runs in. */
  | 'host'
  /** A container's own files, and little of what is around it. */
  | 'container'
  /** The host's root from within a container, with its /proc. */
  | 'mounted-host'
  /** Files of a system that does not run, for example an image that is being built. */
  | 'tree';

/** Where a system is, and how it is looked at. */
export interface AccessParts {
  readonly hostRoot: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Overrides what is found out about where the agent runs. */
  readonly inContainer?: boolean;
  /** Told of what is looked at next, where that may take for ever. */
  readonly at?: (where: string) => void;
}

/** What facts are read with: the system's files, and the time that a scan may take at once. */
export class Access {
  readonly clock: Clock;
  readonly files: HostFiles;
  readonly view: View;
  readonly signal: AbortSignal;
  readonly at: (where: string) => void;
  readonly #turn: Turn;

  constructor({ hostRoot, clock, inContainer, signal, at = () => {} }: AccessParts) {
    this.at = at;
    this.clock = clock;
    this.signal = signal;
    const own = new HostFiles(hostRoot);
    this.view = viewOf(own, inContainer);
    this.files = this.view === 'host' && hasOwnMounts() ? new HostFiles(FIRST_ROOT) : own;
    this.#turn = new Turn(clock);
    if (!this.runs) this.files.hidden = ['/dev', '/proc', '/run', '/sys'];
  }

  /** A system that runs, whose kernel can be asked. */
  get runs(): boolean {
    return this.view !== 'tree';
  }

  /** Where the network's files are: of the host's first process, or of whoever reads them. */
  get netFolder(): string {
    return this.view === 'mounted-host' ? '/proc/1/net' : '/proc/net';
  }

  /** Those of a long list that `wanted` chooses; others get their turn meanwhile. */
  async select<T>(all: readonly T[], wanted: (each: T) => boolean): Promise<T[]> {
    const chosen: T[] = [];
    for (const [index, each] of all.entries()) {
      if (wanted(each)) chosen.push(each);
      if (index % 1_000 === 999) await this.pace();
    }
    return chosen;
  }

  /**
   * Lets others go on when this turn has lasted long enough. Whatever takes long asks for it every millisecond or so.
   *
   * @throws the signal's reason when the scan was aborted meanwhile
   */
  async pace(): Promise<void> {
    if (!this.#turn.isOver()) return;
    await this.#turn.next();
    this.signal.throwIfAborted();
  }
}

function viewOf(files: HostFiles, inContainer: boolean | undefined): View {
  if (files.root !== '/') return files.exists('/proc/1') ? 'mounted-host' : 'tree';
  return (inContainer ?? isInContainer(files)) ? 'container' : 'host';
}

/** A scan may read the environment of PID 1: it runs in a process of its own, which can be ended. */
const isInContainer = (files: HostFiles): boolean =>
  containerKind({
    exists: (path) => files.exists(path),
    text: (path) => textOr(files, path),
    initEnvironment: () => textOr(files, '/proc/1/environ'),
  }) !== undefined;

function textOr(files: HostFiles, path: string): string {
  const look = files.text(path);
  return 'found' in look ? look.found : '';
}
