/* Walks through a script like a shell, without running anything: assigns variables, and passes the output of commands that only
 * print to the commands that read it. */
import { assignmentName, isPrintable, onOneLine } from './characters.ts';
import { type Output, outputOf } from './decoding.ts';
import type { Environment } from './environment.ts';
import { type ExpansionParts, expandWord } from './expansion.ts';
import { guessGlob } from './globs.ts';
import { lexScript } from './lexer.ts';
import { HEAD, MAX_DEPTH, type Work } from './limits.ts';
import { findCommands } from './one-liners.ts';
import { isRelative } from './operands.ts';
import { listOf } from './options.ts';
import { nameOf, normalisePath, resolvePath } from './paths.ts';
import { interpreterOf, runOf } from './shells.ts';
import { commandsOf, isPipe, type Redirection, type SimpleCommand } from './statements.ts';

/** Commands that start no program; without a redirection they get no view. */
const QUIET = listOf(
  ': true false [ [[ test break continue return exit shift wait cd pushd for case select function fg bg popd ' +
    'read set sleep umask',
);
const DECLARING = listOf('export local readonly declare typeset');
/** Builtins whose arguments are a script. */
const EVALUATING = listOf('eval alias');
/** Programs that read their standard input if no file is given. */
const READING = listOf(
  'cat head tail sed awk grep base64 xxd strings less more nl tac rev sort cut od hexdump tr sh bash dash ash ' +
    'zsh ksh python python3 perl ruby php node',
);
/** Minimum cost of evaluating a `$(…)`, in characters read. */
const EVALUATION = 32;
const NOTHING: Output = { text: '', isDecoded: false };
/** Standard input as a file, and as the descriptor in `>&1`. */
const STANDARD_OUTPUT = listOf('/dev/stdout /dev/fd/1 /proc/self/fd/1 1 -');
const SOURCING = listOf('. source');

/** Separators of commands in the whole line, unless a space on each side. */
const SEPARATORS: Readonly<Record<string, string>> = { ';': '; ', '\n': '; ', ';;': ';; ', '': '' };

/** As text after the words of a command. */
export interface Redirections {
  readonly written: string;
  /** With the full path of each file. */
  readonly whole: string;
}

/** A command as a shell would start it. */
export interface Executed {
  readonly words: readonly string[];
  readonly redirections: Redirections | undefined;
  readonly input: Output | undefined;
  readonly directory: string | undefined;
}

export interface Execution {
  /** The expanded script, with one space between words. */
  readonly line: string;
  readonly commands: readonly Executed[];
  /** Nested scripts: `$(…)`, `eval`, decoded text. */
  readonly scripts: readonly { readonly text: string; readonly directory: string | undefined }[];
}

export interface Start {
  readonly environment: Environment;
  readonly directory: string | undefined;
  readonly depth: number;
}

export const execute = (text: string, start: Start, work: Work): Execution => new Shell(start, work).run(text);

class Shell {
  readonly #environment: Environment;
  readonly #depth: number;
  readonly #work: Work;
  /** Whether the last command was a `cd`, and its separator. */
  #before = { now: '', name: '', end: '' };
  readonly #commands: Executed[] = [];
  readonly #scripts: { text: string; directory: string | undefined }[] = [];
  readonly #expansion: ExpansionParts;

  constructor({ environment, directory, depth }: Start, work: Work) {
    this.#environment = environment;
    this.#depth = depth;
    this.#work = work;
    this.#expansion = { environment, work, outputOf: (script) => this.#substituted(script) };
    environment.directory = directory;
  }

