/* Commands in the code of a scripting language: `python -c 'import os; os.system("id")'`. The code is not parsed; a string
 * literal that is an argument of a function with such a name is treated as a command. */
import { isNameCharacter, isNameStart } from './characters.ts';
import { decodeBase64, decodeHex } from './decoding.ts';
import { decodeEscapes } from './escapes.ts';
import { firstAndLast, type Work } from './limits.ts';
import { listOf } from './options.ts';
import { isDevice } from './paths.ts';

/** Functions that run a command, by the last part of their name. */
const EXECUTING = listOf(
  'system exec popen spawn run call check_call check_output Popen getoutput getstatusoutput execl execle execlp ' +
    'execlpe execv execve execvp execvpe spawnl spawnlp spawnv spawnvp posix_spawn posix_spawnp shell_exec ' +
    'passthru proc_open pcntl_exec execSync execFile execFileSync spawnSync execute qx capture2 capture3 popen2 ' +
    'popen3 create_subprocess_shell create_subprocess_exec backtick syscmd',
);

const PRINTING = listOf('print puts echo write log say');

/**
 * Functions that write a file, and the position of the file among their arguments: first, last, last if all are paths, or next
 * to a mode.
 */
const WRITING: Readonly<Record<string, 'first' | 'last' | 'paths' | 'mode'>> = {
  ...{ open: 'mode', fopen: 'mode', openSync: 'mode', sysopen: 'mode' },
  ...{ file_put_contents: 'first', writeFileSync: 'first', appendFileSync: 'first', writeFile: 'first' },
  ...{ appendFile: 'first', createWriteStream: 'first', write_file: 'first' },
  ...{ copy: 'last', copyfile: 'last', copy2: 'last', move: 'last', rename: 'last', copyFileSync: 'last' },
  ...{ renameSync: 'last', copyFile: 'last', cp: 'last', mv: 'last' },
  ...{ urlretrieve: 'last', getstore: 'last', mirror: 'last', symlink: 'last', link: 'last', symlinkSync: 'last' },
  ...{ linkSync: 'last', cpSync: 'last', ln_s: 'last', copy_stream: 'last', replace: 'paths' },
  ...{ binwrite: 'first', writefile: 'first', SplFileObject: 'mode' },
};
/** Flags of open(2) for writing. */
const WRITES = /^O_(?:WRONLY|RDWR|CREAT|APPEND|TRUNC)$/;
/** Perl: new IO::File('>>FILE'). */
const OPENED = /^\+?>>?\s*(\/\S+)$/;
/** Pseudo-function for the output of awk: `print "x" > "FILE"`. */
const REDIRECTION = '>';

/** Functions that decode their argument, with the decoder. */
const DECODING: Readonly<Record<string, (text: string) => string | undefined>> = {
  ...{ b64decode: decodeBase64, base64_decode: decodeBase64, decode_base64: decodeBase64, decode64: decodeBase64 },
  ...{
    urlsafe_b64decode: decodeBase64,
    standard_b64decode: decodeBase64,
    decodebytes: decodeBase64,
    atob: decodeBase64,
  },
  ...{
    strict_decode64: decodeBase64,
    unhexlify: decodeHex,
    fromhex: decodeHex,
    a2b_hex: decodeHex,
    hex2bin: decodeHex,
  },
  ...{ a2b_base64: decodeBase64, str_rot13: rot13, pack: decodeHex, from: decodeBase64 },
};

/** Functions whose result contains the text of their arguments. */
const TRANSPARENT = listOf(
  'join decode encode str bytes bytearray format concat toString String list tuple split strip unescape compile ' +
    'eval exec Array sprintf array implode strrev',
);

