import { type Duration, minutes, seconds } from '../../../core/base/duration.ts';
import type { LoginReporter, LoginSeen } from '../../../core/contract/streams.ts';
import type { AuditEvent, UserRecord } from '../audit/event.ts';
import { savedLength } from './held-logins.ts';
import type { LoginPorts } from './login-connections.ts';
import { isLogin, programName } from './login-reporters.ts';
import { parseRemoteAddress, type Remote } from './remote.ts';

/** How long a login or a refusal waits for another record of the same attempt: programs write them within milliseconds. */
const PATIENCE = seconds(2);
/** How long a refused key waits for a login by other means on the same connection (LoginGraceTime of sshd_config(5)). */
const GRACE = minutes(2);
/** How long a refusal by PAM covers the program's own record of it; includes the delay of pam_faildelay(8). */
const EXPLAINED = seconds(30);

/** Sessions kept for their logout. A logout without its session is still reported, with the data of its last record. */
const MAX_SESSIONS = 1024;
/**
 * Waiting records and refusals kept. sshd handles 100 unauthenticated connections at a time (MaxStartups of sshd_config(5)).
 */
const MAX_ATTEMPTS = 256;
/** Length of the waiting records of one kind as they are saved. 256 records of sshd have less. */
const MAX_WAITING_LENGTH = 128 * 1024;
/** PATH_MAX of linux/limits.h. */
const LONGEST_PATH = 4_096;
/** Longer names of users, hosts and devices exist only in records that were made up: Linux and DNS allow at most 255. */
const LONGEST_NAME = 512;

/** (uid_t)-1, the kernel's "not set": the id of a service that was not started by a logged-in user. */
const UNSET = String(2 ** 32 - 1);

/** Placeholders of sshd, login and libaudit for a name without an account. PAM's record may have the name that was tried. */
const NO_ACCOUNT: ReadonlySet<string> = new Set(['(invalid user)', '(unknown user)', '(unknown)', '?', '']);

const NONE: readonly LoginSeen[] = [];

/** A user record about a login, as one program wrote it. */
interface LoginRecord {
  readonly time: Date;
  readonly serial: number;
  readonly pid: number;
  /** The audit session; absent when none was begun. */
  readonly session?: string;
  readonly executable: string;
  readonly operation: string;
  readonly isPam: boolean;
  readonly success: boolean;
  /** The name that was entered, or a placeholder. */
  readonly account?: string;
  readonly userId?: number;
  readonly from: Remote;
  readonly terminal?: string;
  readonly reporter: LoginReporter;
}

interface Session {
  readonly name?: string;
  readonly account?: string;
  /** Whether PAM manages the session. If so, only PAM's record ends it; other end records are about single channels. */
  isPam: boolean;
  login: LoginSeen;
  isOver: boolean;
}

/** A login or refusal that is reported when no better record can follow. */
interface Waiting {
  readonly record: LoginRecord;
  login: LoginSeen;
  readonly patience: Duration;
  /** Whether the next refusal of the same process makes it final. */
  readonly isJudgement: boolean;
  since?: Duration;
}

type PortsOf = (pid: number, address: string, time: Date) => LoginPorts | undefined;
type ReporterOf = (pid: number) => LoginReporter;

/** An attempt that PAM refused and that was already reported. */
interface Refusal {
  readonly record: LoginRecord;
  /** The process that called PAM's helper, once it has written a record. */
  caller?: number;
  since?: Duration;
}

/**
 * Turns audit's user records into logins: one for each session, each refused attempt and each end of a session.
 *
 * Records written by OpenSSH 10 and login(1) on Debian 13; RHEL's sshd writes additional ones, which are handled too:
 *
 *     with terminal      USER_AUTH  USER_START  USER_LOGIN  …  USER_END
 *     ssh host command   USER_AUTH  USER_START              …  USER_END
 *     by key                        USER_START (USER_LOGIN) …  USER_END
 *     wrong password     USER_AUTH, and two seconds later USER_LOGIN, both refused; again for every attempt
 *     the same through PAM (keyboard-interactive): USER_AUTH comes from another process
 *     unknown account    USER_LOGIN  USER_LOGIN  USER_AUTH  USER_LOGIN: only USER_AUTH has the name that was tried
 *     key not accepted   USER_LOGIN for every key; USER_ERR when the connection ends without a login
 *     expired account    (USER_AUTH) USER_ACCT, refused, and USER_LOGIN; when only the password has expired, a session
 *
 * So a refused USER_AUTH of PAM is one attempt, and the USER_LOGIN of the same connection belongs to it. A refused
 * USER_LOGIN without PAM is one attempt for the whole connection, and is dropped when the connection logs in later: a
 * client may offer several keys. Sessions of sudo, su, cron and similar programs are not logins.
 *
 * Pure: reported times are taken from the records; waiting times are measured with the `now` passed to `expire`.
 */
