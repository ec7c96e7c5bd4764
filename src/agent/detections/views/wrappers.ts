/* Programs that start the program in their arguments. To add one, add a line. */
import { assignmentName } from './characters.ts';
import { listOf, NONE, optionOf, type Valued } from './options.ts';
import { nameOf } from './paths.ts';

export interface Wrapper extends Valued {
  /** Number of operands before the command: 1 for `timeout 5 wget`. */
  readonly operands?: number;
  /** `VAR=value` may precede the command. */
  readonly assigns?: true;
  /** Options whose value is a script for a shell: `su -c 'id'`. */
  readonly script?: string;
  /** Options whose value is the directory in which the command runs. */
  readonly directory?: string;
  /** The words are joined by spaces and passed to a shell: `watch id; ls`. */
  readonly joins?: true;
  /**
   * Options may follow operands: `su root -c 'id'`; there is then no command, only scripts. A list of options disables this if one
   * of them is present: `runuser -u root id`.
   */
  readonly anywhere?: true | string;
  /** The command follows this word: `kubectl exec POD -- id`. */
  readonly after?: string;
  /** Words from standard input are appended. */
  readonly reads?: true;
  /** Options whose value is the program; its arguments follow `--`. */
  readonly program?: string;
  /** Without a command, it starts a shell. */
  readonly startsShell?: true;
}

export const WRAPPERS: Readonly<Record<string, Wrapper>> = {
  sudo: {
    startsShell: true,
    valued: 'CDgGhpRrTtuU',
    long: 'user group chdir chroot role type host prompt close-from command-timeout other-user',
    assigns: true,
    directory: '-D --chdir',
  },
  doas: { startsShell: true, valued: 'Cu' },
  pkexec: { long: 'user' },
  su: { startsShell: true, script: '-c --command --session-command', anywhere: true },
  runuser: {
    startsShell: true,
    valued: 'ugGs',
    long: 'user group supp-group shell',
    script: '-c --command --session-command',
    anywhere: '-u --user',
  },
  gosu: { operands: 1 },
  'su-exec': { operands: 1 },
  setpriv: {
    long: 'reuid regid groups inh-caps ambient-caps bounding-set securebits selinux-label apparmor-profile pdeathsig ruid euid rgid egid',
  },
  capsh: { after: '--' },
  env: {
    valued: 'uCa',
    long: 'unset chdir argv0',
    assigns: true,
    script: '-S --split-string',
    directory: '-C --chdir',
  },
  nohup: {},
  setsid: {},
  timeout: { valued: 'ks', long: 'kill-after signal', operands: 1 },
  nice: { valued: 'n', long: 'adjustment' },
  ionice: { valued: 'cnpPu', long: 'class classdata' },
  chrt: { valued: 'TPDp', long: 'sched-runtime sched-period sched-deadline', operands: 1 },
  taskset: { valued: 'p', operands: 1 },
  numactl: { valued: 'mCNcipPw', long: 'membind cpunodebind physcpubind interleave preferred localalloc' },
  cpulimit: { valued: 'lpe', long: 'limit pid exe' },
  prlimit: { valued: 'p', long: 'pid' },
  stdbuf: { valued: 'ioe', long: 'input output error' },
  unbuffer: {},
  time: { valued: 'fo', long: 'format output' },
  xargs: {
    valued: 'adEeIiLlnPs',
    long: 'arg-file delimiter max-lines max-args max-procs max-chars process-slot-var',
    reads: true,
  },
  parallel: { valued: 'jaIS', long: 'jobs arg-file sshlogin joblog results' },
  chroot: { startsShell: true, long: 'userspec groups', operands: 1 },
  unshare: { startsShell: true, valued: 'RwSG', long: 'root wd setuid setgid map-user map-group' },
  nsenter: { startsShell: true, valued: 'tSG', long: 'target setuid setgid' },
  bwrap: {
    long: 'bind ro-bind dev-bind bind-try ro-bind-try chdir setenv unsetenv uid gid hostname dev proc tmpfs dir symlink',
    after: '--',
  },
  firejail: {},
  fakeroot: { valued: 'lsib', long: 'lib faked' },
  faketime: { valued: 'p', long: 'date-prog', operands: 1 },
  strace: { valued: 'abeEIoOpPsSuUX', long: 'output trace attach user env' },
  ltrace: { valued: 'aAeDFlnopsuwx', long: 'output' },
  valgrind: {},
  perf: { valued: 'eoipt', operands: 1 },
  rlwrap: { valued: 'bCDefgHlMOPqsStwz' },
  setarch: { operands: 1 },
  linux32: {},
  linux64: {},
  multitime: { valued: 'n' },
  logsave: { operands: 1 },
  cgexec: { valued: 'g' },
  dtach: { valued: 'acnNAe' },
  'start-stop-daemon': {
    valued: 'pnucgrdNIkPxa',
    long: 'pidfile name user chuid group chroot chdir nicelevel iosched umask procsched retry signal exec startas',
    program: '-x --exec -a --startas',
    directory: '-d --chdir',
  },
  catchsegv: {},
  flock: { valued: 'wE', long: 'timeout conflict-exit-code', operands: 1, script: '-c --command' },
  setlock: { operands: 1 },
  script: { valued: 'EIOBTmo', long: 'log-in log-out log-io log-timing', script: '-c --command', anywhere: true },
  watch: { valued: 'n', long: 'interval', joins: true },
  entr: {},
  'systemd-run': {
    valued: 'tpMHEuP',
    long: 'unit property description slice uid gid nice working-directory setenv machine host on-active on-boot on-startup on-calendar timer-property service-type',
    directory: '--working-directory',
  },
  'systemd-nspawn': { valued: 'DMiup', long: 'directory machine image user bind setenv' },
  'systemd-inhibit': { long: 'what who why mode' },
  'systemd-cat': { valued: 'tp', long: 'identifier priority stderr-priority' },
  machinectl: { valued: 'M', after: 'shell', operands: 1 },
  'dbus-run-session': { long: 'config-file dbus-daemon' },
  'dbus-launch': {},
  tini: { valued: 'pe' },
  'docker-init': {},
  'dumb-init': {},
  chpst: { valued: 'uUbenlmdopfcrt/' },
  softlimit: { valued: 'amdslcfopt' },
  's6-setuidgid': { operands: 1 },
  setuidgid: { operands: 1 },
  daemonize: { valued: 'acEelopu' },
  proxychains: { valued: 'f' },
  proxychains4: { valued: 'f' },
  torsocks: { valued: 'uaPp', long: 'user pass address port' },
  torify: {},
  tsocks: {},
  ssh: { startsShell: true, valued: 'BbcDEeFIiJLlmOoPpQRSWw', operands: 1, joins: true },
  slogin: { startsShell: true, valued: 'BbcDEeFIiJLlmOoPpQRSWw', operands: 1, joins: true },
  dbclient: { startsShell: true, valued: 'bcDIiJKLlmopRW', operands: 1, joins: true },
  sshpass: { valued: 'pfdP' },
  autossh: { valued: 'BbcDEeFIiJLlMmOoPpQRSWw', operands: 1, joins: true },
  rsh: { startsShell: true, valued: 'l', operands: 1, joins: true },
  kubectl: { after: '--' },
  oc: { after: '--' },
  k3s: {},
  crictl: { after: 'exec', valued: 'r', operands: 1 },
  lxc: { after: '--' },
  'lxc-attach': { after: '--' },
  'lxc-execute': { after: '--' },
  screen: { valued: 'cehpSst' },
  exec: { valued: 'a' },
  command: {},
  builtin: {},
  chronic: {},
  'run-one': {},
  ip: { after: 'exec', operands: 1 },
};

