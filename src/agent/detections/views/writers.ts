/*
 * Files that a command writes, for any program: `sort -o /etc/passwd` reads as `tee /etc/passwd`, so that rules need only one
 * form. Programs for which rules check more than the file name, such as the copied content, are excluded: cp, mv, install, ln,
 * rsync, scp, sed -i, wget, curl -o. To add a program, add a line, and its options to
 * option-values.ts.
 */
import { firstAndLast } from './limits.ts';
import { valuedOf } from './option-values.ts';
import { listOf, optionOf } from './options.ts';
import { isDevice, isStandard, nameOf } from './paths.ts';
import { wrapperOf } from './wrappers.ts';

interface Writer {
  /** Options whose value is the written file. */
  readonly to?: string;
  /** Operands that are written: the first, the second, the last or all. */
  readonly operands?: 'first' | 'second' | 'last' | 'all';
  /** Only if one of these options is present. */
  readonly only?: string;
  /** Unless one of these options is present. */
  readonly unless?: string;
  /** The written file is the part of a word that this finds: `of=FILE`. */
  readonly behind?: RegExp;
}

const LINE_EDITOR: Writer = { operands: 'last', only: '-s -es -Es -sc' };
const SCREEN_EDITOR: Writer = { operands: 'last', only: '-s -es -Es -esc -Esc' };
const CAPTURING: Writer = { to: '-w' };
const TRACING: Writer = { to: '-o --output' };

const WRITERS: Readonly<Record<string, Writer>> = {
  sort: { to: '-o --output' },
  shuf: { to: '-o --output' },
  uniq: { operands: 'second' },
  iconv: { to: '-o --output' },
  xxd: { operands: 'second' },
  sponge: { operands: 'last' },
  patch: { to: '-o --output -r --reject-file', operands: 'first', unless: '--dry-run' },
  truncate: { operands: 'all' },
  dd: { behind: /^of=(.+)/ },
  sed: {}, // writtenBySed()
  socat: { behind: /^(?:(?:open|create|gopen|file):)?(\/[^,:]+)/i },
  openssl: { to: '-out --out -keyout --keyout', behind: /^--?(?:out|keyout)=(.+)/ },
  gpg: { to: '-o --output' },
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
  script: { to: '-O -B --log-out --log-io', operands: 'last' },
  logsave: { operands: 'first' },
  'lwp-download': { operands: 'second' },
  http: { to: '-o --output' },
  crudini: { operands: 'first', only: '--set --del --merge' },
  curl: {
    to: '-c --cookie-jar -D --dump-header --trace --trace-ascii --stderr --libcurl --etag-save --hsts --alt-svc',
  },
};

/** Whether a program can write a file in its arguments. */
export const writes = (program: string): boolean => Object.hasOwn(WRITERS, nameOf(program));

/** The files that a command writes according to its words, unresolved; the first and the last ones of many. */
export function filesWrittenBy(words: readonly string[]): readonly string[] {
  const name = nameOf(words[0] ?? '');
  const writer = Object.hasOwn(WRITERS, name) ? WRITERS[name] : undefined;
  if (writer === undefined) return [];
  if (name === 'sed') return firstAndLast(writtenBySed(words).filter(isFile));
  const to = listOf(writer.to);
  const only = listOf(writer.only);
  const unless = listOf(writer.unless);
  const valued = valuedOf(name);
  // The inner command of a wrapper has its own options.
  const isWrapper = wrapperOf(name) !== undefined;
  const files: string[] = [];
  const operands: string[] = [];
  let isOn = writer.only === undefined;
  let mayBeOption = true;
  for (let at = 1; at < words.length; at += 1) {
    const word = words[at] ?? '';
    const found = writer.behind?.exec(word)?.[1];
    if (found !== undefined) files.push(found);
    else if (!mayBeOption || !word.startsWith('-') || word.length === 1) {
      operands.push(word);
      if (isWrapper) break;
    } else if (word === '--') mayBeOption = false;
    else {
      if (unless.has(word)) return [];
      isOn ||= only.has(word);
      // For find and openssl, -fprint and -out are single options, not clusters.
      const option = to.has(word) ? { name: word, value: undefined, takesNext: true } : optionOf(word, valued, to);
      const value = option.value ?? (option.takesNext ? (words[at + 1] ?? '') : '');
      if (to.has(option.name)) files.push(value);
      if (option.takesNext) at += 1;
    }
  }
  if (!isOn) return [];
  return firstAndLast([...files, ...chosen(operands, writer.operands)].filter(isFile));
}