export class AuditLogins {
  /** Records of a login program that lack the process or the program. */
  readonly counts = { unusable: 0 };
  /** Keyed by process: PAM opens and closes a session in the same process. */
  readonly #sessions = new Map<number, Session>();
  /** Sessions that have begun and may still get a terminal; by process. */
  readonly #begun = new Map<number, Waiting>();
  /** Refusals that PAM has not yet written a record of; by process. */
  readonly #unexplained = new Map<number, Waiting>();
  /** Keyed by the process on whose behalf PAM refused. */
  readonly #refusals = new Map<number, Refusal>();
  readonly #portsOf: PortsOf;
  readonly #reporterOf: ReporterOf;
  #ready: LoginSeen[] = [];

  readonly #take: Readonly<Record<UserRecord, (record: LoginRecord) => void>> = {
    USER_AUTH: (record) => this.#authenticated(record),
    USER_ACCT: (record) => this.#judged(record),
    USER_START: (record) => (record.success ? this.#begin(record) : this.#notStarted(record)),
    USER_LOGIN: (record) => (record.success ? this.#begin(record) : this.#refusedByProgram(record)),
    USER_END: (record) => this.#ended(record),
    USER_LOGOUT: (record) => this.#ended(record),
    USER_ERR: ({ pid }) => this.#gaveUp(pid),
  };

  /**
   * @param options what the records lack: `portsOf`, the ports of a process's connection with this address; `reporterOf`,
   *   which program a process is that wrote a record
   */
  constructor({
    portsOf = () => undefined,
    reporterOf = (pid) => ({ pid }),
  }: { portsOf?: PortsOf; reporterOf?: ReporterOf } = {}) {
    this.#portsOf = portsOf;
    this.#reporterOf = reporterOf;
  }

  /** @returns the logins that are now final, some of them from earlier records */
  accept(events: readonly AuditEvent[]): readonly LoginSeen[] {
    for (const event of events) {
      if (event.record === undefined) continue;
      const record = this.#read(event);
      if (record !== undefined) this.#take[event.record](record);
    }
    return this.#takeReady();
  }

  /**
   * Call it after every drain, also of an empty one.
   *
   * @param now by the monotonic clock
   */
  expire(now: Duration): readonly LoginSeen[] {
    for (const waiting of [this.#begun, this.#unexplained]) {
      for (const [pid, entry] of waiting) {
        entry.since ??= now;
        if (now - entry.since >= entry.patience) this.#release(waiting, pid);
      }
    }
    for (const [pid, refusal] of this.#refusals) {
      refusal.since ??= now;
      if (now - refusal.since >= EXPLAINED) this.#refusals.delete(pid);
    }
    return this.#takeReady();
  }

  /** The waiting logins as they would be reported now. Returns the same objects until one of them changes. */
  held(): readonly LoginSeen[] {
    if (this.#begun.size === 0 && this.#unexplained.size === 0) return NONE;
    return [...this.#begun.values(), ...this.#unexplained.values()].map(({ login }) => login);
  }

  /** Returns everything that waits: no more records will come. */
  flush(): readonly LoginSeen[] {
    for (const waiting of [this.#begun, this.#unexplained]) {
      for (const pid of waiting.keys()) this.#release(waiting, pid);
    }
    return this.#takeReady();
  }

  #read(event: AuditEvent): LoginRecord | undefined {
    const { exe } = event.fields;
    if (exe !== undefined && !isLogin(exe, event.fields.acct)) return undefined;
    const record = parseLoginRecord(event, this.#reporterOf);
    if (record === undefined) this.counts.unusable += 1;
    return record;
  }

  #authenticated(record: LoginRecord): void {
    if (record.success) return; // the session that follows is reported
    if (record.isPam) this.#refusedByPam(record);
    else this.#refusedByProgram(record); // RHEL's sshd writes a second record, with `op=password`
  }

  /** PAM can refuse an account after successful authentication. The refusal counts unless a session starts anyway. */
  #judged(record: LoginRecord): void {
    if (record.success) return;
    this.#unexplained.delete(record.pid);
    this.#wait(this.#unexplained, { record, login: this.#loginOf(record), patience: GRACE, isJudgement: true });
  }

  #refusedByPam(record: LoginRecord): void {
    const earlier = this.#unexplained.has(record.pid) ? record.pid : this.#callerAmongUnexplained(record);
    const hint = earlier === undefined ? undefined : this.#unexplained.get(earlier)?.login.userName;
    const login = this.#loginOf(record);
    this.#ready.push(isNamed(record) || hint === undefined ? login : { ...login, userName: hint });
    if (earlier !== undefined) this.#unexplained.delete(earlier);
    const caller = earlier ?? this.#refusals.get(record.pid)?.caller;
    put(this.#refusals, record.pid, { record, ...(caller === undefined ? {} : { caller }) });
    if (this.#refusals.size > MAX_ATTEMPTS) this.#refusals.delete(oldest(this.#refusals));
  }

  /** The process for which PAM runs in a child: the most recent earlier refusal of the same attempt. */
  #callerAmongUnexplained(record: LoginRecord): number | undefined {
    let best: number | undefined;
    for (const [pid, waiting] of this.#unexplained) {
      if (pid < record.pid && pid > (best ?? 0) && isSameAttempt(waiting.record, record)) best = pid;
    }
    return best;
  }

  #refusedByProgram(record: LoginRecord): void {
    const known = this.#unexplained.get(record.pid);
    if (known?.isJudgement === true) {
      this.#release(this.#unexplained, record.pid);
    } else if (this.#isExplained(record)) {
      return;
    } else if (known === undefined) {
      this.#wait(this.#unexplained, {
        record,
        login: this.#loginOf(record),
        patience: graceOf(record),
        isJudgement: false,
      });
    } else if (!isNamed(known.record) && isNamed(record)) {
      known.login = { ...known.login, ...nameOf(record) };
      this.#limit(this.#unexplained);
    }
  }

