/*
 * Files that a command writes, whatever program it is: `sort -o /etc/passwd` reads as `tee /etc/passwd`, so that rules need to
 * know one way only to write a file. Those with which rules judge more than the name of the file, such as what is copied there,
 * are not among them: cp, mv, install, ln, sed, wget, curl -o. To add a program, add a line, and its options to option-values.ts.
 */
import { valuedOf } from './option-values.ts';
import { listOf, optionOf } from './options.ts';
import { isDevice, nameOf } from './paths.ts';

interface Writer {
  /** Options whose value is written. */
  readonly to?: string;
  /** Operands that are written: the first, the second, the last or all. */
  readonly operands?: 'first' | 'second' | 'last' | 'all';
  /** Only if one of these options is there. */
  readonly only?: string;
  /** Written to is what stands behind one of these, in a word: `of=FILE`. */
  readonly behind?: RegExp;
}

const LINE_EDITOR: Writer = { operands: 'last', only: '-s -es -Es -sc' };
const SCREEN_EDITOR: Writer = { operands: 'last', only: '-es -Es -esc -Esc' };
const CAPTURING: Writer = { to: '-w' };
const TRACING: Writer = { to: '-o --output' };

const WRITERS: Readonly<Record<string, Writer>> = {
  sort: { to: '-o --output' },
  shuf: { to: '-o --output' },
  uniq: { operands: 'second' },
  iconv: { to: '-o --output' },
  xxd: { operands: 'second' },
  sponge: { operands: 'last' },
  patch: { to: '-o --output', operands: 'first' },
  truncate: { operands: 'all' },
  dd: { behind: /^of=(.+)/ },
  socat: { behind: /^(?:OPEN|CREATE|GOPEN):([^,]+)/i },
  openssl: { to: '-out -keyout' },
  gpg: { to: '-o --output' },
  rsync: { operands: 'last' },
  scp: { operands: 'last' },
  ed: { operands: 'last', only: '-s' },
  ex: LINE_EDITOR,
  vi: SCREEN_EDITOR,
  vim: SCREEN_EDITOR,
  nvim: SCREEN_EDITOR,
  strace: TRACING,
  ltrace: TRACING,
  tcpdump: CAPTURING,
  tshark: CAPTURING,
  dumpcap: CAPTURING,
  nmap: { to: '-oN -oG -oX -oA -oS' },
  find: { to: '-fprint -fprint0 -fprintf -fls' },
  script: { operands: 'last' },
  logsave: { operands: 'first' },
  'lwp-download': { operands: 'second' },
  http: { to: '-o --output' },
  crudini: { operands: 'first', only: '--set --del --merge' },
  curl: {
    to: '-c --cookie-jar -D --dump-header --trace --trace-ascii --stderr --libcurl',
  },
};

/** Files that one command writes are at most so many. */
const MAX_FILES = 4;

/** Whether a program can write a file that its words name. */
export const writes = (program: string): boolean => Object.hasOwn(WRITERS, nameOf(program));

/** The files that a command writes because of its words, as they are named; of many, the first ones. */
export function filesWrittenBy(words: readonly string[]): readonly string[] {
  const name = nameOf(words[0] ?? '');
  const writer = Object.hasOwn(WRITERS, name) ? WRITERS[name] : undefined;
  if (writer === undefined) return [];
  const to = listOf(writer.to);
  const valued = valuedOf(name);
  const only = listOf(writer.only);
  const files: string[] = [];
  const operands: string[] = [];
  let isOn = writer.only === undefined;
  for (let at = 1; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (!word.startsWith('-') || word.length === 1) {
      const found = writer.behind?.exec(word)?.[1];
      if (found !== undefined) files.push(found);
      else operands.push(word);
      continue;
    }
    isOn ||= only.has(word);
    const isWhole = to.has(word); // of `find` and `openssl`, -fprint and -out are whole options
    const {
      name: option,
      value,
      takesNext,
    } = isWhole ? { name: word, value: undefined, takesNext: true } : optionOf(word, valued, to);
    if (to.has(option)) files.push(value ?? words[at + 1] ?? '');
    if (takesNext) at += 1;
  }
  if (isOn) files.push(...chosen(operands, writer.operands));
  return isOn ? files.filter(isFile).slice(0, MAX_FILES) : [];
}

/** Not standard output, another machine, or a device. */
const isFile = (name: string): boolean => name !== '' && name !== '-' && !name.includes(':') && !isDevice(name);

function chosen(operands: readonly string[], which: Writer['operands']): readonly string[] {
  switch (which) {
    case 'all':
      return operands;
    case 'first':
      return operands.slice(0, 1);
    case 'second':
      return operands.slice(1, 2);
    case 'last':
      return operands.slice(-1);
    default:
      return [];
  }
}

/** What rules know the content of: for them a redirection is no mere name. */
const KNOWN_TEXTS: ReadonlySet<string> = new Set(['echo', 'printf', 'cat', ':', 'tee', 'true']);
const REDIRECTION = /(?:^| )[0-9&]?(>>?)\|? ?(\/\S+)/g;

/**
 * The files that redirections of a command write.
 *
 * @param redirections as text, with whole paths
 */
export function filesWrittenBehind(program: string, redirections: string): { file: string; appends: boolean }[] {
  if (redirections === '' || KNOWN_TEXTS.has(nameOf(program))) return [];
  return [...redirections.matchAll(REDIRECTION)]
    .map(([, operator, file = '']) => ({ file, appends: operator === '>>' }))
    .filter(({ file }) => isFile(file))
    .slice(0, MAX_FILES);
}

/** Programs that print what they fetch. */
const FETCHERS = listOf('lynx links elinks w3m GET lwp-request http https xh curl wget');

/** The address of what a command prints, if it fetches something. */
export const addressFetchedBy = (words: readonly string[]): string | undefined =>
  FETCHERS.has(nameOf(words[0] ?? '')) ? words.find((word) => /^(?:https?|ftp):\/\//.test(word)) : undefined;
