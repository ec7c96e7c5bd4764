import { statSync } from 'node:fs';
import { readBytes } from '../../../core/base/bounded-file.ts';
import type { Clock } from '../../../core/base/clock.ts';
import { LONG_AGO, milliseconds, seconds } from '../../../core/base/duration.ts';
import { AgentError, errnoOf, messageOf } from '../../../core/base/errors.ts';
import type { Lookups } from '../../../core/contract/lookups.ts';
import type { Account, ListingStatus } from '../../../core/contract/sources.ts';
import { type CLibrary, cLibraryOf } from '../../host/c-library.ts';
import { inRoot } from '../../host/in-root.ts';
import { findTool, runTool } from '../../host/run-tool.ts';
import { accountsFrom, type Password, passwdEntries, passwordsIn } from './local-accounts.ts';

/** About 80,000 accounts; a longer file is not read at all, since half a list of accounts would be a wrong one. */
const MAX_BYTES = 4 * 1024 * 1024;
/** Three times what fits into a message. A directory can list 100,000 accounts, which do not belong to this device. */
const MAX_ACCOUNTS = 5_000;

const TRACED = ['etc/passwd', 'etc/group', 'etc/shadow', 'etc/nsswitch.conf'];

interface Options {
  readonly hostRoot: string;
  /** Path of getent(1); absent when it is not installed. */
  readonly getent?: () => string | undefined;
}

/**
 * The accounts of this host from the system's name service (NSS): the passwd file and the other sources in nsswitch.conf(5),
 * such as systemd-homed or a directory that allows enumeration. If the name service cannot be used, only those of the files.
 */
export class Accounts {
  readonly #hostRoot: string;
  readonly #getent: () => string | undefined;
  #status: ListingStatus = { state: 'off' };

  constructor({ hostRoot, getent = () => findTool('getent') }: Options) {
    this.#hostRoot = hostRoot;
    this.#getent = getent;
  }

  /** How the last listing went. */
  status(): ListingStatus {
    return this.#status;
  }

  /** Covers the files only, not other sources of the name service, such as a directory. */
  async trace(): Promise<string | undefined> {
    try {
      return TRACED.map((file) => traceOf(this.#path(file))).join();
    } catch {
      return undefined;
    }
  }

  /**
   * @throws the signal's reason when it aborts, AgentError SOURCE_UNREADABLE when passwd is not readable either. Without a
   *   group file, groups have their ids as names
   */
  async list(signal: AbortSignal): Promise<readonly Account[]> {
    signal.throwIfAborted();
    // In a container, the tool would list the container's accounts.
    const getent = this.#hostRoot === '/' ? this.#getent() : undefined;
    let reason: string | undefined;
    if (getent !== undefined) {
      try {
        const accounts = await this.#byNameService(getent, signal);
        this.#status = { state: 'on', source: 'nss' };
        return accounts;
      } catch (error) {
        signal.throwIfAborted();
        reason = `only the accounts of the passwd file are listed: ${messageOf(error)}`;
      }
    }
    const accounts = this.#byFiles();
    const leftOut = Math.max(0, accounts.length - MAX_ACCOUNTS);
    const cut = leftOut === 0 ? undefined : `only ${MAX_ACCOUNTS} of ${accounts.length} accounts`;
    const reasons = [reason, cut].filter((each) => each !== undefined);
    this.#status =
      reasons.length === 0
        ? { state: 'on', source: 'files' }
        : { state: 'degraded', source: 'files', reason: reasons.join('; '), ...(leftOut === 0 ? {} : { leftOut }) };
    return leftOut === 0 ? accounts : rootsFirst(accounts).slice(0, MAX_ACCOUNTS);
  }

  async #byNameService(getent: string, signal: AbortSignal): Promise<Account[]> {
    const options = { signal, maxBytes: MAX_BYTES };
    const passwd = await runTool(getent, ['passwd'], options);
    const group = await runTool(getent, ['group'], options);
    const accounts = this.#accountsFrom(Buffer.from(passwd), Buffer.from(group));
    if (accounts.length === 0) throw new Error('the name service lists no accounts');
    if (accounts.length > MAX_ACCOUNTS) throw new Error(`the name service lists ${accounts.length} accounts`);
    return accounts;
  }

  #byFiles(): Account[] {
    try {
      return this.#accountsFrom(readBytes(this.#path('etc/passwd'), MAX_BYTES), this.#groupFile());
    } catch (cause) {
      const reason = `Local accounts can't be listed: ${messageOf(cause)}`;
      this.#status = { state: 'unavailable', reason };
      throw new AgentError(
        'SOURCE_UNREADABLE',
        reason,
        "Make the host's /etc/passwd readable to the agent; in a container, mount the host's root and set hostRoot.",
        { cause },
      );
    }
  }

  #accountsFrom(passwd: Buffer, group: Buffer): Account[] {
    const library = cLibraryOf(this.#hostRoot);
    return accountsFrom(passwd, group, this.#passwords(library), library);
  }

  #groupFile(): Buffer {
    try {
      return readBytes(this.#path('etc/group'), MAX_BYTES);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return Buffer.alloc(0);
      throw error;
    }
  }

  /** Empty unless this process is root: then the state of passwords is unknown. */
  #passwords(library: CLibrary): ReadonlyMap<string, Password> {
    try {
      return passwordsIn(readBytes(this.#path('etc/shadow'), MAX_BYTES), library);
    } catch {
      return new Map();
    }
  }

  #path(path: string): string {
    return inRoot(this.#hostRoot, path);
  }
}

/** Accounts with uid 0 come first, so that a limit drops them last. */
const rootsFirst = (accounts: readonly Account[]): readonly Account[] =>
  accounts.toSorted((a, b) => Number(a.userId !== 0) - Number(b.userId !== 0));

/** Differs when the file was written or replaced. Empty if there is none. */
function traceOf(path: string): string {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined) return '';
  const { dev, ino, size, mtimeNs, ctimeNs } = stats;
  return [dev, ino, size, mtimeNs, ctimeNs].join(':');
}

/** How long a cached answer is used. */
const CHECK_EVERY = seconds(1);

/** Names of user ids, from the host's passwd file. The file is checked once per second, and read again when it changed. */
export class UserNames implements Pick<Lookups, 'userName'> {
  readonly #hostRoot: string;
  readonly #clock: Clock;
  #names = new Map<number, string>();
  #seen = '';
  #checkAt = LONG_AGO;

  constructor({ hostRoot, clock }: { hostRoot: string; clock: Clock }) {
    this.#hostRoot = hostRoot;
    this.#clock = clock;
  }

  userName(userId: number): string | undefined {
    this.#refresh();
    return this.#names.get(userId);
  }

  /**
   * While the file is not readable, earlier names are kept. The interval is checked here and not in userName: V8 would inline
   * the check into every caller, and recompile them all when the file is first checked again.
   */
  #refresh(): void {
    const now = this.#clock.monotonic();
    if (now < this.#checkAt) return;
    this.#checkAt = milliseconds(now + CHECK_EVERY);
    try {
      const path = inRoot(this.#hostRoot, 'etc/passwd');
      const seen = traceOf(path);
      if (seen === this.#seen) return;
      const names = new Map<number, string>();
      for (const { userId, name } of passwdEntries(readBytes(path, MAX_BYTES), cLibraryOf(this.#hostRoot))) {
        if (!names.has(userId)) names.set(userId, name);
      }
      this.#names = names;
      this.#seen = seen;
    } catch {
      // Not reported: an event without a user's name is still complete.
    }
  }
}
