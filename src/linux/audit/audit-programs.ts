import type { Clock } from '../../base/clock.ts';
import { stateOf } from '../../host/file-state.ts';
import { hostFiles, type LocalFiles } from '../../host/local-files.ts';
import { isRootOwned } from '../../host/root-owned.ts';
import type { Doer } from './notices.ts';

const AUDITD: readonly string[] = ['/usr/sbin/auditd', '/sbin/auditd'];
/** Reading audit by these is how a system logs. */
const LOGGERS: readonly string[] = [...AUDITD, '/usr/lib/systemd/systemd-journald', '/usr/lib/systemd/systemd'];

/**
 * Knows the programs that may be the audit daemon, or listen to audit, without an alarm.
 *
 * A process proves what it is by the file that it runs: that one must be the file which the first process sees at that
 * path, and only root may have put it there. The path in a record proves nothing, since whoever has mounts of his own can
 * bind another program to it.
 */
export class AuditPrograms {
  readonly #files: LocalFiles;

  constructor({ hostRoot, clock }: { hostRoot: string; clock: Pick<Clock, 'monotonic'> }) {
    this.#files = hostFiles({ hostRoot, clock });
  }

  /** @param by who took audit's slot, as far as it is known */
  isDaemon(by: Doer): boolean {
    return this.#isOneOf(AUDITD, by);
  }

  /** @param by who has joined the listeners */
  isLogger(by: Doer): boolean {
    return this.#isOneOf(LOGGERS, by);
  }

  #isOneOf(paths: readonly string[], { pid, executable }: Doer): boolean {
    const image = this.#stateOf(this.#files.image(pid));
    // Without CAP_SYS_PTRACE no process of root can be looked at; then the path has to do.
    if (image === undefined)
      return this.#files.image(1) === 'absent' && executable !== undefined && paths.includes(executable);
    return paths.some((path) => {
      const file = this.#stateOf(this.#files.at(path));
      return file !== undefined && file.dev === image.dev && file.ino === image.ino && isRootOwned(this.#files, path);
    });
  }

  /** The descriptor holds until the next look. */
  #stateOf(file: ReturnType<LocalFiles['at']>) {
    return typeof file === 'number' ? stateOf(file) : undefined;
  }
}
