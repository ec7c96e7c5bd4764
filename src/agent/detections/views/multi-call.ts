import { listOf } from './options.ts';
import { directoryOf, nameOf } from './paths.ts';

/* The actual program of a process. The kernel reports the file, which for a multi-call binary is not the program. */

/** Binaries in which argv[0] selects the program, or the first argument if argv[0] is the binary's own name. */
const MULTI_CALL = listOf(
  'busybox toybox toolbox coreutils uutils dropbearmulti kmod lvm mtools xtables-nft-multi xtables-legacy-multi ' +
    'xtables-multi',
);

/** Binaries whose first argument may select the program: `busybox wget …`. */
const TAKES_APPLET = listOf(
  'busybox toybox toolbox coreutils uutils dropbearmulti lvm xtables-nft-multi xtables-legacy-multi xtables-multi',
);

/**
 * Programs that are installed under another file name, with the names that they have. Unlike for multi-call binaries, argv[0]
 * does not change their function, so only these names are accepted.
 */
const CALLED: Readonly<Record<string, readonly string[]>> = {
  dash: ['sh', 'ash'],
  bash: ['sh', 'rbash'],
  zsh: ['sh', 'ksh', 'rzsh'],
  mksh: ['sh', 'ksh', 'lksh'],
  ksh93: ['sh', 'ksh', 'rksh'],
  yash: ['sh'],
  'nc.openbsd': ['nc', 'netcat'],
  'nc.traditional': ['nc', 'netcat'],
  ncat: ['nc', 'netcat'],
  netcat: ['nc'],
  mawk: ['awk', 'nawk'],
  gawk: ['awk', 'nawk'],
  'original-awk': ['awk', 'nawk'],
  'vim.tiny': ['vi', 'vim', 'view', 'ex', 'rvim', 'rview'],
  'vim.basic': ['vi', 'vim', 'view', 'ex', 'rvim', 'rview', 'vimdiff', 'editor'],
  'vim.nox': ['vi', 'vim', 'view', 'ex', 'rvim', 'rview', 'vimdiff', 'editor'],
  nvim: ['vi', 'vim', 'ex', 'view'],
  systemctl: ['halt', 'poweroff', 'reboot', 'shutdown', 'init', 'telinit', 'runlevel'],
  systemd: ['init'],
  killall5: ['pidof'],
  'bsd-mailx': ['mail', 'mailx'],
  's-nail': ['mail', 'mailx'],
  'mail.mailutils': ['mail', 'mailx'],
  exim4: ['sendmail', 'mailq', 'newaliases', 'exim'],
  'sudo.ws': ['sudo'],
  'telnet.netkit': ['telnet'],
  'inetutils-telnet': ['telnet'],
  'bsd-csh': ['csh'],
  tcsh: ['csh'],
  pgrep: ['pkill', 'pidwait'],
  xz: ['unxz', 'xzcat', 'lzma', 'unlzma', 'lzcat'],
  zstd: ['unzstd', 'zstdcat', 'zstdmt'],
  bzip2: ['bunzip2', 'bzcat'],
  gpg2: ['gpg'],
  ssh: ['slogin'],
  wget2: ['wget'],
  'systemd-resolve': ['resolvectl', 'resolvconf'],
  resolvectl: ['resolvconf', 'systemd-resolve'],
  'gdb-multiarch': ['gdb'],
};

/** Interpreters and compilers whose file names end in a version: `python3.13` for `python3`. */
const VERSIONED = (
  'python perl ruby php lua luajit tclsh node nodejs gcc g++ clang cpp pypy php-fpm php-cgi guile postgres java ' +
  'pip gawk mawk'
).split(' ');

const isVersion = (text: string): boolean => {
  for (const c of text) if (!(c >= '0' && c <= '9') && c !== '.' && c !== '-') return false;
  return true;
};

/** `python` of `python3.13`, `python3` and `python`; undefined for other programs. */
const versionedFamily = (name: string): string | undefined =>
  VERSIONED.find((family) => name.startsWith(family) && isVersion(name.slice(family.length)));

/** Names of the same program: rules contain `python` for the file `python3.13`. */
const isSameProgram = (file: string, called: string): boolean => {
  if (file === called || (Object.hasOwn(CALLED, file) && CALLED[file]?.includes(called) === true)) return true;
  // Alternatives from several packages: traceroute.db, ftp.netkit.
  if (called !== '' && file.startsWith(`${called}.`)) return true;
  const family = versionedFamily(file);
  if (family !== undefined && versionedFamily(called) === family) return true;
  // x86_64-linux-gnu-gcc-14 is also gcc, cc or c++.
  return isCompiler(file) && isCompiler(called);
};

const COMPILERS: readonly string[] = ['gcc', 'g++', 'cpp', 'clang', 'cc', 'c++', 'c99', 'c89'];
const isCompiler = (name: string): boolean => {
  let end = name.length;
  while (end > 0 && isVersion(name[end - 1] ?? 'x')) end--;
  const bare = name.slice(0, end);
  return COMPILERS.some((compiler) => bare === compiler || bare.endsWith(`-${compiler}`));
};

