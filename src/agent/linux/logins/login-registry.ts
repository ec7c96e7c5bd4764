import type { LoginSeen } from '../../../core/contract/streams.ts';
import { terminalOf } from './audit-logins.ts';
import type { LoginEntry } from './login-feed.ts';
import { parseRemoteAddress, type Remote } from './remote.ts';

/** Sessions kept for their logout, and for the entry of the same session in the other file. */
const MAX_SESSIONS = 256;
/** How far apart two entries of one session may be: sshd writes the same time to both files, other programs do not. */
const TWINS_WITHIN_MS = 2_000;

interface Session {
  readonly entry: LoginEntry;
  readonly login: LoginSeen;
  /** The files that had an entry for it. */
  readonly origins: Set<LoginEntry['origin']>;
  isOver: boolean;
  /** Another session uses its terminal, or the machine was restarted: a later logout there is not its own. */
  isGone: boolean;
}

/** Turns entries of the login files into logins: one per session, even if it is in two files. */
export class LoginRegistry {
  readonly #programOf: (pid: number, timeMs: number) => string | undefined;
  /** Oldest first. */
  readonly #sessions: Session[] = [];

  /** @param programOf path of the program that ran as this process at that time, if known */
  constructor(programOf: (pid: number, timeMs: number) => string | undefined = () => undefined) {
    this.#programOf = programOf;
  }

  /**
   * @param entry entries must be passed in the order in which they happened
   * @returns `undefined` when the entry is not reported
   */
  take(entry: LoginEntry): LoginSeen | undefined {
    const seen = this.#take(entry);
    return entry.isOld ? undefined : seen;
  }

  #take(entry: LoginEntry): LoginSeen | undefined {
    switch (entry.kind) {
      case 'login':
        return this.#login(entry);
      case 'logout':
        return this.#logout(entry);
      case 'refusal':
        return { ...this.#seen(entry), success: false };
      case 'boot':
        for (const session of this.#sessions) session.isGone = true;
        return undefined;
    }
  }

  #login(entry: LoginEntry): LoginSeen | undefined {
    if (isWindow(entry)) return undefined;
    const twin = this.#twinOf(entry, entry.timeMs, ({ origins }) => !origins.has(entry.origin));
    if (twin !== undefined) {
      twin.origins.add(entry.origin);
      return undefined;
    }
    for (const session of this.#sessions) if (session.entry.line === entry.line) session.isGone = true;
    const login = this.#seen(entry);
    this.#sessions.push({ entry, login, origins: new Set([entry.origin]), isOver: false, isGone: false });
    if (this.#sessions.length > MAX_SESSIONS) this.#forgetOne();
    return login;
  }

  #logout(entry: LoginEntry): LoginSeen | undefined {
    const { since } = entry;
    const session = since === undefined ? this.#at(entry) : this.#twinOf(entry, since);
    // wtmp has logouts for terminals without a login; a row of the database belongs to a login.
    if (session === undefined) return since === undefined ? undefined : logoutOf(this.#seen(entry), entry);
    if (session.isOver) return undefined;
    session.isOver = true;
    return logoutOf(session.login, entry);
  }

  /** Removes one session, preferably an ended one: many short logins must not hide the logout of a long one. */
  #forgetOne(): void {
    const over = this.#sessions.findIndex(({ isOver, isGone }) => isOver || isGone);
    this.#sessions.splice(Math.max(over, 0), 1);
  }

  /** The open session at this terminal. */
  #at({ line, pid }: LoginEntry): Session | undefined {
    return this.#sessions.findLast(({ isOver, isGone, entry: known }) => {
      const isSame = line === '' ? pid !== 0 && known.pid === pid : known.line === line;
      return isSame && !isOver && !isGone;
    });
  }

  /** The session whose begin is nearest to this time, if it is near enough to be the same. */
  #twinOf({ line, user }: LoginEntry, timeMs: number, fits = (_: Session) => true): Session | undefined {
    let best: Session | undefined;
    const distance = (session: Session | undefined) =>
      session === undefined ? TWINS_WITHIN_MS + 1 : Math.abs(session.entry.timeMs - timeMs);
    for (const session of this.#sessions) {
      const isSame = session.entry.line === line && session.entry.user === user;
      if (isSame && fits(session) && distance(session) < distance(best)) best = session;
    }
    return best;
  }

  #seen({ timeMs, pid, line, user, host, address, service }: LoginEntry): LoginSeen {
    const terminal = terminalOf(line);
    return {
      time: new Date(timeMs),
      operation: 'Login',
      success: true,
      pid,
      executable: (pid === 0 ? undefined : this.#programOf(pid, timeMs)) ?? service ?? serviceOf(line) ?? 'unknown',
      userName: user === '' ? '?' : user,
      ...remoteOf(host, address),
      ...(terminal === undefined ? {} : { terminal }),
    };
  }
}

const logoutOf = (login: LoginSeen, { timeMs }: LoginEntry): LoginSeen => ({
  ...login,
  time: new Date(timeMs),
  operation: 'Logout',
});

/**
 * Terminal emulators and multiplexers record their windows as sessions, by utempter(3); the user has logged in before. Their
 * host field is a display or a marker: `:0`, `:pts/3:S.1` (screen), `tmux(4711).%0`, `192.0.2.7 via mosh [4711]`.
 */
const isWindow = ({ line, host }: LoginEntry): boolean =>
  line.startsWith('pts/') && parseRemoteAddress(host) === undefined && /^:|:S\.\d|^tmux\(| via mosh \[/.test(host);

/** `ssh:notty` → ssh: stands for the terminal of a refused login that has none. */
function serviceOf(line: string): string | undefined {
  const colon = line.indexOf(':');
  return colon > 0 ? line.slice(0, colon) : undefined;
}

function remoteOf(host: string, address: string | undefined): Remote {
  const isName = host !== '' && !host.startsWith(':');
  const named = parseRemoteAddress(host) ?? (isName ? { remoteHost: host } : {});
  return address === undefined ? named : { ...named, remote: { address } };
}