  /** Whether PAM has already refused this attempt, in the same process or in its child. */
  #isExplained(record: LoginRecord): boolean {
    const own = this.#refusals.get(record.pid);
    if (own !== undefined) {
      delete own.since;
      return true;
    }
    let child: Refusal | undefined;
    for (const refusal of this.#refusals.values()) {
      if (refusal.caller === record.pid) {
        delete refusal.since;
        return true;
      }
      if (refusal.caller === undefined && refusal.record.pid > record.pid && isSameAttempt(record, refusal.record)) {
        child ??= refusal;
      }
    }
    if (child !== undefined) child.caller = record.pid;
    return child !== undefined;
  }

  /** The connection ends without a login. */
  #gaveUp(pid: number): void {
    this.#release(this.#unexplained, pid);
  }

  #notStarted(record: LoginRecord): void {
    this.#unexplained.delete(record.pid);
    this.#ready.push(this.#loginOf(record));
  }

  /**
   * Both USER_START and USER_LOGIN begin a session. The first of them waits for the other; later ones of a session that was
   * reported are further channels, which are not logins.
   */
  #begin(record: LoginRecord): void {
    const { pid } = record;
    this.#unexplained.delete(pid);
    this.#refusals.delete(pid);
    const known = this.#sessions.get(pid);
    // Without audit sessions, the next session of the same process cannot be distinguished from the last one.
    const isNext = known?.isOver === true && record.session === undefined;
    if (known === undefined || isNext || !isSameSession(known, record)) {
      this.#release(this.#begun, pid);
      const login = this.#loginOf(record);
      this.#remember(pid, { ...sessionOf(record), isPam: record.isPam, login, isOver: false });
      this.#wait(this.#begun, { record, login, patience: PATIENCE, isJudgement: false });
      return;
    }
    known.isPam ||= record.isPam;
    const waiting = this.#begun.get(pid);
    if (waiting === undefined || waiting.record.isPam === record.isPam) return;
    const [start, login] = record.isPam ? [loginOf(record), waiting.login] : [waiting.login, loginOf(record)];
    // Only the first record has these: the time, and the ports.
    const { time, serial = record.serial, remote = login.remote, localPort } = waiting.login;
    known.login = {
      ...start,
      ...login,
      time,
      serial,
      ...(remote === undefined ? {} : { remote }),
      ...(localPort === undefined ? {} : { localPort }),
    };
    waiting.login = known.login;
    this.#release(this.#begun, pid);
  }

  #ended(record: LoginRecord): void {
    const { pid } = record;
    const known = this.#sessions.get(pid);
    if (known !== undefined && isSameSession(known, record)) {
      if (known.isOver || (known.isPam && !record.isPam)) return;
      this.#release(this.#begun, pid);
      known.isOver = true;
      this.#ready.push({
        ...known.login,
        time: record.time,
        serial: record.serial,
        operation: 'Logout',
        success: true,
      });
      return;
    }
    this.#release(this.#begun, pid);
    const logout = { ...loginOf(record), operation: 'Logout', success: true };
    this.#remember(pid, { ...sessionOf(record), isPam: record.isPam, login: logout, isOver: true });
    this.#ready.push(logout);
  }

  #loginOf(record: LoginRecord): LoginSeen {
    const login = loginOf(record);
    const address = login.remote?.address;
    const ports = address === undefined ? undefined : this.#portsOf(record.pid, address, record.time);
    return ports === undefined
      ? login
      : { ...login, remote: { ...login.remote, port: ports.remote }, localPort: ports.local };
  }

  #remember(pid: number, session: Session): void {
    put(this.#sessions, pid, session);
    if (this.#sessions.size > MAX_SESSIONS) this.#sessions.delete(oldest(this.#sessions));
  }

  #wait(among: Map<number, Waiting>, waiting: Waiting): void {
    put(among, waiting.record.pid, waiting);
    this.#limit(among);
  }

  /** The longest go first, so that a program that writes long records does not displace the records of others. */
  #limit(among: Map<number, Waiting>): void {
    if (among.size > MAX_ATTEMPTS) this.#release(among, oldest(among));
    while (lengthOf(among) > MAX_WAITING_LENGTH) this.#release(among, longest(among));
  }

  #release(among: Map<number, Waiting>, pid: number): void {
    const waiting = among.get(pid);
    if (waiting === undefined) return;
    among.delete(pid);
    this.#ready.push(waiting.login);
  }

  #takeReady(): readonly LoginSeen[] {
    const ready = this.#ready;
    if (ready.length > 0) this.#ready = [];
    return ready;
  }
}

