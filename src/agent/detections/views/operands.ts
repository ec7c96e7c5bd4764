/* The words of a command that are files, so that its view can show their full path. To add a program, add a word or a line,
 * and its options to option-values.ts. */
import { MAX_WRAPPERS } from './limits.ts';
import { valuedOf } from './option-values.ts';
import { listOf, optionOf } from './options.ts';
import { nameOf, resolvePath } from './paths.ts';
import { partsOf } from './usual-form.ts';
import { unwrap, wrapperOf } from './wrappers.ts';

/** For a program that works on files: the operands that are not files. */
interface OnFiles {
  /** Number of operands before the files: 1 for `chmod 755 FILE`. */
  readonly operands?: number;
  /** Options that replace those operands: `sed -e SCRIPT FILE`. */
  readonly instead?: string;
  /** `-t FOLDER FILE` means `FILE FOLDER`. */
  readonly into?: true;
  /** Prefixes of files: `of=FILE`. */
  readonly assigned?: readonly string[];
  /** Only operands before the first option or expression are files; without one, it is the current directory. */
  readonly first?: true;
  /** Maximum number of operands that are files … */
  readonly most?: number;
  /** … unless one of these options, whose value is a script, is present. */
  readonly scripts?: string;
  /** Options after which no operand is a file: `python3 -m http.server 80`. */
  readonly modules?: string;
  /** Options whose value is a file or directory. */
  readonly files?: string;
  /** Words before a file: `obj FILE`. */
  readonly behind?: string;
  /** A file may follow `@`: `curl -F x=@FILE`. */
  readonly at?: true;
  /** Options with the directory of the operands; for curl, the output directory. */
  readonly within?: string;
  /** The first word may be options without a dash: `tar cf ARCHIVE FILE`. */
  readonly bundle?: true;
}

const COPYING: OnFiles = { into: true };
const OWNING: OnFiles = { operands: 1, files: '--reference', instead: '--reference' };
const LIKE: OnFiles = { files: '-r --reference' };

const SEARCHING: OnFiles = {
  operands: 1,
  files: '-f --file',
  instead: '-e -f --regexp --file',
};
/** Its operands are not files, unless another property overrides this. */
const ALL = Number.POSITIVE_INFINITY;
const HOME: OnFiles = { operands: ALL, files: '-d -h --home --home-dir' };
const LINKING: OnFiles = { operands: ALL, behind: 'obj object object-file object_file' };
const SCRIPT: OnFiles = { most: 1, modules: '-m -c' };
const FORMATTING: OnFiles = { most: 1 };

/** Parts of compilers: rules look at the compiler. */
const COMPILING: OnFiles = { operands: ALL };

/** Programs whose operands are all files. */
const ALL_FILES = listOf(
  'cat tac head tail nl base64 xxd strings unshadow less more od hexdump rev cut sort rm unlink shred tee ' +
    'sponge setfacl crontab newusers systemd-sysusers logrotate iptables-restore ip6tables-restore ' +
    'stunnel stunnel4 patchelf mount umount wipefs blkdiscard nandwrite insmod rsync scp chattr ed nano emacs joe ' +
    'mcedit vi vim ex nvim',
);

const ON_FILES: Readonly<Record<string, OnFiles>> = {
  grep: SEARCHING,
  egrep: SEARCHING,
  fgrep: SEARCHING,
  awk: { operands: 1, files: '-f --file', instead: '-f --file' },
  tar: {
    files: '-f --file -C --directory -T --files-from',
    within: '-C --directory',
    bundle: true,
  },
  zip: { bundle: true },
  useradd: HOME,
  adduser: HOME,
  usermod: HOME,
  auditctl: { operands: ALL, files: '-R' },
  nft: { operands: ALL, files: '-f --file' },
  bpftool: { operands: 2 },
  ip: LINKING,
  tc: LINKING,
  openvpn: { files: '--config' },
  'dpkg-divert': { files: '--divert --admindir' },
  flash_erase: { most: 1 },
  flash_eraseall: { most: 1 },
  ubiformat: { most: 1 },
  parted: { most: 1 },
  nvme: { operands: 1, most: 1 },
  cryptsetup: { operands: 1, most: 2 },
  mkfs: FORMATTING,
  mke2fs: FORMATTING,
  mkswap: FORMATTING,
  mv: COPYING,
  cp: COPYING,
  ln: COPYING,
  install: COPYING,
  dd: { assigned: ['if=', 'of='] },
  curl: {
    operands: ALL,
    files: '-T --upload-file -o --output --output-dir -K --config -c --cookie-jar',
    within: '--output-dir',
    at: true,
  },
  wget: {
    operands: ALL,
    files: '-O --output-document -P --directory-prefix --post-file --body-file -i --input-file -o --output-file',
  },
  tftp: { operands: ALL, files: '-l' },
  atftp: { operands: ALL, files: '-l --local-file' },
  ftpput: { operands: 2 },
  ftpget: { operands: 1, most: 1 },
  aws: { operands: 2 },
  rclone: { operands: 1 },
  python: SCRIPT,
  python3: SCRIPT,
  perl: { most: 1, scripts: '-e -E' },
  php: { files: '-f', most: 1 },
  ruby: { most: 1, scripts: '-e' },
  cc1: COMPILING,
  cc1plus: COMPILING,
  as: COMPILING,
  ld: COMPILING,
  collect2: COMPILING,
  touch: LIKE,
  truncate: LIKE,
  chmod: { operands: 1, files: '--reference', instead: '--reference -x -w -r -s -t -rw -rx -wx -rwx' },
  chown: OWNING,
  chgrp: OWNING,
  sed: { operands: 1, instead: '-e -f --expression --file' },
  find: { first: true },
};