/** Dynamic loaders run their argument: `/lib64/ld-linux-x86-64.so.2 /bin/nc`. With `--verify` or `--list`, they only read it. */
const LOADER: Wrapper = {
  long: 'library-path preload audit argv0 glibc-hwcaps-prepend glibc-hwcaps-mask inhibit-rpath verify list',
};
const isLoader = (name: string): boolean =>
  (name.startsWith('ld-') || name.startsWith('ld.so') || name.startsWith('ld64')) && name.includes('.so');

export function wrapperOf(word: string): Wrapper | undefined {
  const name = nameOf(word);
  if (Object.hasOwn(WRAPPERS, name)) return WRAPPERS[name];
  return isLoader(name) ? LOADER : undefined;
}

export interface Unwrapped {
  /** Start of the inner command; the number of words if there is none. */
  readonly at: number;
  /** Words that contain scripts. */
  readonly scripts: readonly { readonly at: number /** after `--command=` */; readonly offset: number }[];
  readonly directory?: string;
  /** The words of the inner command, if they are not adjacent. */
  readonly words?: readonly string[];
}

/** Finds the command that a wrapper runs. `from` is the index of the wrapper's word. */
export function unwrap(wrapper: Wrapper, words: readonly string[], from: number): Unwrapped {
  const script = listOf(wrapper.script);
  const directoryOptions = listOf(wrapper.directory);
  const programOptions = listOf(wrapper.program);
  let program: string | undefined;
  const scripts: { at: number; offset: number }[] = [];
  let directory: string | undefined;
  let operands = wrapper.operands ?? 0;
  const unless = typeof wrapper.anywhere === 'string' ? listOf(wrapper.anywhere) : NONE;
  let isAnywhere = wrapper.anywhere !== undefined;
  let at = from + 1;
  if (wrapper.after !== undefined) {
    const found = words.indexOf(wrapper.after, at);
    if (found === -1) return { at: words.length, scripts };
    at = found + 1;
  }
  for (; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '--') {
      at++;
      break;
    }
    if (word.startsWith('-') && word.length > 1) {
      const { name, value, takesNext } = optionOf(word, wrapper, script);
      if (unless.has(name)) isAnywhere = false;
      if (script.has(name) && scripts.length < 2) {
        if (value !== undefined) scripts.push({ at, offset: word.length - value.length });
        else if (at + 1 < words.length) scripts.push({ at: at + 1, offset: 0 });
      }
      if (programOptions.has(name)) program = value ?? words[at + 1];
      if (directoryOptions.has(name)) directory = value ?? words[at + 1];
      if (takesNext) at++;
      continue;
    }
    if (wrapper.assigns === true && assignmentName(word) > 0) continue;
    if (isAnywhere) continue;
    // Without argv, empty words stand for repeated spaces.
    if (word === '' || word === '-') continue;
    if (operands > 0) {
      operands--;
      continue;
    }
    break;
  }
  while (operands > 0 && at < words.length) {
    at++;
    operands--;
  }
  const found = directory === undefined ? { scripts } : { scripts, directory };
  if (program !== undefined) return { ...found, at: words.length, words: [program, ...words.slice(at)] };
  const isScriptOnly = isAnywhere || scripts.length > 0;
  return { ...found, at: isScriptOnly ? words.length : Math.min(at, words.length) };
}
