import type { View } from './subject.ts';

/* Two fields that no taxonomy has: which file a download writes (DownloadTarget), and which file a start runs (RunTarget).
 * A correlation compares them, to find a file that was downloaded and then run.
 */

/** Options that take the next argument, or the rest of their own, as the file that is written. */
const OUTPUT: Readonly<Record<string, { readonly short: string; readonly long: readonly string[] }>> = {
  wget: { short: 'O', long: ['--output-document'] },
  curl: { short: 'o', long: ['--output'] },
  'uclient-fetch': { short: 'O', long: ['--output-document'] },
  aria2c: { short: 'o', long: ['--out'] },
  axel: { short: 'o', long: ['--output'] },
  fetch: { short: 'o', long: [] },
};
const DOWNLOADERS: ReadonlySet<string> = new Set([...Object.keys(OUTPUT), 'tftp', 'ftpget', 'scp']);
const FOLDER: Readonly<Record<string, { readonly short: string; readonly long: readonly string[] }>> = {
  wget: { short: 'P', long: ['--directory-prefix'] },
  curl: { short: '', long: ['--output-dir'] },
  aria2c: { short: 'd', long: ['--dir'] },
};
const INTERPRETER =
  /^(?:(?:ba|da|a|z|k|c)?sh|python[0-9.]*|perl[0-9.]*|php[0-9.]*|node|ruby[0-9.]*|lua[0-9.]*|source|\.)$/;
const LOADER = /^ld(?:-linux|-musl|-uClibc)?[\w.-]*\.so/;
const OUTPUT_DEVICE = /^\/dev\/(?:null|std\w+|fd\/|tty)/;
/** Of a command line; more words are not looked at. */
const MOST_WORDS = 200;

/** The file that a download program writes to; `undefined` if it is none, or writes to its output. */
export function downloadTarget({ Image, CommandLine, CurrentDirectory }: View): string | undefined {
  const tool = basename(Image);
  if (!DOWNLOADERS.has(tool)) return undefined;
  const words = wordsOf(CommandLine).slice(1);
  const target = written(tool, words);
  if (target === undefined || target === '' || target === '-' || OUTPUT_DEVICE.test(target)) return undefined;
  return absolute(target, CurrentDirectory);
}

function written(tool: string, words: readonly string[]): string | undefined {
  const output = OUTPUT[tool];
  if (output !== undefined) {
    const file = option(words, output.short, output.long);
    const folder = FOLDER[tool];
    const into = folder === undefined ? undefined : option(words, folder.short, folder.long);
    const named =
      file ??
      (tool === 'curl' && !words.some((word) => /^-[a-zA-Z]*O|^--remote-name/.test(word)) ? '-' : fromUrl(words));
    return into === undefined || named === undefined || named === '-' || named.startsWith('/')
      ? named
      : `${into}/${named}`;
  }
  if (tool === 'tftp') {
    const remote = option(words, 'r', []);
    const get = words.indexOf('get');
    return option(words, 'l', []) ?? (get === -1 ? remote : (words[get + 2] ?? words[get + 1]));
  }
  if (tool === 'ftpget') {
    const [, local, remote] = words.filter(
      (word, index) => !word.startsWith('-') && !/^-[upP]$/.test(words[index - 1] ?? ''),
    );
    return local ?? remote;
  }
  if (tool === 'scp') {
    const files = words.filter((word) => !word.startsWith('-'));
    const [from = '', to = ''] = files.slice(-2);
    if (!from.includes(':') || to.includes(':')) return undefined;
    return to.endsWith('/') || to === '.' ? `${to}/${basename(from)}` : to;
  }
  return undefined;
}

/** The file that is run: the program, or the script that an interpreter gets. */
export function runTarget({ Image, CommandLine, CurrentDirectory }: View): string | undefined {
  const name = basename(Image);
  if (INTERPRETER.test(name) || LOADER.test(name)) {
    const script = wordsOf(CommandLine)
      .slice(1)
      .find((word) => !word.startsWith('-') || word === '-c' || word === '-e' || word === '-m');
    return script === undefined || script.startsWith('-') ? undefined : absolute(script, CurrentDirectory);
  }
  if (Image.startsWith('/')) return absolute(Image, CurrentDirectory);
  const [called = ''] = wordsOf(CommandLine);
  return called.includes('/') ? absolute(called, CurrentDirectory) : undefined;
}

/** The value of an option: `-O file`, `-Ofile`, `-qO file`, `--long file`, `--long=file`. */
function option(words: readonly string[], short: string, long: readonly string[]): string | undefined {
  for (const [index, word] of words.entries()) {
    for (const name of long) {
      if (word === name) return words[index + 1];
      if (word.startsWith(`${name}=`)) return word.slice(name.length + 1);
    }
    if (short === '' || !/^-[A-Za-z]/.test(word)) continue;
    const at = word.indexOf(short);
    if (at > 0 && /^-[A-Za-z0-9]*$/.test(word.slice(0, at)))
      return at + 1 < word.length ? word.slice(at + 1) : words[index + 1];
  }
  return undefined;
}

function fromUrl(words: readonly string[]): string | undefined {
  const url =
    words.find((word) => /^(?:https?|ftp):\/\//i.test(word)) ?? words.find((word) => /^[^-].*\..*\//.test(word));
  if (url === undefined) return undefined;
  const [path = ''] = url.replace(/^[a-z]+:\/\//i, '').split(/[?#]/, 1);
  return path.includes('/') ? basename(path) : 'index.html';
}

function wordsOf(line: string): readonly string[] {
  return line
    .slice(0, 4_096)
    .split(/\s+/, MOST_WORDS)
    .filter((word) => word !== '')
    .map((word) => word.replace(/^["'](.*)["']$/, '$1'));
}

const basename = (path: string) => path.slice(path.lastIndexOf('/') + 1);

/** The path without `.`, `..` and double slashes; of a relative one, after the working directory if it is known. */
function absolute(path: string, directory: string | undefined): string {
  const whole = path.startsWith('/') || directory === undefined ? path : `${directory}/${path}`;
  const parts: string[] = [];
  for (const part of whole.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..' && parts.length > 0) parts.pop();
    else parts.push(part);
  }
  return (whole.startsWith('/') ? '/' : '') + parts.join('/');
}