const URL = /^(?:https?|ftp):\/\/[^\s"'`]+$/;

const BEFORE_OPERAND = listOf('b r u f rb br B R U F');
const MAX_FINDINGS = 24;

export type Finding =
  | { readonly is: 'script'; readonly text: string }
  | { readonly is: 'command'; readonly words: readonly string[] }
  | { readonly is: 'code'; readonly text: string }
  /** Output of the code. */
  | { readonly is: 'printed'; readonly text: string };

interface CodeFindings {
  /** All commands and decoded strings, in order. */
  readonly findings: readonly Finding[];
  /** Files that the code writes: the first and the last ones. */
  readonly files: readonly string[];
  /** The first URL in the code. */
  readonly url: string | undefined;
}

const KNOWN: ReadonlySet<string> = new Set([
  ...EXECUTING,
  ...PRINTING,
  ...Object.keys(DECODING),
  ...Object.keys(WRITING),
]);

/** The commands, the URL and the written files of the code. */
export function findCommands(code: string, work: Work): CodeFindings {
  return work.spend(code.length) ? new Finder(code).find() : { findings: [], files: [], url: undefined };
}

class Finder {
  readonly #code: string;
  readonly #findings: Finding[] = [];
  readonly #files: string[] = [];
  #url: string | undefined;
  /** The last literal that is a path. */
  #path: string | undefined;
  readonly #variables = new Map<string, string>();
  #at = 0;
  /** The function of the current arguments. */
  #callee: string | undefined;
  #outer: string | undefined;
  #name = '';
  #assigned: string | undefined;
  #arguments: string[] = [];
  /** Whether the next literal continues the last one: `"wg" + "et"`. */
  #joins = false;
  /** Whether the statement prints: awk's `print $1 > "FILE"`. */
  #prints = false;
  /** Whether the arguments are decoded text; further literals then specify the encoding. */
  #isDecoded = false;

  constructor(code: string) {
    this.#code = code;
  }

  find(): CodeFindings {
    while (this.#at < this.#code.length && this.#findings.length < MAX_FINDINGS) {
      const code = this.#code.charCodeAt(this.#at);
      const c = this.#code[this.#at] ?? '';
      if (isNameStart(code)) this.#word();
      else if (c === '"' || c === "'") this.#literal(c);
      else if (c === '`') this.#backticks();
      else this.#punctuation(c);
    }
    this.#flush();
    return { findings: this.#findings, files: firstAndLast(this.#files), url: this.#url };
  }

  #word(): void {
    const from = this.#at;
    while (this.#at < this.#code.length && isNameCharacter(this.#code.charCodeAt(this.#at))) this.#at++;
    const word = this.#code.slice(from, this.#at);
    const next = this.#code[this.#at];
    if (BEFORE_OPERAND.has(word) && (next === '"' || next === "'")) return;
    if (word === 'qx' || word === 'q' || word === 'qq') {
      const literal = this.#quoteLike();
      if (literal !== undefined) {
        if (word === 'qx') this.#found({ is: 'script', text: literal });
        else this.#take(literal);
        return;
      }
    }
    const value = this.#callee === undefined ? undefined : this.#variables.get(word);
    if (value !== undefined) {
      this.#take(value);
      return;
    }
    // In open(FILE, mode="w") and open(FILE, O_WRONLY | O_CREAT), all arguments are read.
    const isArgument = WRITING[this.#callee ?? ''] === 'mode' && Object.hasOwn(WRITING, this.#callee ?? '');
    if (isArgument && WRITES.test(word)) this.#arguments.push('w');
    if (next === '(' && (word === 'write_text' || word === 'write_bytes') && this.#path !== undefined)
      this.#files.push(this.#path);
    if (this.#arguments.length > 0 && !isArgument) this.#flush();
    if (word === 'print' || word === 'printf') this.#prints = true;
    this.#name = word;
    // The arguments of an unknown function don't belong to the enclosing one: exec(urlopen("http://x")).
    const isKnown = KNOWN.has(word);
    if (next === '(' && !isKnown && !TRANSPARENT.has(word)) this.#callee = undefined;
    // Perl and Ruby call without parentheses: exec "/bin/sh". Within a call, `copy` is more likely a variable.
    const isVariable = next !== '(' && this.#callee !== undefined && Object.hasOwn(WRITING, word);
    if (isKnown && !isVariable) this.#call(word);
  }

  #call(name: string): void {
    this.#outer = this.#callee ?? this.#outer;
    this.#callee = name;
  }

  #punctuation(c: string): void {
    this.#at++;
    switch (c) {
      case ' ':
      case '\t':
      case '[':
      case ']':
      case '(':
      case '\\':
      case '$':
      case ':':
      case '%':
        return;
      case '+':
      case '.':
        this.#joins = this.#arguments.length > 0;
        return;
      case ',':
        this.#joins = false;
        return;
      case '=':
        this.#assigned = this.#name;
        return;
      case '|':
        if (Object.hasOwn(WRITING, this.#callee ?? '')) return;
        // awk: "id" | getline, and print | "sh".
        if (this.#arguments.length > 0 || this.#name === 'print' || this.#name === 'printf') {
          // In print "text" | "sh", the last literal is the command; in "id" | getline, the first.
          if (this.#callee !== undefined && PRINTING.has(this.#callee)) this.#arguments = [];
          this.#callee = 'system';
        }
        return;
      case '>':
        this.#flush();
        if (this.#prints) this.#callee = REDIRECTION;
        return;
      default:
        this.#flush();
        if (c === ';' || c === '}' || c === '\n') this.#prints = false;
    }
  }

  #literal(quote: string): void {
    const isTriple = this.#code.startsWith(quote.repeat(3), this.#at);
    const mark = isTriple ? quote.repeat(3) : quote;
    const from = this.#at + mark.length;
    let end = from;
    while (end < this.#code.length && !this.#code.startsWith(mark, end)) end += this.#code[end] === '\\' ? 2 : 1;
    this.#at = Math.min(end + mark.length, this.#code.length);
    this.#take(decodeEscapes(this.#code.slice(from, end)));
  }

  #backticks(): void {
    const end = this.#code.indexOf('`', this.#at + 1);
    const text = this.#code.slice(this.#at + 1, end === -1 ? this.#code.length : end);
    this.#at = end === -1 ? this.#code.length : end + 1;
    // Strings in JavaScript, commands in Perl, Ruby and PHP.
    if (this.#callee !== undefined && !PRINTING.has(this.#callee)) this.#take(text);
    else if (text.trim() !== '') this.#found({ is: 'script', text });
  }

  /** `qx{…}`, `q(…)`: the text between the delimiters; undefined without delimiters. */
  #quoteLike(): string | undefined {
    const open = this.#code[this.#at] ?? '';
    const at = '({[<'.indexOf(open);
    const close = at === -1 ? open : (')}]>'[at] ?? open);
    if (open === '' || open === ' ' || open === ',' || open === ';' || open === '=') return undefined;
    const end = this.#code.indexOf(close, this.#at + 1);
    const text = this.#code.slice(this.#at + 1, end === -1 ? this.#code.length : end);
    this.#at = end === -1 ? this.#code.length : end + 1;
    return text;
  }

  #take(text: string): void {
    if (this.#url === undefined && URL.test(text)) this.#url = text;
    if (text.startsWith('/') && !isDevice(text)) this.#path = text;
    const opened = OPENED.exec(text)?.[1];
    if (opened !== undefined && this.#callee !== 'open' && !isDevice(opened)) this.#files.push(opened);
    const decode =
      this.#callee !== undefined && Object.hasOwn(DECODING, this.#callee) ? DECODING[this.#callee] : undefined;
    const decoded = decode?.(text);
    if (decoded !== undefined) {
      this.#callee = this.#outer;
      this.#outer = undefined;
      this.#found({ is: 'code', text: decoded });
      this.#arguments = this.#callee === undefined ? [] : [decoded];
      this.#isDecoded = true;
      return;
    }
    if (this.#isDecoded) return;
    const last = this.#arguments.length - 1;
    if (this.#joins && last >= 0) this.#arguments[last] += text;
    else if (this.#arguments.length < 64) this.#arguments.push(text);
    this.#joins = false;
    if (this.#assigned !== undefined && this.#arguments.length === 1) {
      this.#variables.set(this.#assigned, this.#arguments[0] ?? '');
    }
  }

  #flush(): void {
    const [first, second] = this.#arguments;
    const file = this.#written();
    if (file !== undefined) this.#files.push(file);
    else if (first !== undefined && this.#callee !== undefined && EXECUTING.has(this.#callee)) {
      if (second === undefined) this.#found({ is: 'script', text: first });
      else this.#found({ is: 'command', words: this.#exactWords() });
    } else if (first !== undefined && this.#callee !== undefined && PRINTING.has(this.#callee)) {
      this.#found({ is: 'printed', text: this.#arguments.join('') });
    }
    this.#arguments = [];
    this.#callee = undefined;
    this.#outer = undefined;
    this.#assigned = undefined;
    this.#joins = false;
    this.#isDecoded = false;
    this.#name = '';
  }

  /** The file that the current function writes. Only an absolute path is certainly a file. */
  #written(): string | undefined {
    const callee = this.#callee ?? '';
    const [first = '', second = ''] = this.#arguments;
    const how = Object.hasOwn(WRITING, callee) ? WRITING[callee] : undefined;
    let file: string | undefined;
    if (callee === REDIRECTION || how === 'first') file = first;
    else if (how === 'paths')
      file = this.#arguments.every((each) => each.startsWith('/')) ? this.#arguments[1] : undefined;
    else if (how === 'last') file = this.#arguments.length > 1 ? this.#arguments.at(-1) : undefined;
    // Ruby: File.write(FILE, text).
    else if (callee === 'write') file = this.#arguments.length > 1 ? first : undefined;
    // Perl: open(F, '>FILE') and open(F, '+<', FILE).
    else if (how === 'mode' && /^(\+?>|\+<)/.test(first)) file = first.replace(/^[+<>]+ ?/, '') || second;
    else if (how === 'mode' && /^[rwaxc]?[bt]?[waxc+][bt+]*$/.test(second)) file = first;
    return file?.startsWith('/') === true && !isDevice(file) ? file : undefined;
  }

  /** execl("/bin/sh", "sh", "-c", …) has the program twice. */
  #exactWords(): readonly string[] {
    const [first = '', second = ''] = this.#arguments;
    const isTwice = first.endsWith(`/${second}`) || (first === second && this.#arguments.length > 1);
    return isTwice ? [first, ...this.#arguments.slice(2)] : this.#arguments;
  }

  #found(finding: Finding): void {
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push(finding);
  }
}

function rot13(text: string): string {
  return [...text]
    .map((c) => {
      const code = c.charCodeAt(0);
      const base = code >= 97 && code <= 122 ? 97 : code >= 65 && code <= 90 ? 65 : 0;
      return base === 0 ? c : String.fromCharCode(((code - base + 13) % 26) + base);
    })
    .join('');
}
