import type { Clock } from '../../../core/base/clock.ts';
import { isRootOwned, stateOf } from '../../host/file-state.ts';
import type { LocalFiles } from '../../host/local-files.ts';
import { cachedHostFiles } from '../native/cached-names.ts';
import type { Doer } from './notices.ts';

const AUDITD: readonly string[] = ['/usr/sbin/auditd', '/sbin/auditd'];
/** Programs that read audit to log it. */
const LOGGERS: readonly string[] = [...AUDITD, '/usr/lib/systemd/systemd-journald', '/usr/lib/systemd/systemd'];

/**
 * Recognises the programs that may take the audit slot or listen to audit without a warning.
 *
 * A process is identified by the file that it runs: it must be the one that the first process sees at that path, and only
 * root may have put it there. The path in a record proves nothing, since a user with private mounts can bind another
 * program to it.
 */
export class AuditPrograms {
  readonly #files: LocalFiles;

  constructor({ hostRoot, clock }: { hostRoot: string; clock: Pick<Clock, 'monotonic'> }) {
    this.#files = cachedHostFiles({ hostRoot, clock });
  }

  /** @param by the process that took the audit slot, as far as it is known */
  isDaemon(by: Doer): boolean {
    return this.#isOneOf(AUDITD, by);
  }

  /** @param by the process that joined the multicast group */
  isLogger(by: Doer): boolean {
    return this.#isOneOf(LOGGERS, by);
  }

  #isOneOf(paths: readonly string[], { pid, executable }: Doer): boolean {
    const image = this.#stateOf(this.#files.image(pid));
    // Without CAP_SYS_PTRACE, root's processes cannot be examined; the path is used then.
    if (image === undefined)
      return this.#files.image(1) === 'absent' && executable !== undefined && paths.includes(executable);
    return paths.some((path) => {
      const file = this.#stateOf(this.#files.at(path));
      return file !== undefined && file.dev === image.dev && file.ino === image.ino && isRootOwned(this.#files, path);
    });
  }

  /** The descriptor is valid until the next lookup. */
  #stateOf(file: ReturnType<LocalFiles['at']>) {
    return typeof file === 'number' ? stateOf(file) : undefined;
  }
}
