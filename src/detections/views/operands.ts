/* Which words of a command are files, so that its view can name them with their folder. To add a program, add a line. */
import { MAX_WRAPPERS } from './limits.ts';
import { listOf, optionOf, type Valued } from './options.ts';
import { nameOf, resolvePath } from './paths.ts';
import { unwrap, wrapperOf } from './wrappers.ts';

/** Of a program that works on files. All its operands are files, but for those that this says. */
interface OnFiles extends Valued {
  /** How many operands stand before the files: 1 for `chmod 755 FILE`. */
  readonly operands?: number;
  /** Options that take the place of those operands: `sed -e SCRIPT FILE`. */
  readonly instead?: string;
  /** `-t FOLDER FILE` means `FILE FOLDER`. */
  readonly into?: true;
  /** Files stand behind these: `of=FILE`. */
  readonly assigned?: readonly string[];
  /** Only the operands before the first option or expression are files; without one, it is the current folder. */
  readonly first?: true;
  /** So many operands are files; later ones are not … */
  readonly most?: number;
  /** … unless one of these options is there, whose value is a script. */
  readonly scripts?: string;
  /** Options whose value is a file or folder. */
  readonly files?: string;
  /** Words behind which a file stands: `obj FILE`. */
  readonly behind?: string;
  /** A file may stand behind `@`: `curl -F x=@FILE`. */
  readonly at?: true;
  /** The first word may be options without a dash: `tar cf ARCHIVE FILE`. */
  readonly bundle?: true;
}

const COPYING: OnFiles = { valued: 'St', long: 'suffix target-directory', into: true };
const OWNING: OnFiles = { operands: 1, instead: '--reference' };
const VI: OnFiles = { valued: 'cTuU', long: 'cmd' };

const SEARCHING: OnFiles = {
  valued: 'mABCDd',
  long: 'max-count after-context before-context context include exclude exclude-dir',
  operands: 1,
  files: '-f --file',
  instead: '-e -f --regexp --file',
};
/** None of its operands is a file, but for what else the line says. */
const ALL = Number.POSITIVE_INFINITY;
const HOME: OnFiles = { valued: 'bceEfgGkKpRsuZP', operands: ALL, files: '-d -h --home --home-dir' };
const LINKING: OnFiles = { operands: ALL, behind: 'obj object object-file object_file' };
const SCRIPT: OnFiles = { valued: 'cmWX', most: 1 };
const FORMATTING: OnFiles = { valued: 'bCdeEfgGiIjJlLmMnNoOrtTUVvz', long: 'type label uuid pagesize', most: 1 };

/** Parts of compilers: rules look at the compiler. */
const COMPILING: OnFiles = { operands: ALL };

