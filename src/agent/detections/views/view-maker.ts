import { isPrintable, onOneLine } from './characters.ts';
import type { Output } from './decoding.ts';
import { findEmbedded } from './embedded.ts';
import type { Environment } from './environment.ts';
import { cut, INNER, MAX_DEPTH, MAX_NEAR_VIEWS, MAX_VIEWS, MAX_WRAPPERS, type Work } from './limits.ts';
import { withLongOptions } from './long-options.ts';
import { containerCommand, programOfWords } from './multi-call.ts';
import { findCommands } from './one-liners.ts';
import { withTargets, withWholePaths } from './operands.ts';
import { listOf } from './options.ts';
import { isStandard, nameOf, normalisePath, resolvePath } from './paths.ts';
import { type Executed, execute, type Redirections } from './scripts.ts';
import { interpreterOf, runOf } from './shells.ts';
import { inUsualForm } from './usual-form.ts';
import type { View } from './view.ts';
import { unwrap, wrapperOf } from './wrappers.ts';
import {
  addressFetchedBy,
  filesReadBehind,
  filesWrittenBehind,
  filesWrittenBy,
  isDownloader,
  writes,
} from './writers.ts';

/* Follows a process start to the commands that it runs: wrappers, scripts, code, decoded text. Each command that would be a
 * separate process start becomes a view. */

/** Maximum views for the commands of one script; the rest is for commands nested in them. */
const MAX_VIEWS_OF_A_SCRIPT = 16;
/** Views that are always made: the original event, and the nearest ones. */
const ALWAYS = 4;
/** Image of a shell whose path is unknown. */
const SHELL_IMAGE = '/usr/bin/sh';

/** Context of a command. */
interface Place {
  readonly environment: Environment;
  readonly directory: string | undefined;
  /** Number of enclosing scripts. */
  readonly depth: number;
}

/** A command with exact words, or, if quotes are lost, with words between spaces. */
export interface Command extends Place {
  readonly words: readonly string[];
  readonly isExact: boolean;
  /** Redirections after the words. */
  readonly redirections?: Redirections | undefined;
  readonly input?: Output | undefined;
}

/** Context for names that are relative paths. */
type Reaching = Pick<Command, 'directory' | 'redirections'>;

export class ViewMaker {
  readonly #views: View[] = [];
  /** Tasks, followed by alternative spellings. */
  readonly #tasks: (() => void)[] = [];
  readonly #spellings: (() => void)[] = [];
  #most = MAX_NEAR_VIEWS;
  readonly #work: Work;

  constructor(work: Work) {
    this.#work = work;
  }

