import { readlinkSync } from 'node:fs';
import type { Clock } from '../../../core/base/clock.ts';
import { LONG_AGO, milliseconds, minutes } from '../../../core/base/duration.ts';
import { exists } from '../../../core/base/paths.ts';
import type { LoginReporter } from '../../../core/contract/streams.ts';
import { mayHoldContainers } from '../processes/containers.ts';

/**
 * Programs that authenticate users or open PAM sessions without being a login: they change the user, run scheduled work, or
 * ask for a password again. Every other program counts as a login program, so that an unknown one is reported rather than
 * missed.
 */
const NO_LOGIN: ReadonlySet<string> = new Set([
  // change the user
  ...['su', 'runuser', 'sudo', 'sudo-rs', 'su-rs', 'doas', 'pkexec', 'polkit-agent-helper-1', 'newgrp', 'sg', 'ksu'],
  // scheduled work, and services: systemd opens sessions for `user@.service` and for PAMName=
  ...['cron', 'crond', 'fcron', 'anacron', 'atd', 'systemd', 'systemd-executor', 'start-stop-daemon'],
  // accounts and passwords; unix_chkpwd works for the program that asks
  ...['passwd', 'chpasswd', 'newusers', 'chfn', 'chsh', 'chage', 'gpasswd', 'useradd', 'usermod', 'userdel'],
  ...['groupadd', 'groupmod', 'groupdel', 'groupmems', 'unix_chkpwd', 'unix_update'],
  // unlock a screen
  ...['xscreensaver', 'xscreensaver-auth', 'kcheckpass', 'kscreenlocker_greet', 'swaylock', 'i3lock', 'vlock'],
]);

/** PAM services of such programs that have another name than the program; pam_wtmpdb(8) records service names. */
const NO_LOGIN_SERVICES: ReadonlySet<string> = new Set(['su-l', 'runuser-l', 'sudo-i', 'systemd-user', 'polkit-1']);

/** The accounts under which display managers run their login screen: those sessions are not logins. */
const GREETERS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['gdm-session-worker', new Set(['gdm', 'Debian-gdm', 'gdm-greeter', 'gnome-initial-setup'])],
  ['lightdm', new Set(['lightdm'])],
  ['sddm-helper', new Set(['sddm'])],
  ['greetd', new Set(['greeter', '_greetd'])],
]);

/** The last part of a path. */
export const programName = (executable: string): string => executable.slice(executable.lastIndexOf('/') + 1);

/** Whether an authentication or a session of this program is a login. */
export function isLogin(executable: string, account?: string): boolean {
  const program = programName(executable);
  return !NO_LOGIN.has(program) && !(account !== undefined && GREETERS.get(program)?.has(account) === true);
}

/** The same, by the name of a PAM service. */
export const isLoginService = (service: string): boolean => !NO_LOGIN.has(service) && !NO_LOGIN_SERVICES.has(service);

const LOOK_FOR_CONTAINERS_EVERY = minutes(1);

/** Identifies the program that wrote a record, by the process id from the kernel; the record's own text proves nothing. */
export class LoginReporters {
  readonly #proc: string;
  readonly #executableOf: (pid: number) => string | undefined;
  readonly #containerOf: (pid: number) => string | undefined;
  readonly #clock: Clock;
  #hasContainers = true;
  #lookAt = LONG_AGO;

  /** @param options `executableOf` returns the program that a process was last seen to start */
  constructor(options: {
    /** The host's /proc. */
    proc: string;
    clock: Clock;
    executableOf?: (pid: number) => string | undefined;
    containerOf?: (pid: number) => string | undefined;
  }) {
    this.#proc = options.proc;
    this.#clock = options.clock;
    this.#executableOf = options.executableOf ?? (() => undefined);
    this.#containerOf = options.containerOf ?? (() => undefined);
  }

  /** Looks up a process that has just written a record. */
  of(pid: number): LoginReporter {
    const executable = this.#executableOf(pid) ?? this.#imageOf(pid);
    const containerId = this.#containerOf(pid);
    return {
      pid,
      ...(executable === undefined ? {} : { executable }),
      ...(containerId === undefined ? {} : { containerId }),
      ...(containerId === undefined && this.#isUnlocated(pid) ? { isUnlocated: true } : {}),
    };
  }

  #isUnlocated(pid: number): boolean {
    if (exists(`${this.#proc}/${pid}`)) return false;
    const now = this.#clock.monotonic();
    if (now >= this.#lookAt) {
      this.#lookAt = milliseconds(now + LOOK_FOR_CONTAINERS_EVERY);
      this.#hasContainers = mayHoldContainers(this.#proc);
    }
    return this.#hasContainers;
  }

  #imageOf(pid: number): string | undefined {
    try {
      return readlinkSync(`${this.#proc}/${pid}/exe`).replace(/ \(deleted\)$/, '');
    } catch {
      return undefined; // ended or hidden
    }
  }
}