const ON_FILES: Readonly<Record<string, OnFiles>> = {
  cat: {},
  tac: { valued: 's' },
  head: { valued: 'nc', long: 'lines bytes' },
  tail: { valued: 'ncs', long: 'lines bytes' },
  nl: { valued: 'bdfhilnsvw' },
  base64: { valued: 'w', long: 'wrap' },
  xxd: { valued: 'clgos' },
  strings: { valued: 'nteT' },
  unshadow: {},
  less: {},
  more: {},
  od: { valued: 'AjNStw' },
  hexdump: { valued: 'efns' },
  rev: {},
  cut: { valued: 'bcdf', long: 'bytes characters delimiter fields output-delimiter' },
  sort: { valued: 'koStT' },
  grep: SEARCHING,
  egrep: SEARCHING,
  fgrep: SEARCHING,
  awk: { valued: 'Fv', operands: 1, files: '-f --file', instead: '-f --file' },
  tar: {
    valued: 'bHIKLNVX',
    long: 'exclude to-command use-compress-program transform',
    files: '-f --file -C --directory -T --files-from',
    bundle: true,
  },
  zip: { valued: 'bnPtx', bundle: true },
  rm: {},
  unlink: {},
  shred: { valued: 'ns', long: 'iterations size' },
  truncate: { valued: 'sr', long: 'size reference' },
  touch: { valued: 'dtr', long: 'date reference' },
  tee: {},
  sponge: {},
  setfacl: { valued: 'mMxX', long: 'modify remove set' },
  crontab: { valued: 'cu' },
  newusers: { valued: 'R' },
  useradd: HOME,
  adduser: HOME,
  usermod: { ...HOME, valued: 'ceEfgGlpPRsuvVwWZ' },
  'systemd-sysusers': {},
  logrotate: { valued: 'lms', long: 'state log mail' },
  auditctl: { operands: ALL, files: '-R' },
  'iptables-restore': { valued: 'TMw' },
  'ip6tables-restore': { valued: 'TMw' },
  nft: { operands: ALL, files: '-f --file' },
  bpftool: { operands: 2 },
  ip: LINKING,
  tc: LINKING,
  openvpn: { files: '--config' },
  stunnel: {},
  stunnel4: {},
  patchelf: {
    long: 'set-interpreter set-rpath add-rpath add-needed remove-needed replace-needed set-soname page-size output',
  },
  'dpkg-divert': { files: '--divert --admindir', long: 'package' },
  mount: { valued: 'LNotTU', long: 'label namespace options types uuid' },
  umount: { valued: 'NOt' },
  wipefs: { valued: 'otp', long: 'offset types' },
  blkdiscard: { valued: 'olps', long: 'offset length step' },
  nandwrite: { valued: 'bos' },
  flash_erase: { most: 1 },
  flash_eraseall: { most: 1 },
  ubiformat: { valued: 'bFnOQsxe', most: 1 },
  parted: { valued: 'a', most: 1 },
  nvme: { operands: 1, most: 1 },
  cryptsetup: { valued: 'chsdlTyiSM', long: 'cipher hash key-size type iter-time', operands: 1, most: 2 },
  mkfs: FORMATTING,
  mke2fs: FORMATTING,
  mkswap: FORMATTING,
  insmod: {},
  mv: COPYING,
  cp: COPYING,
  ln: COPYING,
  install: { ...COPYING, valued: 'Stmog', long: 'suffix target-directory mode owner group' },
  rsync: { valued: 'eBTfM', long: 'rsh exclude include filter' },
  scp: { valued: 'cDFiJloPSX' },
  dd: { assigned: ['if=', 'of='] },
  curl: {
    valued: 'AbcCdDeEFhHKmoPQrtTuUwxXyYz',
    operands: ALL,
    files: '-T --upload-file -o --output --output-dir -K --config -c --cookie-jar',
    at: true,
  },
  wget: {
    operands: ALL,
    files: '-O --output-document -P --directory-prefix --post-file --body-file -i --input-file -o --output-file',
  },
  tftp: { operands: ALL, files: '-l' },
  atftp: { operands: ALL, files: '-l --local-file' },
  ftpput: { valued: 'upP', operands: 2 },
  ftpget: { valued: 'upP', operands: 1, most: 1 },
  aws: { operands: 2 },
  rclone: { operands: 1 },
  python: SCRIPT,
  python3: SCRIPT,
  perl: { valued: 'CDFImMx', most: 1, scripts: '-e -E' },
  php: { valued: 'drBRE', files: '-f', most: 1 },
  ruby: { valued: 'EIr', most: 1, scripts: '-e' },
  cc1: COMPILING,
  cc1plus: COMPILING,
  as: COMPILING,
  ld: COMPILING,
  collect2: COMPILING,
  chmod: { operands: 1, instead: '--reference -x -w -r -s -t -rw -rx -wx -rwx' },
  chown: OWNING,
  chgrp: OWNING,
  chattr: { valued: 'vp' },
  sed: { operands: 1, valued: 'efl', long: 'expression file line-length', instead: '-e -f --expression --file' },
  find: { first: true },
  ed: { valued: 'p' },
  vi: VI,
  vim: VI,
  ex: VI,
  nvim: VI,
  nano: { valued: 'CJoQrsTXY' },
  emacs: {},
  joe: {},
  mcedit: {},
};

/** How files are written whose folder may be the current one. Others are absolute, on another machine, or not known. */
export const isRelative = (word: string): boolean =>
  word !== '' && !'/-+~$<({'.includes(word[0] ?? '') && !word.includes(':') && !word.includes('=');