/** Appends, even if the key exists: the first entry of a Map is then the oldest. */
function put<T>(map: Map<number, T>, pid: number, value: T): void {
  map.delete(pid);
  map.set(pid, value);
}

function oldest(map: ReadonlyMap<number, unknown>): number {
  for (const pid of map.keys()) return pid;
  return -1;
}

function lengthOf(among: ReadonlyMap<number, Waiting>): number {
  let length = 0;
  for (const { login } of among.values()) length += savedLength(login);
  return length;
}

function longest(among: ReadonlyMap<number, Waiting>): number {
  let [longestPid, most] = [-1, 0];
  for (const [pid, { login }] of among) {
    const length = savedLength(login);
    if (length > most) [longestPid, most] = [pid, length];
  }
  return longestPid;
}

/** sshd allows further attempts on the same connection. */
const graceOf = ({ executable }: LoginRecord): Duration =>
  programName(executable).startsWith('sshd') ? GRACE : PATIENCE;

const isNamed = ({ account }: LoginRecord): boolean => account !== undefined && !NO_ACCOUNT.has(account);

/**
 * Whether a refusal by a program and one by PAM can be the same attempt; the program may lack the name that was tried. A
 * record by another program, or from another container, never covers a refusal, whatever it claims.
 */
const isSameAttempt = (byProgram: LoginRecord, byPam: LoginRecord): boolean =>
  mayCover(byPam.reporter, byProgram.reporter) &&
  byProgram.executable === byPam.executable &&
  byProgram.from.remote?.address === byPam.from.remote?.address &&
  (!isNamed(byProgram) || byProgram.account === byPam.account);

/**
 * A child process of PAM that has ended can still be the program's on a host without containers. With containers it can
 * have been in any of them; where the program has exited, too, as when a log is read, they cannot be distinguished.
 */
const mayCover = (byPam: LoginReporter, byProgram: LoginReporter): boolean =>
  byPam.containerId === byProgram.containerId &&
  (byPam.isUnlocated !== true || byProgram.isUnlocated === true) &&
  (byPam.executable === undefined || byProgram.executable === undefined || byPam.executable === byProgram.executable);

const sessionOf = ({ session, account }: LoginRecord): Pick<Session, 'name' | 'account'> => ({
  ...(session === undefined ? {} : { name: session }),
  ...(account === undefined ? {} : { account }),
});

/** Compares records of one process. Without audit sessions, the account distinguishes sessions; USER_LOGIN has no account. */
const isSameSession = (session: Session, record: LoginRecord): boolean =>
  session.name === record.session &&
  (record.session !== undefined ||
    session.account === undefined ||
    (record.account ?? session.account) === session.account);

