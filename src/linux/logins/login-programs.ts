/**
 * Programs that authenticate people or open PAM sessions, but let nobody in who wasn't in before: they change who one
 * is, start what was scheduled, or ask for a password again. Every other one counts as a login program; so one that is
 * not known yet is reported rather than missed.
 */
const NO_LOGIN: ReadonlySet<string> = new Set([
  // become somebody else
  ...['su', 'runuser', 'sudo', 'sudo-rs', 'su-rs', 'doas', 'pkexec', 'polkit-agent-helper-1', 'newgrp', 'sg', 'ksu'],
  // scheduled work, and services: systemd opens sessions for `user@.service` and for PAMName=
  ...['cron', 'crond', 'fcron', 'anacron', 'atd', 'systemd', 'systemd-executor', 'start-stop-daemon'],
  // accounts and passwords; unix_chkpwd works for the program that asks
  ...['passwd', 'chpasswd', 'newusers', 'chfn', 'chsh', 'chage', 'gpasswd', 'useradd', 'usermod', 'userdel'],
  ...['groupadd', 'groupmod', 'groupdel', 'groupmems', 'unix_chkpwd', 'unix_update'],
  // unlock a screen
  ...['xscreensaver', 'xscreensaver-auth', 'kcheckpass', 'kscreenlocker_greet', 'swaylock', 'i3lock', 'vlock'],
]);

/** PAM services of such programs that aren't called like them; see pam_wtmpdb(8), which writes their names. */
const NO_LOGIN_SERVICES: ReadonlySet<string> = new Set(['su-l', 'runuser-l', 'sudo-i', 'systemd-user', 'polkit-1']);

/** The accounts that display managers show their login window under: a session of a program, not of a person. */
const GREETERS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['gdm-session-worker', new Set(['gdm', 'Debian-gdm', 'gdm-greeter', 'gnome-initial-setup'])],
  ['lightdm', new Set(['lightdm'])],
  ['sddm-helper', new Set(['sddm'])],
  ['greetd', new Set(['greeter', '_greetd'])],
]);

/** The last part of a path. */
export const programName = (executable: string): string => executable.slice(executable.lastIndexOf('/') + 1);

/** Whether what this program authenticates, or opens a session for, is a login. */
export function isLogin(executable: string, account?: string): boolean {
  const program = programName(executable);
  return !NO_LOGIN.has(program) && !(account !== undefined && GREETERS.get(program)?.has(account) === true);
}

/** The same by the name of a PAM service. */
export const isLoginService = (service: string): boolean => !NO_LOGIN.has(service) && !NO_LOGIN_SERVICES.has(service);
