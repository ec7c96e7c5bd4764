/* Which words of a command are files, so that its view can name them with their folder. To add a program, add a line. */
import { listOf, optionOf, type Valued } from './options.ts';
import { nameOf, resolvePath } from './paths.ts';

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
}

const COPYING: OnFiles = { valued: 'St', long: 'suffix target-directory', into: true };
const OWNING: OnFiles = { operands: 1, instead: '--reference' };
const VI: OnFiles = { valued: 'cTuU', long: 'cmd' };

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
  rm: {},
  unlink: {},
  shred: { valued: 'ns', long: 'iterations size' },
  truncate: { valued: 'sr', long: 'size reference' },
  touch: { valued: 'dtr', long: 'date reference' },
  tee: {},
  insmod: {},
  mv: COPYING,
  cp: COPYING,
  ln: COPYING,
  install: { ...COPYING, valued: 'Stmog', long: 'suffix target-directory mode owner group' },
  rsync: { valued: 'eBTfM', long: 'rsh exclude include filter' },
  scp: { valued: 'cDFiJloPSX' },
  dd: { assigned: ['if=', 'of='] },
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
 * The words of a command with its files as seen from a directory, in the usual order: `cp -t FOLDER FILE` as
 * `cp FILE FOLDER`. The same words if that changes nothing.
 */
export function withWholePaths(words: readonly string[], directory: string | undefined): readonly string[] {
  const name = nameOf(words[0] ?? '');
  const on = Object.hasOwn(ON_FILES, name) ? ON_FILES[name] : undefined;
  if (on === undefined) return words;
  const whole = (word: string): string => (isRelative(word) ? resolvePath(word, directory) : word);
  const read = on.first === true ? withStart(words, whole) : withOperands(words, on, whole);
  return read.length === words.length && read.every((word, i) => word === words[i]) ? words : read;
}

function withOperands(words: readonly string[], on: OnFiles, whole: (word: string) => string): readonly string[] {
  const read = words.slice(0, 1);
  let { operands = 0 } = on;
  let folder: string | undefined;
  let isOption = true;
  for (let at = 1; at < words.length; at++) {
    const word = words[at] ?? '';
    if (isOption && word.startsWith('-') && word.length > 1) {
      isOption = word !== '--';
      const { name, value, takesNext } = optionOf(word, on);
      if (listOf(on.instead).has(name)) operands = 0;
      if (on.into === true && (name === '-t' || name === '--target-directory')) {
        folder = value ?? words[at + 1];
        const cluster = name === '-t' ? word.slice(0, word.length - (value?.length ?? 0) - 1) : '';
        if (cluster.length > 1) read.push(cluster);
      } else {
        read.push(word);
        if (takesNext && at + 1 < words.length) read.push(words[at + 1] ?? '');
      }
      if (takesNext) at++;
    } else if (operands > 0) {
      operands--;
      read.push(word);
    } else {
      const prefix = on.assigned?.find((prefix) => word.startsWith(prefix)) ?? '';
      read.push(on.assigned !== undefined && prefix === '' ? word : prefix + whole(word.slice(prefix.length)));
    }
  }
  return folder === undefined ? read : [...read, `${whole(folder)}${folder.endsWith('/') ? '' : '/'}`];
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