  run(text: string): Execution {
    const line: string[] = [];
    let output: Output | undefined;
    const groups = new Groups();
    const simples = commandsOf(lexScript(text, this.#work));
    for (const simple of simples) {
      groups.begin(simple);
      const own = this.#simple(simple, simple.isPiped ? output : undefined, line, !isPipe(simple.end));
      output = groups.end(simple, own);
      this.#before = { name: this.#before.now, end: simple.end, now: '' };
      line.push(separatorOf(simple.end));
    }
    return { line: withoutEnd(line.join('')), commands: this.#commands, scripts: this.#scripts };
  }

  /** @returns its output, if known */
  #simple(simple: SimpleCommand, piped: Output | undefined, line: string[], isLast: boolean): Output | undefined {
    const directory = this.#environment.directory;
    const expanded: string[] = [];
    let isCommand = true;
    for (const word of simple.words) {
      for (const field of this.#expand(word, isCommand)) {
        expanded.push(field);
        isCommand &&= isAssignment(field);
      }
    }
    const { all, input, source, target, withoutDocument } = this.#redirect(simple.redirections);
    const text = all?.written ?? '';
    const opened = simple.keywords.filter((keyword) => keyword === '(').join('');
    const keywords = simple.keywords.filter((keyword) => keyword !== '(');
    const copied = withoutDocument === undefined ? undefined : this.#copied(expanded, input?.text ?? '');
    const written =
      copied === undefined ? [...expanded.map(normalise), text] : [...copied, withoutDocument?.written ?? ''];
    const shown = [...keywords, ...written].filter((word) => word !== '');
    line.push(opened + shown.join(' '));
    const words = this.#assigned(expanded);
    if (words === undefined) return undefined;
    const name = words[0] ?? '';
    const fed = input ?? piped ?? this.#operand(words);
    const isQuiet = text === '' && (QUIET.has(name) || (words.length === 0 && expanded.length > 0));
    if (!isQuiet && (words.length > 0 || text !== '')) {
      if (copied?.length === 2)
        this.#commands.push({ words: copied, redirections: withoutDocument, input: fed, directory });
      else this.#commands.push({ words, redirections: all, input: fed, directory });
      // cat < /etc/shadow is equivalent to cat /etc/shadow.
      if (source !== undefined && READING.has(nameOf(name))) {
        this.#commands.push({ words: [...words, source], redirections: undefined, input: undefined, directory });
      }
    }
    if (words.length === 0 && expanded.length > 0) return NOTHING;
    if (name === 'trap') this.#script(words[1] ?? '');
    if (EVALUATING.has(name))
      this.#script(
        words
          .slice(1)
          .map(name === 'alias' ? afterEquals : same)
          .join(' '),
      );
    if (SOURCING.has(name)) this.#source(words[1] ?? '', fed);
    const output = outputOf(words, fed) ?? this.#printedByCode(words);
    if (output !== undefined && target !== undefined) this.#environment.write(target, output.text);
    // Decoded text is followed even if no shell is seen to read it.
    if (isLast && output?.isDecoded === true && isPrintable(output.text)) this.#script(output.text);
    return target === undefined || STANDARD_OUTPUT.has(target) ? output : NOTHING;
  }

  /** `cat > /etc/x << EOF` is equivalent to `echo … > /etc/x`, `tee /etc/x << EOF` to `echo … | tee /etc/x`. */
  #copied(words: readonly string[], document: string): readonly string[] | undefined {
    const [name = '', ...operands] = words;
    const printing = ['echo', onOneLine(document.trimEnd())];
    const program = nameOf(name);
    if (program === 'tee' && this.#work.spend(document.length)) return [...printing, '|', ...words.map(normalise)];
    const isCopying = program === 'cat' && operands.every((operand) => operand.startsWith('-'));
    return isCopying && this.#work.spend(document.length) ? printing : undefined;
  }

  #expand(word: SimpleCommand['words'][number], isCommand: boolean): string[] {
    const fields = expandWord(word, isCommand, this.#expansion);
    return word.some(hasWildcard) ? fields.map((field) => guessGlob(field, isCommand)) : fields;
  }

  /** The output of `$(…)`, if it can be determined; otherwise it is a script to follow. */
  #substituted(script: string): string | undefined {
    if (script.trim() === '') return '';
    if (!this.#work.spend(EVALUATION)) return undefined;
    const output = this.#printed(script);
    if (output === undefined) this.#script(script);
    return output;
  }

  /** The output of a script that is one pipeline of programs that only print. */
  #printed(text: string): string | undefined {
    if (this.#depth >= MAX_DEPTH) return undefined;
    const start = { environment: this.#environment, directory: this.#environment.directory, depth: this.#depth + 1 };
    const shell = new Shell(start, this.#work);
    const simples = commandsOf(lexScript(text, this.#work));
    let printed = '';
    let output: Output | undefined;
    for (const simple of simples) {
      output = shell.#simple(simple, simple.isPiped ? output : undefined, [], false);
      if (output === undefined) return undefined;
      if (!isPipe(simple.end)) printed += output.text;
    }
    return simples.length === 0 ? undefined : printed;
  }

  /** The content of a file that the script wrote, if the last word names one: `base64 -d /tmp/x`. */
  #operand(words: readonly string[]): Output | undefined {
    const text = words.length < 2 ? undefined : this.#environment.read(words.at(-1) ?? '');
    return text === undefined ? undefined : { text, isDecoded: false };
  }

  /** `python3 -c 'print("id")'` */
  #printedByCode(words: readonly string[]): Output | undefined {
    const interpreter = interpreterOf(words[0] ?? '');
    if (interpreter?.language !== 'code') return undefined;
    const run = runOf(interpreter, words, 0);
    if (run.is !== 'text') return undefined;
    const { findings } = findCommands((words[run.at] ?? '').slice(run.offset), this.#work);
    const text = findings.map((finding) => (finding.is === 'printed' ? `${finding.text}\n` : '')).join('');
    return text === '' ? undefined : { text, isDecoded: true };
  }

  #script(text: string): void {
    if (text !== '' && this.#scripts.length < 32) this.#scripts.push({ text, directory: this.#environment.directory });
  }

  #source(file: string, input: Output | undefined): void {
    const text = file === '/dev/stdin' ? input?.text : this.#environment.read(file);
    if (text !== undefined) this.#script(text);
  }

  /** Executes assignments and `cd`. @returns the words of the command, undefined if it has no view */
  #assigned(expanded: readonly string[]): readonly string[] | undefined {
    let at = 0;
    const isDeclaring = DECLARING.has(expanded[0] ?? '');
    for (let i = isDeclaring ? 1 : 0; i < expanded.length; i++) {
      const word = expanded[i] ?? '';
      const end = assignmentName(word);
      if (end === 0 && isDeclaring) continue;
      if (end === 0) break;
      const name = word.slice(0, end);
      if (word[end] === '+') this.#environment.append(name, word.slice(end + 2));
      else this.#environment.assign(name, word.slice(end + 1));
      if (!isDeclaring) at = i + 1;
    }
    const words = at === 0 ? expanded : expanded.slice(at);
    const [name, first] = words;
    if (name === 'cd' || name === 'pushd') {
      // In cd /tmp || cd /var/run, the first is assumed to succeed.
      const isAlternative = this.#before.name === 'cd' && this.#before.end === '||';
      if (!isAlternative) this.#environment.changeDirectory(first ?? '~');
    }
    this.#before.now = name === 'pushd' ? 'cd' : (name ?? '');
    if (name === 'for' && words[2] === 'in') this.#environment.assignEach(first ?? '', words.slice(3));
    return words;
  }

  #redirect(redirections: readonly Redirection[]): Redirected {
    if (redirections.length === 0) return {};
    const all: Redirections[] = [];
    const further: Redirections[] = [];
    /** Whether a file is standard input: the last redirection takes precedence. */
    let isDocument = false;
    let input: Output | undefined;
    let source: string | undefined;
    let target: string | undefined;
    for (const { operator: sign, target: word, body } of redirections) {
      const operator = sign.replace('>|', '>'); // depends only on a setting of the shell
      const file = normalise(this.#expand(word, false).join(' '));
      const bare = operator.replace(/^[0-9]{1,4}/, '');
      if (bare === '<<<') input = { text: `${file}\n`, isDecoded: false };
      else if (body !== undefined) input = { text: body, isDecoded: false };
      else if (bare.startsWith('<')) {
        const text = this.#environment.read(file);
        if (text !== undefined) input = { text, isDecoded: false };
        else if (operator === '<' && file !== '') source = file;
      } else if (!operator.startsWith('2')) target = file;
      // 2>&1 and 0<&3 duplicate a descriptor.
      const isDuplicate = operator.endsWith('&') && isDescriptor(file);
      const written = isDuplicate ? `${operator}${file}` : `${operator} ${file}`.trimEnd();
      const isFile = !isDuplicate && !bare.startsWith('<<') && isRelative(file);
      const whole = isFile ? `${operator} ${resolvePath(file, this.#environment.directory)}` : written;
      all.push({ written, whole });
      if (body === undefined) further.push({ written, whole });
      if (STANDARD_INPUT.test(operator)) isDocument = body !== undefined;
    }
    return { all: joined(all), input, source, target, ...(isDocument && { withoutDocument: joined(further) }) };
  }
}

const OPENING = listOf('( { do if');
const CLOSING = listOf('} done fi');

/** Output of subshells, groups and loops, if known: `(crontab -l; echo …) | crontab -`. */
class Groups {
  /** The innermost is last. */
  readonly #printed: string[] = [];

  begin({ keywords }: SimpleCommand): void {
    for (const keyword of keywords) if (OPENING.has(keyword)) this.#printed.push('');
  }

  /** @returns the input of the next command, if it reads the output of this one or of the group that this one closes */
  end({ keywords, end }: SimpleCommand, own: Output | undefined): Output | undefined {
    const subshells = end.length - end.replaceAll(')', '').length;
    const closed = subshells + keywords.filter((keyword) => CLOSING.has(keyword)).length;
    if (closed > 0 || !isPipe(end)) this.#print(own?.text ?? '');
    let output = own;
    for (let i = 0; i < closed && this.#printed.length > 0; i++) {
      const text = this.#printed.pop() ?? '';
      this.#print(text);
      output = text === '' ? undefined : { text, isDecoded: false };
    }
    return output;
  }

  #print(text: string): void {
    const around = this.#printed.pop();
    if (around !== undefined) this.#printed.push(around.length + text.length > HEAD ? around : around + text);
  }
}

/** `)|` becomes `) | `. */
function separatorOf(end: string): string {
  let at = 0;
  while (end[at] === ')') at++;
  const operator = end.slice(at);
  const closing = end.slice(0, at);
  return closing + (SEPARATORS[operator] ?? ` ${operator} `) + (operator === '' && closing !== '' ? ' ' : '');
}

/** A separator at the end is omitted, except `&`. */
function withoutEnd(line: string): string {
  const trimmed = line.trimEnd();
  return trimmed.endsWith(';') ? trimmed.slice(0, -1) : trimmed;
}

/** `<`, `<<`, `<<-`, `<<<`, `<&`, `<>`, each optionally after a 0. */
const STANDARD_INPUT = /^0{0,4}</;

const joined = (each: readonly Redirections[]): Redirections => ({
  written: each.map(({ written }) => written).join(' '),
  whole: each.map(({ whole }) => whole).join(' '),
});

interface Redirected {
  readonly all?: Redirections;
  /** The same without here-documents. */
  readonly withoutDocument?: Redirections;
  /** The text on standard input, if known. */
  readonly input?: Output | undefined;
  /** The file that is standard input. */
  readonly source?: string | undefined;
  readonly target?: string | undefined;
}

const hasWildcard = (part: SimpleCommand['words'][number][number]): boolean =>
  part.is === 'text' && !part.quoted && (part.text.includes('?') || part.text.includes('*') || part.text.includes('['));

const isAssignment = (word: string): boolean => assignmentName(word) > 0;
const normalise = (word: string): string => (word.startsWith('/') ? normalisePath(word) : word);
const same = (word: string): string => word;
const afterEquals = (word: string): string => word.slice(word.indexOf('=') + 1);
const isDescriptor = (text: string): boolean => text === '-' || (text !== '' && !Number.isNaN(Number(text)));
