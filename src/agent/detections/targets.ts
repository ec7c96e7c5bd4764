import type { View } from './subject.ts';
import { listOf, optionOf, type Valued } from './views/options.ts';

/* Two additional fields without a name in any taxonomy: the file that a download writes (DownloadTarget), and the file that a
 * start runs (RunTarget). A correlation compares them to find a file that was downloaded and then executed.
 */

interface Downloader extends Valued {
  /** Options whose value is the output file. */
  readonly output?: string;
  /** Options whose value is the output directory. */
  readonly folder?: string;
  /** Whether it writes to standard output by default. */
  readonly prints?: true;
  /** Whether the query of a URL is part of the file's name. */
  readonly keepsQuery?: true;
}
const WGET: Downloader = {
  valued: 'aABDeiIloOPQRtTUwX',
  output: '-O --output-document',
  folder: '-P --directory-prefix',
  keepsQuery: true,
};
/** Programs that take URLs as arguments. */
const OF_URLS: Readonly<Record<string, Downloader>> = {
  wget: WGET,
  wget2: WGET,
  curl: { valued: 'AbcCdDeEFHKmoPQrtTuUwxXyYz', output: '-o --output', folder: '--output-dir', prints: true },
  'uclient-fetch': { valued: 'OPTUY', output: '-O --output-document' },
  aria2c: { valued: 'dijklmMosStTUxX', output: '-o --out', folder: '-d --dir' },
  axel: { valued: 'acHnosSTU', output: '-o --output' },
  fetch: { valued: 'BiNoSTw', output: '-o' },
};
const TFTP: Downloader = { valued: 'lrbc', output: '-l --local-file' };
/** Programs that copy between machines: `HOST:FILE … TO`. */
const COPYING: Readonly<Record<string, Valued>> = {
  scp: { valued: 'cDFiJloPSX' },
  rsync: { valued: 'BefMT', long: 'rsh exclude include filter port password-file' },
  sftp: { valued: 'BbcDFiJloPRSsX' },
};
const NCFTPGET: Valued = { valued: 'dfjopPruW' };
const LFTP_GET: Valued = { valued: 'noOP' };
const DOWNLOADERS: ReadonlySet<string> = new Set([
  ...[...Object.keys(OF_URLS), ...Object.keys(COPYING)],
  ...['tftp', 'atftp', 'ftpget', 'ncftpget', 'lftp', 'lwp-download'],
]);
/** Maximum number of files of a start. */
const MAX_TARGETS = 4;
const INTERPRETER =
  /^(?:(?:ba|da|a|z|k|c)?sh|python[0-9.]*|perl[0-9.]*|php[0-9.]*|node|ruby[0-9.]*|lua[0-9.]*|source|\.)$/;
const LOADER = /^ld(?:-linux|-musl|-uClibc)?[\w.-]*\.so/;
const OUTPUT_DEVICE = /^\/dev\/(?:null|std\w+|fd\/|tty)/;
/** Length of a command line in characters, and number of words, beyond which the rest is ignored. */
const MAX_LINE_CHARACTERS = 4_096;
const MAX_WORDS = 200;

/** The first few files that a download program writes; empty if it writes to standard output. */
export function downloadTargets({ Image, CommandLine, CurrentDirectory }: View): readonly string[] {
  const tool = basename(Image);
  if (!DOWNLOADERS.has(tool)) return [];
  const written = writtenBy(tool, CommandLine).filter((file) => !['', '-'].includes(file) && !OUTPUT_DEVICE.test(file));
  const files = new Set(written.map((file) => absolute(file, CurrentDirectory)));
  return [...files].slice(0, MAX_TARGETS);
}

function writtenBy(tool: string, line: string): readonly string[] {
  const words = wordsOf(line).slice(1);
  const [copying, ofUrls] = [COPYING[tool], OF_URLS[tool]];
  if (copying !== undefined) return copied(operandsOf(words, copying));
  // Huawei's BusyBox: wget -g HOST -l FILE -r PATH
  const isTftp = tool.endsWith('tftp') || (tool === 'wget' && words.includes('-g'));
  if (isTftp) return writtenByTftp(words);
  if (ofUrls !== undefined) return fetched(words, ofUrls);
  if (tool === 'lftp')
    return line
      .slice(0, MAX_LINE_CHARACTERS)
      .split(/[;&\n]/)
      .flatMap((command) => gotByLftp(wordsOf(command)));
  if (tool === 'lwp-download') {
    const [url = '', file] = operandsOf(words, {});
    return [file ?? nameOfUrl(url)];
  }
  if (tool === 'ncftpget') {
    const [first = '', folder = '', ...remote] = operandsOf(words, NCFTPGET);
    return first.includes('://') ? [basename(first)] : remote.map((file) => `${folder}/${basename(file)}`);
  }
  const [, local, remote] = operandsOf(words, { valued: 'upP' }); // ftpget
  return [local ?? remote ?? ''];
}

function fetched(words: readonly string[], tool: Downloader): readonly string[] {
  const outputs = valuesOf(words, tool, tool.output);
  const isNamed = words.some((word) => /^-[a-zA-Z]*O|^--remote-name/.test(word));
  const hasNames = tool.prints === true ? isNamed : outputs.length === 0;
  const files = hasNames ? [...outputs, ...namesOfUrls(words, tool)] : outputs;
  const [folder] = valuesOf(words, tool, tool.folder);
  return folder === undefined
    ? files
    : files.map((file) => (file === '-' || file.startsWith('/') ? file : `${folder}/${file}`));
}