/** Names of files whose directory may be the current one. Others are absolute, remote or unknown. */
export const isRelative = (word: string): boolean =>
  word !== '' && !'/-+~$<({'.includes(word[0] ?? '') && !word.includes(':') && !word.includes('=');

/**
 * The words of a command and its inner commands, with full paths, in the usual order:
 * `cp -t FOLDER FILE` as `cp FILE FOLDER`. The same array if nothing changes.
 */
export function withWholePaths(words: readonly string[], directory: string | undefined): readonly string[] {
  const whole = (word: string): string => (isRelative(word) ? resolvePath(word, directory) : word);
  let from = 0;
  for (let count = 0; count < MAX_WRAPPERS; count++) {
    const name = nameOf(words[from] ?? '');
    const on = onFiles(name);
    if (on !== undefined) {
      const own = from === 0 ? words : words.slice(from);
      const read = on.first === true ? withStart(own, whole) : withOperands(own, on, directory);
      return same(words, from === 0 ? read : [...words.slice(0, from).map(dotted(whole)), ...read]);
    }
    const wrapper = wrapperOf(name);
    if (wrapper === undefined) {
      if (from === 0 && (TALKING.has(name) || !words.some(isDotted))) return words;
      break;
    }
    const inner = unwrap(wrapper, words, from);
    if (inner.directory !== undefined || inner.at >= words.length) break;
    from = inner.at;
  }
  return same(words, words.map(dotted(whole)));
}

/** Programs whose operands are text. */
const TALKING = listOf('echo printf test [ expr logger');

const EVERY: OnFiles = {};
const onFiles = (name: string): OnFiles | undefined => {
  if (ALL_FILES.has(name)) return EVERY;
  if (Object.hasOwn(ON_FILES, name)) return ON_FILES[name];
  return name.startsWith('mkfs.') ? FORMATTING : undefined;
};

/** Whether a word can only be a path that starts in the current directory or above it. */
const isDotted = (word: string): boolean => word.startsWith('./') || word.startsWith('../');
const dotted =
  (whole: (word: string) => string) =>
  (word: string): string =>
    isDotted(word) ? whole(word) : word;

const same = (words: readonly string[], read: readonly string[]): readonly string[] =>
  read.length === words.length && read.every((word, i) => word === words[i]) ? words : read;