/**
 * Reads a user record.
 *
 *     pid=4242 uid=0 auid=1000 ses=3 msg='op=PAM:session_open grantors=pam_loginuid,pam_unix acct="alice"
 *       exe="/usr/lib/openssh/sshd-session" hostname=192.0.2.7 addr=192.0.2.7 terminal=ssh res=success'
 *     pid=4242 uid=0 auid=1000 ses=3 msg='op=login id=1000 exe="/usr/lib/openssh/sshd-session" hostname=192.0.2.7
 *       addr=192.0.2.7 terminal=/dev/pts/0 res=success'
 *
 * Source: audit_receive_msg() in the kernel's kernel/audit.c writes up to `msg=`, audit_log_acct_message(3) the rest. A
 * program can write 8 KiB of anything there, so strings are cut.
 */
function parseLoginRecord(
  { time, serial, success, fields }: AuditEvent,
  reporterOf: ReporterOf,
): LoginRecord | undefined {
  const pid = parseId(fields.pid);
  const { exe, op, acct } = fields;
  const userId = parseId(fields.id) ?? loginUserId(fields.auid, fields.grantors);
  if (pid === undefined || pid === 0 || exe === undefined || exe === '') return undefined;
  if (acct === undefined && userId === undefined) return undefined;
  const session = fields.ses === UNSET || !/^\d{1,10}$/.test(fields.ses ?? '') ? undefined : fields.ses;
  const terminal = terminalOf(cut(fields.terminal, LONGEST_NAME));
  return {
    time,
    serial,
    pid,
    executable: cut(exe, LONGEST_PATH),
    operation: op !== undefined && op !== 'login' && /^[\w:.-]{1,64}$/.test(op) ? op : 'Login',
    isPam: op?.startsWith('PAM:') === true,
    success,
    from: remoteOf(cut(fields.addr, LONGEST_NAME), cut(fields.hostname, LONGEST_NAME)),
    reporter: reporterOf(pid),
    ...(session === undefined ? {} : { session }),
    ...(acct === undefined ? {} : { account: cut(acct, LONGEST_NAME) }),
    ...(userId === undefined ? {} : { userId }),
    ...(terminal === undefined ? {} : { terminal }),
  };
}

function cut<T extends string | undefined>(text: T, length: number): T | string {
  if (text === undefined || text.length <= length) return text;
  return text.slice(0, length).replace(/[\ud800-\udbff]$/, ''); // half of a character
}

function loginOf(record: LoginRecord): LoginSeen {
  const { time, serial, pid, executable, operation, success, from, terminal, session, reporter } = record;
  return {
    time,
    serial,
    operation: success ? 'Login' : operation,
    success,
    pid,
    executable,
    ...nameOf(record),
    ...from,
    ...(terminal === undefined ? {} : { terminal }),
    ...(session === undefined ? {} : { sessionId: session }),
    reporter,
  };
}

/** A placeholder is used only when there is neither a name nor an id. */
const nameOf = ({ account, userId }: LoginRecord): Pick<LoginSeen, 'userId' | 'userName'> => ({
  ...(userId === undefined ? {} : { userId }),
  ...(account === undefined || (userId !== undefined && NO_ACCOUNT.has(account)) ? {} : { userName: account }),
});

function parseId(text: string | undefined): number | undefined {
  return text === undefined || text === UNSET || !/^\d{1,10}$/.test(text) ? undefined : Number(text);
}

/** The login uid is the account's only if this session set it; otherwise it belongs to the user who started the program. */
const loginUserId = (auid: string | undefined, grantors: string | undefined): number | undefined =>
  grantors?.split(',').includes('pam_loginuid') === true ? parseId(auid) : undefined;

/** login(1) writes `pts/1` in one record and `/dev/pts/1` in the other. */
export function terminalOf(text: string | undefined): string | undefined {
  if (text === undefined || text === '?' || text === '') return undefined;
  return /^(?:pts\/|tty)/.test(text) ? `/dev/${text}` : text;
}

/** A host name without an address is that of this machine: login(1) writes that. */
function remoteOf(addr: string | undefined, hostname: string | undefined): Remote {
  const remote = addr === undefined ? undefined : parseRemoteAddress(addr);
  if (remote === undefined) return {};
  const isName = hostname !== undefined && hostname !== '?' && hostname !== '' && hostname !== addr;
  return isName && parseRemoteAddress(hostname) === undefined ? { ...remote, remoteHost: hostname } : remote;
}
