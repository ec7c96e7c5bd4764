import type { Clock } from '../../core/base/clock.ts';
import { Turn } from '../../core/base/waiting.ts';
import { containerKind } from '../host/cgroups.ts';
import { HostFiles } from '../host/host-files.ts';
import { FIRST_ROOT, hasOwnMounts } from '../host/in-root.ts';

/** The scope of a scan. */
export type ScanView =
  /** The system that the agent runs in. */
  | 'host'
  /** A container's own files, and little of the host. */
  | 'container'
  /** The host's root from within a container, with its /proc. */
  | 'mounted-host'
  /** Files of a system that is not running, for example an image that is being built. */
  | 'tree';

/** The location of a system, and how to read it. */
export interface AccessParts {
  readonly hostRoot: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Overrides the detection of whether the agent runs in a container. */
  readonly inContainer?: boolean;
  /** Called before each read that may block forever, with the path. */
  readonly at?: (where: string) => void;
}

/** Access to a system for reading facts: its files, and the pacing of a scan. */
export class Access {
  readonly clock: Clock;
  readonly files: HostFiles;
  readonly view: ScanView;
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

  /** Whether the system is running, so that its kernel can be queried. */
  get runs(): boolean {
    return this.view !== 'tree';
  }

  /** The folder of network files: of the host's PID 1, or of the reading process. */
  get netFolder(): string {
    return this.view === 'mounted-host' ? '/proc/1/net' : '/proc/net';
  }

  /** Filters a long list by `wanted`, yielding to the event loop. */
  async select<T>(all: readonly T[], wanted: (each: T) => boolean): Promise<T[]> {
    const chosen: T[] = [];
    for (const [index, each] of all.entries()) {
      if (wanted(each)) chosen.push(each);
      if (index % 1_000 === 999) await this.pace();
    }
    return chosen;
  }

  /**
   * Yields to the event loop when this turn has lasted long enough. Long work must call it about once per millisecond.
   *
   * @throws the signal's reason when the scan has been aborted
   */
  async pace(): Promise<void> {
    if (!this.#turn.isOver()) return;
    await this.#turn.next();
    this.signal.throwIfAborted();
  }
}

function viewOf(files: HostFiles, inContainer: boolean | undefined): ScanView {
  if (files.root !== '/') return files.exists('/proc/1') ? 'mounted-host' : 'tree';
  return (inContainer ?? isInContainer(files)) ? 'container' : 'host';
}

/** A scan may read the environment of PID 1: it runs in a child process, which can be killed if that blocks. */
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
