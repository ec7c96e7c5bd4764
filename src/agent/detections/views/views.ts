/* Presents a process start as several views, so that a rule needs only one spelling. */
import { onOneLine } from './characters.ts';
import { Environment } from './environment.ts';
import { expandWord } from './expansion.ts';
import { lexArgument } from './lexer.ts';
import { cut, HEAD, TAIL, Work } from './limits.ts';
import { withLongOptions } from './long-options.ts';
import { programOf } from './multi-call.ts';
import { nameOf } from './paths.ts';
import { interpreterOf, runOf } from './shells.ts';
import { inUsualForm } from './usual-form.ts';
import type { ProcessStart, View } from './view.ts';
import { normaliseArgument, ViewMaker } from './view-maker.ts';

export type { ProcessStart, View } from './view.ts';

/**
 * The views of a process start, at most MAX_VIEWS, without duplicates. The first is the original event, except for the image of
 * a multi-call binary. Equal starts have equal views; the time is bounded for any command line.
 */
export function viewsOf(start: ProcessStart, work = new Work()): readonly View[] {
  const { executable, commandLine, argv, currentDirectory } = start;
  const isExact = argv !== undefined;
  const words = isExact ? cutWords(argv) : wordsOf(commandLine);
  const program = programOf(executable, words);
  const maker = new ViewMaker(work);
  maker.add(program.image, commandLine, currentDirectory);
  if (program.claimed !== undefined) maker.add(program.claimed, commandLine, currentDirectory);

  // Based on the file that the kernel executed, not on the name that the process claims.
  const name = nameOf(program.image.replace(' (deleted)', '')).trimEnd();
  const own = [name, ...words.slice(program.skip + 1)];
  const environment = new Environment(currentDirectory);
  const place = { environment, directory: currentDirectory, depth: 0 };
  const interpreter = interpreterOf(name);
  const run = interpreter?.language === 'shell' ? runOf(interpreter, own, 0) : undefined;
  if (run?.is === 'text') {
    if (isExact) own.slice(run.at + 1, run.at + 10).forEach((word, i) => void environment.assign(`${i}`, word));
    if (isExact && run.at + 2 < own.length) environment.assign('@', own.slice(run.at + 2).join(' '));
    const script = isExact ? (own[run.at] ?? '') : own.slice(run.at).join(' ');
    const before = own.slice(0, run.at).filter((word) => word !== '');
    maker.script(script, { ...place, depth: 1 }, { image: program.image, before: `${before.join(' ')} ` });
  } else {
    const isRead = words[0] === name && isNormal(commandLine);
    const plain = withLongOptions(isRead ? own : normalised(own, isExact, environment, work));
    const usual = inUsualForm(plain, isExact);
    if (plain !== own) maker.add(program.image, plain.join(' '), currentDirectory);
    if (usual !== plain) maker.add(program.image, usual.join(' '), currentDirectory);
    if (commandLine.includes('\n')) maker.add(program.image, onOneLine(cut(commandLine)), currentDirectory);
    maker.addWithWholePaths(program.image, usual, place);
    maker.follow({ words: own, isExact, ...place });
  }
  return maker.finish();
}

/* Users choose argv[0] of the programs that they start, and often the last argument, of any length. Neither may displace the
 * other arguments.
 */

/** Maximum part of argv[0] that is read: paths are not longer. In characters. */
const LONGEST_NAME = 1_024;
/** Each argument of a long command line keeps this many characters, unless there are too many arguments. */
const SHARE = 256;

/** The words of a command line whose exact arguments are unknown. */
function wordsOf(commandLine: string): readonly string[] {
  const end = commandLine.indexOf(' ');
  if (end === -1) return [cut(commandLine)];
  return [commandLine.slice(0, Math.min(end, LONGEST_NAME)), ...cut(commandLine.slice(end + 1)).split(' ')];
}

/** The arguments, with long ones truncated if there is too much text; then the beginning and the end of the list. */
function cutWords(argv: readonly string[]): readonly string[] {
  const [called = ''] = argv;
  const rest = argv.slice(1); // not `...rest`, which passes each of 100,000 separately
  const most = longestOf(rest);
  const head = [called.slice(0, LONGEST_NAME)];
  let at = 0;
  for (let left = HEAD; at < rest.length && left > 0; at++) left -= added(head, rest[at] ?? '', most);
  const tail: string[] = [];
  for (let left = TAIL, last = rest.length; last > at && left > 0; last--) {
    left -= added(tail, rest[last - 1] ?? '', most);
  }
  return [...head, ...tail.reverse()];
}

function added(words: string[], word: string, most: number): number {
  const [head, tail] = [Math.ceil(most * 0.75), Math.floor(most * 0.25)];
  const kept = cut(word, { head, tail });
  words.push(kept);
  return kept.length + 1;
}

/** The length to which each argument is truncated so that all fit: shorter ones leave their rest to the rest. */
function longestOf(words: readonly string[]): number {
  let left = HEAD + TAIL - words.length;
  if (left <= 0) return SHARE;
  const lengths = words.map(({ length }) => length).sort((a, b) => a - b);
  for (const [index, length] of lengths.entries()) {
    const share = Math.floor(left / (lengths.length - index));
    if (length > share) return Math.max(share, SHARE);
    left -= length;
  }
  return HEAD + TAIL;
}

/** Words without quotes, backslashes and repeated spaces, with argv[0] as a name, and with normalised paths. */
function normalised(own: readonly string[], isExact: boolean, environment: Environment, work: Work) {
  const known = { environment, work, outputOf: () => undefined };
  const plain = (text: string): string =>
    isPlain(text) || !work.spend(text.length) ? text : expandWord(lexArgument(text, work), false, known).join(' ');
  const words = isExact ? own.map(plain) : plain(own.join(' ')).split(' ');
  return words.filter((word) => word !== '').map(normaliseArgument);
}

/** Whether normalising a line would leave it unchanged. */
const isNormal = (line: string): boolean =>
  isPlain(line) && !['  ', '//', '/.', ' /proc/'].some((text) => line.includes(text));

/** Whether the text has no special characters. */
const isPlain = (text: string): boolean => !/["'\\$`{]/.test(text);