const isAppletName = (word: string | undefined): word is string => {
  if (word === undefined || word === '' || word.length > 40) return false;
  for (const c of word) {
    const isPart = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || '_-.[+'.includes(c);
    if (!isPart) return false;
  }
  return word[0] !== '-';
};

export interface Program {
  /** The image: directory and name of the program. */
  readonly image: string;
  /** Number of words before the program's own argv[0]: 1 for `busybox wget …`. */
  readonly skip: number;
  /** Another image that the process claims in its argv[0]. */
  readonly claimed?: string;
}

const join = (directory: string, name: string): string => (directory === '' ? name : `${directory}/${name}`);

/** A login shell's argv[0] starts with `-`. */
const plainName = (argv0: string): string => nameOf(argv0.startsWith('-') ? argv0.slice(1) : argv0);

/** The path without ` (deleted)`, which the kernel appends if the file was removed. */
const DELETED = ' (deleted)';

/** The program of a process, from its executable and its arguments. */
export function programOf(executable: string, words: readonly string[]): Program {
  const deleted = executable.endsWith(DELETED) ? DELETED : '';
  const file = deleted === '' ? executable : executable.slice(0, -DELETED.length);
  const directory = directoryOf(file);
  const name = nameOf(file);
  const argv0 = words[0] ?? '';
  const called = plainName(argv0);
  if (MULTI_CALL.has(name) || name.startsWith('busybox')) {
    // BusyBox treats every name that starts with its own as its own: busybox.nosuid, busybox-armv7l.
    if (called !== name && called !== '' && !called.startsWith('busybox'))
      return { image: join(directory, called), skip: 0 };
    const applet = words[1];
    const option = '--coreutils-prog=';
    if (applet?.startsWith(option)) return { image: join(directory, applet.slice(option.length)), skip: 1 };
    if (!TAKES_APPLET.has(name) && !name.startsWith('busybox')) return { image: executable, skip: 0 };
    const plain = nameOf(applet ?? '');
    return isAppletName(plain) ? { image: join(directory, plain), skip: 1 } : { image: executable, skip: 0 };
  }
  if (called === '' || called === name) return { image: executable, skip: 0 };
  if (isSameProgram(name, called)) return { image: join(directory, called) + deleted, skip: 0 };
  if (called.trimEnd() === name.trimEnd()) return { image: executable, skip: 0 };
  // argv[0] with a space is a title (`nginx: worker process`), not a program.
  if (argv0.includes(':') || argv0.includes(' ')) return { image: executable, skip: 0 };
  return { image: executable, skip: 0, claimed: argv0.includes('/') ? argv0 : join(directory, called) };
}

/** The same for a command in a script, of which only the words are known. */
export function programOfWords(words: readonly string[], at: number): Program | undefined {
  const name = nameOf(words[at] ?? '');
  if (!TAKES_APPLET.has(name) && !name.startsWith('busybox')) return undefined;
  const program = programOf(words[at] ?? '', words.slice(at, at + 2));
  return program.skip === 0 ? undefined : program;
}

/* Commands in containers: `docker exec web sh -c id`, `docker run alpine sh -c id`. */

const ENGINES = listOf('docker podman nerdctl ctr docker-compose podman-remote');
const STARTING = listOf('exec run create');
/** Options without a value; every other long option takes one. */
const FLAGS = listOf(
  '--detach --interactive --tty --rm --privileged --init --read-only --publish-all --quiet --no-healthcheck ' +
    '--oom-kill-disable --sig-proxy --disable-content-trust --debug --tls --replace --tlsverify --no-TTY --latest ' +
    '--remote --no-hosts --rootfs --help --no-deps --service-ports',
);
/** Options of one letter without a value. */
const LETTERS = 'ditPqDT';

/** The command that a container runs; undefined if there is none. `from` is the index of the engine's word. */
export function containerCommand(words: readonly string[], from: number): readonly string[] | undefined {
  if (!ENGINES.has(nameOf(words[from] ?? ''))) return undefined;
  let operands = 0;
  let entry: string | undefined;
  for (let at = from + 1; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '') continue;
    if (operands === 2) return entry === undefined ? words.slice(at) : [entry, ...words.slice(at)];
    if (word.startsWith('-')) {
      if (word === '--entrypoint') entry = words[at + 1];
      else if (word.startsWith('--entrypoint=')) entry = word.slice('--entrypoint='.length);
      if (takesNext(word)) at++;
    } else if (operands === 0) {
      // Before the subcommand: `docker container exec`, `docker compose exec`.
      if (STARTING.has(word)) operands = 1;
    } else operands = 2;
  }
  return entry === undefined ? undefined : [entry];
}

function takesNext(option: string): boolean {
  if (option.startsWith('--')) return !option.includes('=') && !FLAGS.has(option);
  for (let i = 1; i < option.length; i++) if (!LETTERS.includes(option[i] ?? '')) return i === option.length - 1;
  return false;
}