function writtenByTftp(words: readonly string[]): readonly string[] {
  const [local] = valuesOf(words, TFTP, TFTP.output);
  const [remote] = valuesOf(words, TFTP, '-r --remote-file');
  const get = words.indexOf('get');
  const [of, to] = get === -1 ? [remote, local] : words.slice(get + 1);
  return [to ?? basename(of ?? '')];
}

/** If the last word can be the file or its directory, both are returned. */
function copied(files: readonly string[]): readonly string[] {
  const remote = files.filter(isRemote);
  const to = files.at(-1) ?? '';
  const names = remote.map((file) => basename(file.slice(file.lastIndexOf(':') + 1))).filter((name) => name !== '');
  if (names.length === 0) return [];
  if (isRemote(to)) return files.length === 1 ? names : []; // sftp HOST:FILE
  const within = names.map((name) => `${to}/${name}`);
  return to.endsWith('/') || to === '.' || remote.length > 1 ? within : [to, ...within];
}

const isRemote = (file: string): boolean => /^[^/]+:/.test(file);

/** `get FILE -o FILE`, `pget URL` and the like, in a command of lftp. */
function gotByLftp(words: readonly string[]): readonly string[] {
  const get = words.findIndex((word) => /^[mp]?get1?$/.test(word));
  if (get === -1) return [];
  const rest = words.slice(get + 1);
  const [file] = valuesOf(rest, LFTP_GET, '-o');
  const [folder] = valuesOf(rest, LFTP_GET, '-O');
  if (file !== undefined) return [file];
  return operandsOf(rest, LFTP_GET).map((each) => (folder === undefined ? '' : `${folder}/`) + basename(each));
}

/** The executed file: the program, or the script passed to an interpreter. */
export function runTarget({ Image, CommandLine, CurrentDirectory }: View): string | undefined {
  const name = basename(Image);
  if (INTERPRETER.test(name) || LOADER.test(name)) {
    const script = wordsOf(CommandLine)
      .slice(1)
      .find((word) => !word.startsWith('-') || word === '-c' || word === '-e' || word === '-m');
    return script === undefined || script.startsWith('-') ? undefined : absolute(script, CurrentDirectory);
  }
  const given = fileOf(name, wordsOf(CommandLine).slice(1));
  if (given !== undefined) return absolute(given, CurrentDirectory);
  if (Image.startsWith('/')) return absolute(Image, CurrentDirectory);
  const [called = ''] = wordsOf(CommandLine);
  return called.includes('/') ? absolute(called, CurrentDirectory) : undefined;
}

/** The file whose code another program executes: Java, the kernel, a package manager. */
function fileOf(program: string, words: readonly string[]): string | undefined {
  if (program === 'java') return valuesOf(words, {}, '-jar')[0];
  if (program === 'insmod') return operandsOf(words, {})[0];
  const isInstalling = program === 'dpkg' && words.some((word) => /^-i$|^--install$/.test(word));
  return isInstalling ? operandsOf(words, {})[0] : undefined;
}

/** The values of options: `-O file`, `-Ofile`, `-qO file`, `--long file`, `--long=file`. */
function valuesOf(words: readonly string[], of: Valued, options = ''): string[] {
  const values: string[] = [];
  const names = listOf(options);
  for (const [index, word] of words.entries()) {
    if (!word.startsWith('-')) continue;
    const { name, value } = optionOf(word, of);
    const found = names.has(name) ? (value ?? words[index + 1]) : undefined;
    if (found !== undefined) values.push(found);
  }
  return values;
}

function operandsOf(words: readonly string[], of: Valued): string[] {
  const operands: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (!word.startsWith('-')) operands.push(word);
    else if (optionOf(word, of).takesNext) at++;
  }
  return operands;
}

/** The names of the output files of all URLs. */
function namesOfUrls(words: readonly string[], of: Downloader): readonly string[] {
  const operands = operandsOf(words, of);
  const whole = operands.filter((word) => /^(?:https?|ftps?):\/\//i.test(word));
  const urls = whole.length > 0 ? whole : operands.filter((word) => /\..*\//.test(word));
  return urls.slice(0, MAX_TARGETS).map((url) => nameOfUrl(url, of.keepsQuery));
}

function nameOfUrl(url: string, keepsQuery = false): string {
  const [path = ''] = url.replace(/^[a-z]+:\/\//i, '').split('#', 1);
  const [file = ''] = path.split('?', 1);
  const name = file.includes('/') ? basename(file) : '';
  return (name === '' ? 'index.html' : name) + (keepsQuery ? path.slice(file.length) : '');
}

function wordsOf(line: string): readonly string[] {
  return line
    .slice(0, MAX_LINE_CHARACTERS)
    .split(/\s+/, MAX_WORDS)
    .filter((word) => word !== '')
    .map((word) => word.replace(/^["']|["']$/g, ''));
}

const basename = (path: string) => path.slice(path.lastIndexOf('/') + 1);

/** The path without `.`, `..` and double slashes; a relative one follows the working directory if that is known. */
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