function withOperands(words: readonly string[], on: OnFiles, directory: string | undefined): readonly string[] {
  const within = folderIn(words, on) ?? '.';
  const seenFrom = (folder: string | undefined) => (word: string) =>
    isRelative(word) ? resolvePath(word, folder) : word;
  const whole = seenFrom(directory);
  const inside = within === '.' ? whole : seenFrom(resolvePath(within, directory));
  const read = words.slice(0, 1);
  const files = listOf(on.files);
  const scripts = listOf(on.scripts);
  const valued = valuedOf(nameOf(words[0] ?? ''));
  const behind = listOf(on.behind);
  const marked = (word: string): string => (on.at === true ? withMarked(word, whole) : word);
  const isBundle = on.bundle === true && words[1]?.startsWith('-') !== true;
  let operands = isBundle ? 1 : (on.operands ?? 0);
  /** Operands that are relative to the current directory of the command: the archive. */
  let outside = isBundle && words[1]?.includes('f') === true ? 1 : 0;
  let left = on.most ?? Number.POSITIVE_INFINITY;
  let folder: string | undefined;
  let isOption = true;
  for (let at = 1; at < words.length; at++) {
    const word = words[at] ?? '';
    if (isOption && word.startsWith('-') && word.length > 1) {
      isOption = word !== '--';
      const { name, value, takesNext } = optionOf(word, valued, files);
      if (listOf(on.instead).has(name)) operands = 0;
      if (scripts.has(name)) left = Number.POSITIVE_INFINITY;
      if (listOf(on.modules).has(name)) left = 0;
      if (on.into === true && (name === '-t' || name === '--target-directory')) {
        folder = value ?? words[at + 1];
        const cluster = name === '-t' ? word.slice(0, word.length - (value?.length ?? 0) - 1) : '';
        if (cluster.length > 1) read.push(cluster);
      } else {
        const isFile = files.has(name);
        const asFile = OUTPUT.has(name) ? inside : whole;
        read.push(isFile && value !== undefined ? word.slice(0, word.length - value.length) + asFile(value) : word);
        if (takesNext && at + 1 < words.length) read.push((isFile ? asFile : marked)(words[at + 1] ?? ''));
      }
      if (takesNext) at++;
    } else if (behind.has(words[at - 1] ?? '')) {
      read.push(whole(word));
    } else if (operands > 0) {
      operands--;
      read.push(marked(word));
    } else if (left > 0) {
      left--;
      const seen = outside-- > 0 ? whole : inside;
      const prefix = on.assigned?.find((prefix) => word.startsWith(prefix)) ?? '';
      read.push(on.assigned !== undefined && prefix === '' ? word : prefix + seen(word.slice(prefix.length)));
    } else {
      read.push(word);
    }
  }
  return folder === undefined ? read : [...read, `${whole(folder)}${folder.endsWith('/') ? '' : '/'}`];
}

/** Directories, without a trailing slash. */
const FOLDER =
  /^(?:\/|\/(?:etc|root|tmp|opt|srv|boot|dev\/shm|var\/(?:log|tmp|www)|home\/[^/]+|(?:usr\/)?(?:local\/)?(?:s?bin|lib))|\/etc\/[\w.-]+\.d)$/;
const COPYING_PROGRAMS = listOf('cp mv install ln rsync');
const MAX_SOURCES = 3;

/**
 * `cp /tmp/passwd /tmp/x /etc/` as `cp /tmp/passwd /etc/passwd` and `cp /tmp/x /etc/x`: one for each of the first sources, if the
 * target is certainly a directory.
 *
 * @param words with full paths
 */
export function withTargets(words: readonly string[]): readonly (readonly string[])[] {
  if (!COPYING_PROGRAMS.has(nameOf(words[0] ?? ''))) return [];
  const { options, operands } = partsOf(words) ?? { options: [], operands: [] };
  const target = operands.at(-1) ?? '';
  const isFolder = target.endsWith('/') ? target.startsWith('/') : FOLDER.test(target);
  if (!isFolder) return [];
  const folder = target.endsWith('/') ? target : `${target}/`;
  const sources = operands.slice(0, -1).filter((source) => !source.endsWith('/'));
  return sources
    .slice(0, MAX_SOURCES)
    .map((source) => [words[0] ?? '', ...options, source, `${folder}${nameOf(source)}`]);
}

/** The files that curl writes to the directory of --output-dir. */
const OUTPUT = listOf('-o --output');

/** The directory of a command's operands, if an option specifies it. */
function folderIn(words: readonly string[], on: OnFiles): string | undefined {
  if (on.within === undefined) return undefined;
  const options = listOf(on.within);
  const at = words.findIndex((word) => options.has(word));
  if (at >= 0) return words[at + 1];
  const long = words.find((word) => word.startsWith('--') && options.has(word.slice(0, word.indexOf('='))));
  return long?.slice(long.indexOf('=') + 1);
}

/** `@FILE`, `name=@FILE;type=text/plain`, `name=<FILE` */
function withMarked(word: string, whole: (word: string) => string): string {
  const [, mark = '', file = '', rest = ''] = /^(@|[^=@<]*=[@<])([^;,]+)(.*)$/.exec(word) ?? [];
  return mark === '' ? word : mark + whole(file) + rest;
}

/** `find -L FOLDER -name x`, `find -name x` */
function withStart(words: readonly string[], whole: (word: string) => string): readonly string[] {
  let from = 1;
  while (/^-[HLPDO]/.test(words[from] ?? '')) from += words[from] === '-D' ? 2 : 1;
  let to = from;
  while (to < words.length && !'-(!\\'.includes(words[to]?.[0] ?? '-')) to++;
  const start = to === from ? [whole('.')] : words.slice(from, to).map(whole);
  return [...words.slice(0, from), ...start, ...words.slice(to)];
}