const SCRIPT = listOf('-e --expression');
const SCRIPT_FILE = listOf('-f --file');
/** At the end of a line of a script: `w FILE`, `s/…/…/w FILE`. The text before `w` is not part of a name or a string. */
const BEFORE_W = '(?:^|[^\\w\\\\\'".-]|[\\d_pgIMme])[wW]';
const LONGEST_NAME = 256;
const WRITING = new RegExp(`${BEFORE_W}(?:[ \\t]+([\\w./-]{1,${LONGEST_NAME}})|(/[\\w./-]{1,${LONGEST_NAME}}))$`);
const ENDS_WRITING = new RegExp(`${BEFORE_W}$`);
const NAME = /^[\w./][\w./-]*$/;

/** The files written by `w` commands of sed(1). If quotes are lost, such a file is the next word. */
function writtenBySed(words: readonly string[]): readonly string[] {
  const scripts: number[] = [];
  let first = 0;
  let isElsewhere = false;
  for (let at = 1; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (word === '--' || !word.startsWith('-')) {
      if (first === 0 && word !== '--') first = at;
      continue;
    }
    const { name, value, takesNext } = optionOf(word, valuedOf('sed'));
    if (takesNext) at += 1;
    isElsewhere ||= SCRIPT.has(name) || SCRIPT_FILE.has(name);
    if (SCRIPT.has(name) && (value !== undefined || takesNext)) scripts.push(at);
  }
  if (!isElsewhere) scripts.push(first);
  return scripts.flatMap((at) => {
    const lines = (words[at] ?? '').split('\n').map((line) => line.trimEnd().slice(-LONGEST_NAME - 16));
    const files = lines.map((line) => WRITING.exec(line)).map((found) => found?.[1] ?? found?.[2] ?? '');
    const next = words[at + 1] ?? '';
    return ENDS_WRITING.test((lines.at(-1) ?? '').slice(-2)) && NAME.test(next) ? [...files, next] : files;
  });
}

/** Excludes standard output, remote files, directories and devices. */
const isFile = (name: string): boolean =>
  name !== '' && name !== '-' && !name.includes(':') && !name.endsWith('/') && !isDevice(name);

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

/** Programs for which rules check the redirections themselves. */
const KNOWN = listOf('echo printf cat');
/** Programs that write logs to files, on systems without a log daemon. */
const LOGGING = listOf('logread journalctl dmesg');
const REDIRECTION = /(?:^| )([0-9]{1,4}|&)?(<>|>>?)&? ?(\/\S+)/g;
const INPUT = /(?:^| )[0-9]{0,4}<>? ?(\/\S+)/g;

interface Redirected {
  readonly file: string;
  readonly appends: boolean;
  /** Whether standard output is written there, as opposed to errors. */
  readonly isOutput: boolean;
}

/**
 * The files that redirections of a command write; the first and the last ones of many.
 *
 * @param redirections as text, with full paths
 */
export function filesWrittenBehind(program: string, redirections: string): readonly Redirected[] {
  if (redirections === '') return [];
  const isUsual = !program.includes('/') || isStandard(program);
  if (isUsual && KNOWN.has(nameOf(program))) return [];
  const isLog = isUsual && LOGGING.has(nameOf(program));
  return firstAndLast(
    [...redirections.matchAll(REDIRECTION)]
      .map(([, descriptor = '1', operator, file = '']) => ({
        file,
        appends: operator !== '>',
        isOutput: descriptor === '1' || descriptor === '&',
      }))
      .filter(({ file }) => isFile(file) && !(isLog && file.startsWith('/var/log/'))),
  );
}

/** The files that redirections read; the first and the last ones of many. */
export const filesReadBehind = (redirections: string): readonly string[] =>
  firstAndLast([...redirections.matchAll(INPUT)].map(([, file = '']) => file).filter(isFile));

/** Programs that print downloaded data. */
const FETCHERS = listOf('lynx links elinks w3m GET lwp-request lwp-download http https xh curl');
/** Options of curl with which it prints nothing or sends data. */
const KEEPING = /^(?:-[a-zA-Z]*[oOdFT]|--output|--remote-name|--data|--form|--upload|--json)/;

/** Whether a program writes downloaded data to a file in its arguments. */
export const isDownloader = (program: string): boolean => DOWNLOADERS.has(nameOf(program));
const DOWNLOADERS = listOf('lwp-download http https xh');

/** The URL from which a command prints or writes data, if any. */
export function addressFetchedBy(words: readonly string[]): string | undefined {
  const name = nameOf(words[0] ?? '');
  if (!FETCHERS.has(name) || (name === 'curl' && words.some((word) => KEEPING.test(word)))) return undefined;
  return words.find((word) => /^(?:https?|ftp):\/\//.test(word));
}