/**
 * The words of a command, and of those that it starts, with its files as seen from a directory, in the usual order:
 * `cp -t FOLDER FILE` as `cp FILE FOLDER`. The same words if that changes nothing.
 */
export function withWholePaths(words: readonly string[], directory: string | undefined, depth = 0): readonly string[] {
  const name = nameOf(words[0] ?? '');
  const on = onFiles(name);
  const whole = (word: string): string => (isRelative(word) ? resolvePath(word, directory) : word);
  if (on?.first === true) return same(words, withStart(words, whole));
  if (on !== undefined) return same(words, withOperands(words, on, whole));
  const wrapper = wrapperOf(name);
  if (wrapper === undefined && !words.some(isDotted)) return words;
  const inner = wrapper === undefined || depth >= MAX_WRAPPERS ? undefined : unwrap(wrapper, words, 0);
  const read = words.map((word) => (isDotted(word) ? whole(word) : word));
  if (inner !== undefined && inner.directory === undefined && inner.at < words.length)
    read.splice(inner.at, Number.POSITIVE_INFINITY, ...withWholePaths(read.slice(inner.at), directory, depth + 1));
  return same(words, read);
}

const onFiles = (name: string): OnFiles | undefined =>
  Object.hasOwn(ON_FILES, name) ? ON_FILES[name] : name.startsWith('mkfs.') ? FORMATTING : undefined;

/** Whether a word can only be a path that begins in the current folder or above it. */
const isDotted = (word: string): boolean => word.startsWith('./') || word.startsWith('../');

const same = (words: readonly string[], read: readonly string[]): readonly string[] =>
  read.length === words.length && read.every((word, i) => word === words[i]) ? words : read;

function withOperands(words: readonly string[], on: OnFiles, whole: (word: string) => string): readonly string[] {
  const read = words.slice(0, 1);
  const files = listOf(on.files);
  const scripts = listOf(on.scripts);
  const behind = listOf(on.behind);
  const marked = (word: string): string => (on.at === true ? withMarked(word, whole) : word);
  let operands = on.bundle === true && words[1]?.startsWith('-') !== true ? 1 : (on.operands ?? 0);
  let left = on.most ?? Number.POSITIVE_INFINITY;
  let folder: string | undefined;
  let isOption = true;
  for (let at = 1; at < words.length; at++) {
    const word = words[at] ?? '';
    if (isOption && word.startsWith('-') && word.length > 1) {
      isOption = word !== '--';
      const { name, value, takesNext } = optionOf(word, on, on.scripts === undefined ? files : scripts);
      if (listOf(on.instead).has(name)) operands = 0;
      if (scripts.has(name)) left = Number.POSITIVE_INFINITY;
      if (on.into === true && (name === '-t' || name === '--target-directory')) {
        folder = value ?? words[at + 1];
        const cluster = name === '-t' ? word.slice(0, word.length - (value?.length ?? 0) - 1) : '';
        if (cluster.length > 1) read.push(cluster);
      } else {
        const isFile = files.has(name);
        read.push(isFile && value !== undefined ? word.slice(0, word.length - value.length) + whole(value) : word);
        if (takesNext && at + 1 < words.length) read.push((isFile ? whole : marked)(words[at + 1] ?? ''));
      }
      if (takesNext) at++;
    } else if (behind.has(words[at - 1] ?? '')) {
      read.push(whole(word));
    } else if (operands > 0) {
      operands--;
      read.push(marked(word));
    } else if (left > 0) {
      left--;
      const prefix = on.assigned?.find((prefix) => word.startsWith(prefix)) ?? '';
      read.push(on.assigned !== undefined && prefix === '' ? word : prefix + whole(word.slice(prefix.length)));
    } else {
      read.push(word);
    }
  }
  return folder === undefined ? read : [...read, `${whole(folder)}${folder.endsWith('/') ? '' : '/'}`];
}

/** `@FILE`, `name=@FILE` */
function withMarked(word: string, whole: (word: string) => string): string {
  const at = word.indexOf('@');
  const isMark = at === 0 || word[at - 1] === '=';
  return isMark ? word.slice(0, at + 1) + whole(word.slice(at + 1)) : word;
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
