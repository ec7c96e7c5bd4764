import { isPlausible } from '../../core/base/clock.ts';
import { NAME_BYTES } from './facts/processes.ts';
import type { System } from './system.ts';

const anyOf =
  (...paths: string[]) =>
  ({ files }: System) =>
    paths.some((path) => files.mayBeThere(path));
const program =
  (...names: string[]) =>
  (system: System) =>
    names.some((name) => system.hasProgram(name));
const either =
  (...tests: ((system: System) => boolean)[]) =>
  (system: System) =>
    tests.some((test) => test(system));
const systemd = anyOf('/usr/lib/systemd/systemd', '/lib/systemd/systemd');
const systemdProgram = (name: string) => anyOf(`/usr/lib/systemd/${name}`, `/lib/systemd/${name}`);
/** Whether one of systemd's own services is used, not only installed. */
const systemdService = (name: string) => async (system: System) => {
  if (!systemdProgram(name)(system)) return false;
  const [units, processes] = [await system.units(), await system.processes()];
  if (units.state(`${name}.service`).enabled || processes.byName.has(name.slice(0, NAME_BYTES))) return true;
  return units.unreadable !== undefined || processes.unreadable !== undefined;
};
const usedByPam = (module: string) => async (system: System) => {
  const pam = await system.pam();
  return pam.uses(module) || pam.unreadable !== undefined;
};

/** Features of a system, and how they are detected. A rule is skipped if the system lacks a feature that it needs. */
export const FEATURES: Readonly<Record<string, (system: System) => boolean | Promise<boolean>>> = {
  passwd: anyOf('/etc/passwd'),
  shadow: anyOf('/etc/shadow'),
  /** A clock that has been set: without one, every password was changed in the future. */
  clock: ({ clock }) => isPlausible(clock.now()),
  /** The kernel and its command line belong to the scanned system. */
  'own-kernel': ({ view }) => view === 'host' || view === 'mounted-host',
  'netns-host': (system) =>
    system.seesHostNetwork() || (system.view === 'mounted-host' && anyOf('/proc/1/net/tcp')(system)),
  /** Unknown for a tree, so it counts as present there, and the rules evaluate the configuration files. */
  ipv6: (system) => !system.runs || anyOf('/proc/sys/net/ipv6', '/proc/net/if_inet6')(system),
  efi: anyOf('/sys/firmware/efi'),
  init: either(systemd, anyOf('/etc/inittab', '/etc/init.d', '/etc/rc.d', '/etc/runlevels')),
  systemd,
  sysvinit: (system) => !systemd(system) && anyOf('/etc/inittab')(system),
  'busybox-init': (system) => !systemd(system) && anyOf('/etc/inittab')(system),
  pkgdb: (system) => system.packageManager() !== undefined,
  /** Names of programs, where no package database can be read. */
  commands: ({ files }) => files.isFolder('/bin') || files.isFolder('/usr/bin'),
  pam: anyOf('/etc/pam.d'),
  pwquality: usedByPam('pam_pwquality'),
  faillock: usedByPam('pam_faillock'),
  pwhistory: usedByPam('pam_pwhistory'),
  sudo: either(program('sudo'), anyOf('/etc/sudoers')),
  sshd: either(program('sshd'), anyOf('/etc/ssh/sshd_config')),
  dropbear: either(program('dropbear'), anyOf('/etc/default/dropbear', '/etc/conf.d/dropbear')),
  cron: program('cron', 'crond'),
  at: program('atd', 'at'),
  grub: anyOf('/boot/grub/grub.cfg', '/boot/grub2/grub.cfg', '/boot/grub/grub.conf'),
  auditd: either(program('auditd'), anyOf('/etc/audit/auditd.conf')),
  apparmor: either(program('apparmor_parser'), anyOf('/sys/kernel/security/apparmor')),
  logrotate: program('logrotate'),
  rsyslog: either(program('rsyslogd'), anyOf('/etc/rsyslog.conf')),
  journald: systemdProgram('systemd-journald'),
  'systemd-coredump': systemdProgram('systemd-coredump'),
  resolved: systemdService('systemd-resolved'),
  timesyncd: systemdService('systemd-timesyncd'),
  chrony: program('chronyd'),
  postfix: anyOf('/etc/postfix/main.cf'),
  samba: program('smbd'),
  apt: anyOf('/usr/bin/apt-get', '/etc/apt'),
  opkg: either(program('opkg', 'opkg-cl'), anyOf('/etc/opkg.conf')),
  mosquitto: either(program('mosquitto'), anyOf('/etc/mosquitto/mosquitto.conf')),
  avahi: program('avahi-daemon'),
  hostapd: program('hostapd'),
  wpa_supplicant: program('wpa_supplicant'),
  docker: program('dockerd', 'balenad', 'balena-engine-daemon'),
  aide: program('aide'),
};

/** Detected features, by system. */
const known = new WeakMap<System, Map<string, boolean>>();

/** Whether a system has a feature. Detected once per system. */
export async function hasFeature(system: System, name: string): Promise<boolean> {
  const features = known.get(system) ?? new Map<string, boolean>();
  known.set(system, features);
  let has = features.get(name);
  if (has === undefined) {
    has = (await FEATURES[name]?.(system)) ?? false;
    features.set(name, has);
  }
  return has;
}

const MISSING_TEXTS: Readonly<Record<string, string>> = {
  clock: 'the clock is not set',
  'own-kernel': 'the system’s kernel is not visible',
  'netns-host': 'the host’s network is not visible',
  pkgdb: 'there is no package database',
  commands: 'there is no /bin or /usr/bin',
  resolved: 'systemd-resolved is not started',
  timesyncd: 'systemd-timesyncd is not started',
  init: 'no known init system was found',
};

/** @param need a missing feature, or several alternatives: `a|b` */
export const missingText = (need: string): string =>
  MISSING_TEXTS[need] ?? `there is no ${need.replaceAll('|', ' or ')}`;