  /** Runs all tasks, outer before inner, and completes the views. */
  finish(): readonly View[] {
    for (let i = 0; i < this.#tasks.length && this.#views.length < this.#most; i++) this.#tasks[i]?.();
    this.#most = MAX_VIEWS;
    for (let i = 0; i < this.#spellings.length && this.#views.length < this.#most; i++) this.#spellings[i]?.();
    return this.#views;
  }

  add(image: string, line: string, directory: string | undefined): void {
    // The first view is the original event; reading it is bounded elsewhere.
    const commandLine = this.#views.length === 0 ? line : cut(line);
    if (this.#views.length >= this.#most || (image === '' && commandLine === '')) return;
    const isKnown = this.#views.some(
      (view) => view.CommandLine === commandLine && view.Image === image && view.CurrentDirectory === directory,
    );
    if (isKnown || (this.#views.length >= ALWAYS && !this.#work.spend(commandLine.length))) return;
    // Undefined members are set explicitly, so that all views have one shape.
    this.#views.push({
      Image: image,
      CommandLine: commandLine,
      CurrentDirectory: directory,
      argv: undefined,
      download: undefined,
    });
  }

  /** Adds a view of a command, and follows it. */
  command(command: Command): void {
    this.#view(command, 0);
    this.follow(command);
  }

  /** Follows the commands that a command runs. */
  follow(command: Command): void {
    const { words, redirections } = command;
    if (!this.#work.spend(words.length)) return;
    const from = this.#followWords(command);
    if (redirections === undefined) return;
    const own = words.slice(from);
    this.#redirected(command, own[0] ?? '', redirections.whole, addressFetchedBy(own));
  }

  /** @returns the start of the innermost command's words, to which the redirections apply */
  #followWords(command: Command): number {
    const { words } = command;
    let place: Command = command;
    let from = programOfWords(words, 0)?.skip ?? 0;
    for (let count = 0; count < MAX_WRAPPERS; count++) {
      this.#followEmbedded(place, from);
      this.#followWriting(place, from);
      const wrapper = wrapperOf(words[from] ?? '');
      if (wrapper === undefined) break;
      const inner = unwrap(wrapper, words, from);
      if (inner.directory !== undefined) place = { ...place, directory: resolvePath(inner.directory, place.directory) };
      for (const script of inner.scripts) this.#later(place, textOf(place, script.at, script.offset));
      if (inner.words !== undefined) {
        this.command({ ...place, words: inner.words, redirections: undefined });
        return from;
      }
      if (inner.at >= words.length) {
        // sudo -s, su, ssh host: a shell that reads its input.
        const text = wrapper.startsShell === true && inner.scripts.length === 0 ? place.input?.text : undefined;
        if (text !== undefined) this.#later(place, text);
        return from;
      }
      const isScript = wrapper.joins === true || isLostScript(place, inner.at);
      if (isScript) {
        this.#later(place, words.slice(inner.at).join(' '));
        return from;
      }
      const replaced = wrapper.reads === true ? xargsWords(words, from, inner.at, place.input) : undefined;
      if (replaced !== undefined) {
        this.command({ ...place, words: replaced, isExact: true, input: undefined, redirections: undefined });
        return from;
      }
      from = inner.at;
      // A nested wrapper is part of the outer one's view.
      if (count < 3 || wrapperOf(words[from] ?? '') === undefined) this.#view(place, from);
      from += programOfWords(words, from)?.skip ?? 0;
    }
    const own = (words[from] ?? '').includes('/') ? place.environment.read(words[from] ?? '') : undefined;
    if (own !== undefined) this.#later(place, own);
    const name = nameOf(words[from] ?? '');
    const queued = Object.hasOwn(QUEUEING, name) ? QUEUEING[name] : undefined;
    if (queued !== undefined && place.input !== undefined) this.#later(place, queued(place.input.text));
    const contained = containerCommand(words, from);
    if (contained !== undefined) this.#laterCommand({ ...place, words: contained, directory: undefined });
    this.#followInterpreter(place, from);
    this.#followFind(place, from);
    return from;
  }

  #view({ words, isExact, directory, redirections }: Command, from: number): void {
    if (!this.#work.spend(words.length)) return;
    const program = programOfWords(words, from);
    const at = from + (program?.skip ?? 0);
    const path = normalisePath(program?.image ?? words[at] ?? '');
    if (!isKnown(path) || (words[at] ?? '').includes('://')) return;
    const name = path.includes('/') && isStandard(path) ? nameOf(path) : normalisePath(words[at] ?? '');
    const own = withLongOptions([name, ...words.slice(at + 1).filter((word) => word !== '')]);
    const usual = inUsualForm(own, isExact);
    const image = imageOf(path, directory);
    const add = (each: readonly string[]) => {
      const line = [...each.map(normaliseArgument), redirections?.written ?? ''].join(' ').trimEnd();
      this.add(image, cut(onOneLine(line), INNER), directory);
    };
    add(own);
    if (usual !== own) this.#spellings.push(() => add(usual));
    this.addWithWholePaths(image, usual, { directory, redirections });
  }

  /**
   * `cd /var/log; rm -f auth.log > err` removes /var/log/auth.log, and writes /var/log/err. The view is added after all tasks, so
   * that it displaces none of their views.
   *
   * @param words in canonical form
   */
  addWithWholePaths(image: string, words: readonly string[], { directory, redirections }: Reaching): void {
    if (!this.#work.spend(words.length)) return;
    const read = withWholePaths(words, directory);
    this.#intoFolders(image, read, directory);
    if (read === words && redirections?.whole === redirections?.written) return;
    const line = [...read.map(normaliseArgument), redirections?.whole ?? ''].join(' ').trimEnd();
    this.#spellings.push(() => this.add(image, cut(onOneLine(line), INNER), directory));
  }

  /** Adds copies to a directory with the file that each writes: `cp x /etc/` as `cp x /etc/x`. */
  #intoFolders(image: string, words: readonly string[], directory: string | undefined): void {
    for (const each of withTargets(words)) {
      const line = each.map(normaliseArgument).join(' ');
      this.#spellings.push(() => this.add(image, cut(onOneLine(line), INNER), directory));
    }
  }

  /** Follows a script after everything that is nearer to the process itself. */
  #later(place: Place, text: string): void {
    const { environment, directory, depth } = place;
    if (depth >= MAX_DEPTH) return;
    this.#tasks.push(() => this.script(text, { environment, directory, depth: depth + 1 }));
  }

  #laterCommand(command: Command): void {
    if (command.depth < MAX_DEPTH) this.#tasks.push(() => this.command({ ...command, depth: command.depth + 1 }));
  }

