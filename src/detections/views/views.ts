/* A process start as several readings, so that a rule needs to know one spelling only. */
import { Environment } from './environment.ts';
import { expandWord } from './expansion.ts';
import { lexArgument } from './lexer.ts';
import { cut, HEAD, TAIL, Work } from './limits.ts';
import { programOf } from './multi-call.ts';
import { nameOf } from './paths.ts';
import { normaliseArgument, Reading } from './reading.ts';
import { interpreterOf, runOf } from './shells.ts';
import type { ProcessStart, View } from './view.ts';

export type { ProcessStart, View } from './view.ts';

/**
 * The readings of a process start, at most MAX_VIEWS, without duplicates. The first is the event as it is, but for the
 * image of a multi-call binary. The same start gives the same views; the time is bounded whatever the command line is.
 */
export function viewsOf(start: ProcessStart, work = new Work()): readonly View[] {
  const { executable, commandLine, argv, currentDirectory } = start;
  const isExact = argv !== undefined;
  const words = isExact ? cutWords(argv) : cut(commandLine).split(' ');
  const program = programOf(executable, words);
  const reading = new Reading(work);
  reading.add(program.image, commandLine, currentDirectory);
  if (program.claimed !== undefined) reading.add(program.claimed, commandLine, currentDirectory);

  // What the kernel runs counts, not what the process says it is.
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
    reading.script(script, { ...place, depth: 1 }, { image: program.image, before: `${before.join(' ')} ` });
  } else {
    if (words[0] !== name || !isNormal(commandLine)) {
      reading.add(program.image, normalised(own, isExact, environment, work), currentDirectory);
    }
    reading.follow({ words: own, isExact, ...place });
  }
  return reading.finish();
}

/** The beginning and the end of a long list of arguments. */
function cutWords(argv: readonly string[]): readonly string[] {
  let length = argv.length;
  for (const word of argv) length += word.length;
  if (length <= HEAD + TAIL) return argv;
  const head: string[] = [];
  let at = 0;
  for (let left = HEAD; at < argv.length && left > 0; at++) {
    const word = cut(argv[at] ?? '');
    head.push(word);
    left -= word.length + 1;
  }
  const tail: string[] = [];
  let last = argv.length;
  for (let left = TAIL; last > at && left > 0; last--) {
    const word = cut(argv[last - 1] ?? '');
    tail.push(word);
    left -= word.length + 1;
  }
  return [...head, ...tail.reverse()];
}

/** Quotes, backslashes and repeated blanks are gone, argv[0] is a name, and paths are direct. */
function normalised(own: readonly string[], isExact: boolean, environment: Environment, work: Work): string {
  const known = { environment, work, outputOf: () => undefined };
  const plain = (text: string): string =>
    isPlain(text) || !work.spend(text.length) ? text : expandWord(lexArgument(text, work), false, known).join(' ');
  const words = isExact ? own.map(plain) : plain(own.join(' ')).split(' ');
  return words
    .filter((word) => word !== '')
    .map(normaliseArgument)
    .join(' ');
}

/** Whether normalising a line would leave it as it is. */
const isNormal = (line: string): boolean =>
  isPlain(line) && !['  ', '//', '/.', ' /proc/'].some((text) => line.includes(text));

/** Whether nothing in the text means more than itself. */
const isPlain = (text: string): boolean => !/["'\\$`{]/.test(text);