  #laterCode({ environment, directory, depth }: Place, text: string): void {
    if (depth >= MAX_DEPTH) return;
    this.#tasks.push(() => this.#code(text, { environment, directory, depth: depth + 1 }));
  }

  /** `sort -o FILE` as `tee FILE`, `http -o FILE URL` also as `wget -O FILE URL`. */
  #followWriting(command: Command, from: number): void {
    const { words } = command;
    if (!writes(words[from] ?? '') || !this.#work.spend(words.length - from)) return;
    const own = withLongOptions(words.slice(from));
    const address = isDownloader(own[0] ?? '') ? addressFetchedBy(own) : undefined;
    for (const file of filesWrittenBy(own)) this.#written(command, file, address);
  }

  /** `id < FILE` as `cat FILE`, `id > FILE` as `tee FILE`, `lynx -source URL > FILE` also as `wget -O FILE URL`. */
  #redirected(place: Place, program: string, redirections: string, address?: string): void {
    for (const file of filesReadBehind(redirections)) this.#seenAs(place, ['cat', file]);
    for (const { file, appends, isOutput } of filesWrittenBehind(program, redirections)) {
      if (appends) this.#seenAs(place, ['tee', '-a', file]);
      else this.#written(place, file, isOutput ? address : undefined);
    }
  }

  /** @param url source of the written data */
  #written(place: Place, file: string, url?: string): void {
    this.#seenAs(place, ['tee', file]);
    if (url !== undefined) this.#seenAs(place, ['wget', '-O', file, url]);
  }

  #seenAs({ environment, directory, depth }: Place, words: readonly string[]): void {
    this.#spellings.push(() => this.#view({ environment, directory, depth, words, isExact: true }, 0));
  }

  #followEmbedded(command: Command, from: number): void {
    let isInCode = false;
    for (const { is, at, offset } of findEmbedded(command.words, from)) {
      const text = textOf(command, at, offset);
      if (is === 'script') this.#later(command, text);
      else if (!isInCode) this.#laterCode(command, text);
      isInCode ||= is === 'code' && !command.isExact; // the rest of the line is code that was already read
    }
  }

  #followInterpreter(command: Command, from: number): void {
    const { words, environment, input } = command;
    const interpreter = interpreterOf(words[from] ?? '');
    if (interpreter === undefined) return;
    const follow = (text: string) =>
      interpreter.language === 'shell' ? this.#later(command, text) : this.#laterCode(command, text);
    const run = runOf(interpreter, words, from);
    if (run.is === 'text') {
      if (command.isExact)
        words.slice(run.at + 1, run.at + 10).forEach((word, i) => void environment.assign(`${i}`, word));
      if (command.isExact && run.at + 2 < words.length) environment.assign('@', words.slice(run.at + 2).join(' '));
      follow(textOf(command, run.at, run.offset));
    } else if (run.is === 'input') {
      if (input === undefined) return;
      follow(input.text);
      // The same with -c, and on one line.
      if (interpreter.language === 'code') {
        const option = `-${interpreter.runs.slice(0, 1) || 'c'}`;
        const code = [words[from] ?? '', option, input.text.trim()];
        this.#view({ ...command, words: code, redirections: undefined }, 0);
      }
    } else if (run.at < words.length) {
      const file = words[run.at] ?? '';
      const isInput = file === '/dev/stdin' || file === '/dev/fd/0' || file === '/proc/self/fd/0';
      const written = isInput ? input?.text : environment.read(file);
      if (written !== undefined) follow(written);
      else if (!file.startsWith('<(')) this.#view({ ...command, words: [asPath(file), ...words.slice(run.at + 1)] }, 0);
    }
  }

  /** `find / -exec cmd {} \;` */
  #followFind(command: Command, from: number): void {
    const { words } = command;
    if (nameOf(words[from] ?? '') !== 'find' || !this.#work.spend(words.length)) return;
    for (let at = from + 1, found = 0; at < words.length && found < 4; at++) {
      if (!FIND_ACTIONS.has(words[at] ?? '')) continue;
      let end = at + 1;
      while (end < words.length && !FIND_ENDS.has(words[end] ?? '')) end++;
      if (end > at + 1)
        this.command({ ...command, words: words.slice(at + 1, end), input: undefined, redirections: undefined });
      found++;
      at = end;
    }
  }

  /** Commands in the code of a scripting language. */
  #code(text: string, place: Place): void {
    const { findings, files, url } = findCommands(cut(text), this.#work);
    for (const file of files) this.#written(place, file, url);
    for (const finding of findings) {
      if (finding.is === 'command') this.command({ words: finding.words, isExact: true, ...place });
      else if (finding.is === 'printed') continue;
      else if (finding.is === 'script') this.#later({ ...place, depth: place.depth - 1 }, finding.text);
      else this.#laterCode(place, finding.text);
    }
  }

  /**
   * All commands of a script.
   *
   * @param whole image, and the text before the script, if a view of the whole script is needed even for a single
   * command
   */
  script(text: string, place: Place, whole?: { readonly image: string; readonly before: string }): void {
    if (this.#views.length >= this.#most) return;
    const { line, commands, scripts } = execute(cut(text), place, this.#work);
    const image = whole?.image ?? SHELL_IMAGE;
    if (whole !== undefined) this.add(image, `${whole.before}${line}`, place.directory);
    else if (commands.length > 1) this.add(image, `sh -c ${line}`, place.directory);
    for (const executed of chosen(commands)) {
      const { words, redirections, directory } = executed;
      if (words.length === 0) {
        this.add(image, redirections?.written ?? '', directory);
        this.add(image, redirections?.whole ?? '', directory);
        this.#redirected({ ...place, directory }, '', redirections?.whole ?? '');
      } else if (commands.length === 1 && isLostScript({ ...place, words, isExact: true }, 0)) {
        // Quotes around the whole script, which some sources record although no shell passes them on.
        this.#later({ ...place, depth: place.depth - (whole === undefined ? 0 : 1) }, words[0] ?? '');
      } else this.command({ ...executed, isExact: true, environment: place.environment, depth: place.depth });
    }
    for (const script of scripts) this.#later({ ...place, directory: script.directory }, script.text);
  }
}

/** The commands of a crontab, without `@reboot` or the five time fields; see crontab(5). */
const withoutTimes = (crontab: string): string =>
  crontab
    .split('\n')
    .map((line) => {
      const words = line.trim().split(/[ \t]+/);
      return words.slice(words[0]?.startsWith('@') === true ? 1 : 5).join(' ');
    })
    .join('\n');

/** Programs that execute their standard input later, with the conversion to a script. */
const QUEUEING: Readonly<Record<string, ((text: string) => string) | undefined>> = {
  at: (text) => text,
  batch: (text) => text,
  crontab: withoutTimes,
};

const FIND_ACTIONS = listOf('-exec -execdir -ok -okdir');
const FIND_ENDS: ReadonlySet<string> = new Set([';', '\\;', '+']);

const LONGEST_REPLACEMENT = 256;

/** The words of a command with those that xargs adds, if its input is known. */
function xargsWords(words: readonly string[], from: number, at: number, input: Output | undefined) {
  const read = (input?.text.split(/[ \n]/) ?? []).filter((word) => word !== '').slice(0, 64);
  if (read.length === 0) return undefined;
  const options = words.slice(from, at);
  const replacing = options.findIndex((word) => word.startsWith('-I') || word.startsWith('-i'));
  const mark = options[replacing]?.slice(2) || (options[replacing] === '-I' ? options[replacing + 1] : '{}') || '{}';
  const command = words.slice(at);
  if (replacing === -1) return [...command, ...read];
  const by = read.join(' ').slice(0, LONGEST_REPLACEMENT);
  return command.map((word, i) => (i < 16 && word.length <= by.length ? word.split(mark).join(by) : word));
}

/** The text of a word that is a script. Without exact words, the rest of the line. */
const textOf = ({ words, isExact }: Command, at: number, offset: number): string =>
  (isExact ? (words[at] ?? '') : words.slice(at).join(' ')).slice(offset);

/** A program name with spaces is a script: a wrapper received it as one word. */
const isLostScript = (
  { words, isExact }: Place & { words: readonly string[]; isExact: boolean },
  at: number,
): boolean => isExact && words.length - at === 1 && (words[at] ?? '').includes(' ') && isPrintable(words[at] ?? '');

/** Whether a program name is literal, not a variable or other text. */
const isKnown = (path: string): boolean => path !== '' && !['$', '`', '\n', '(', '"'].some((c) => path.includes(c));

/** A file without a directory is in the current directory, unlike a command. */
const asPath = (file: string): string => (file.includes('/') ? file : `./${file}`);

/** The image of a command: its path, or the most likely path for its name. */
function imageOf(path: string, directory: string | undefined): string {
  if (!path.includes('/')) return `/usr/bin/${path}`;
  return resolvePath(path, directory);
}

/** Normalises only absolute paths: `//` is part of every URL. */
export const normaliseArgument = (word: string): string => (word.startsWith('/') ? normalisePath(word) : word);

/** The commands of a long script that get a view: each program once before any program twice. */
function chosen(commands: readonly Executed[]): readonly Executed[] {
  if (commands.length <= MAX_VIEWS_OF_A_SCRIPT) return commands;
  const programs = new Set<string>();
  const first: Executed[] = [];
  const repeated: Executed[] = [];
  for (const command of commands) {
    const program = command.words[0] ?? '';
    (programs.has(program) ? repeated : first).push(command);
    programs.add(program);
  }
  const left = MAX_VIEWS_OF_A_SCRIPT - Math.min(first.length, MAX_VIEWS_OF_A_SCRIPT);
  // The first and the last of too many programs: the relevant one often comes after decoys.
  const half = MAX_VIEWS_OF_A_SCRIPT / 2;
  const kept = first.length > MAX_VIEWS_OF_A_SCRIPT ? [...first.slice(0, half), ...first.slice(-half)] : first;
  return [...kept, ...repeated.slice(0, left)];
}
