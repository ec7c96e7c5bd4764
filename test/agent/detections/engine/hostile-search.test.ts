import assert from 'node:assert/strict';
import { builtInDocuments } from '../../../../src/agent/detections/built-in.ts';
import { Detector } from '../../../../src/agent/detections/detector.ts';
import { readRuleSet } from '../../../../src/agent/detections/sigma/rule-set.ts';
import { subjectOf } from '../../../../src/agent/detections/subjects.ts';
import { HEAD, TAIL } from '../../../../src/agent/detections/views/limits.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';
import { processorTime } from '../../../harness/processor-time.ts';
import { PROGRAMS, REPEATED } from '../views/hostile-pieces.ts';

/*
 * Looks for the start of a program that takes longest to evaluate, by hill climbing: a line is changed at random, and kept if it takes
 * longer. What it finds is printed.
 */

/**
 * CPU time of the fastest of several runs: twice the budget of 5 ms, since the same work takes up to twice as long while
 * others use the processor's caches.
 */
const MAX_MS = 10;
const TRIES = 25;
const CLIMBS = 60;
const STEPS = 60;
/** Longer strings are truncated. */
const LENGTH = HEAD + TAIL;

interface Line {
  readonly program: string;
  /** Repeated until the line is long enough. */
  readonly pieces: readonly string[];
  /** Whether the pieces are one argument, with its bounds known. */
  readonly isExact: boolean;
}

const WORDS = [
  ...[
    'a',
    '=',
    '}',
    ')',
    ' -',
    '--',
    '-c ',
    '/bin/sh ',
    '| sh',
    'base64 -d',
    'wget http://192.0.2.1/a ',
    'chmod 777 /tmp/a ',
  ],
  ...['/etc/shadow ', '/dev/tcp/192.0.2.1/1 ', 'crontab ', 'iptables -F ', 'rm -rf /var/log ', 'python3 -c ', 'nc -e '],
];
const MAX_PIECE_CHARACTERS = 4_096;
const base64 = (text: string) => Buffer.from(text).toString('base64');
/** Ways to put a text into another one. */
const WRAPPINGS: readonly ((text: string) => string)[] = [
  (text) => `'${text}' `,
  (text) => `"${text}" `,
  (text) => `$(${text})`,
  (text) => `sh -c '${text}';`,
  (text) => `eval "${text}";`,
  (text) => `env -S "${text}" `,
  (text) => `${'sudo '.repeat(20)}${text}`,
  (text) => `echo ${base64(text)}|base64 -d|sh;`,
  (text) => `sh<<a\n${text}\na\n`,
  (text) => `{${text},${text}}`,
  (text) => `find / -exec ${text} \\; `,
  (text) => `python3 -c 'import os;os.system("${text}")';`,
  (text) => text.repeat(3),
];

let seed = 1;
const below = (limit: number): number => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((seed / 2 ** 32) * limit);
};
const pick = <T>(all: readonly T[]): T => all[below(all.length)] as T;
const piece = (): string => pick(pick([REPEATED, REPEATED, WORDS, PROGRAMS]));

const randomLine = (): Line => ({
  program: pick(PROGRAMS),
  pieces: Array.from({ length: 1 + below(3) }, piece),
  isExact: below(2) === 0,
});

function changed({ program, pieces, isExact }: Line): Line {
  const at = below(pieces.length);
  const [before, now, after] = [pieces.slice(0, at), pieces[at] ?? '', pieces.slice(at + 1)];
  const wrapped = pick(WRAPPINGS)(now);
  switch (below(6)) {
    case 0:
      return { program: pick(PROGRAMS), pieces, isExact };
    case 1:
      return { program, pieces, isExact: !isExact };
    case 2:
      return { program, pieces: pieces.length === 1 ? [piece()] : [...before, ...after], isExact };
    case 3:
      return { program, pieces: [...before, piece(), ...after], isExact };
    case 4:
      return { program, pieces: [...before, now, piece(), ...after], isExact };
    default:
      return {
        program,
        pieces: [...before, wrapped.length > MAX_PIECE_CHARACTERS ? piece() : wrapped, ...after],
        isExact,
      };
  }
}

describe('the slowest start of a program that can be found', () => {
  // A rule that takes long would be switched off: with this clock, none takes any time.
  const clock = { now: () => new Date(0), monotonic: () => milliseconds(0) };
  const detector = new Detector({ rules: readRuleSet(builtInDocuments()).rules, clock });

  function evaluate({ program, pieces, isExact }: Line): void {
    const whole = pieces.join('');
    const text = whole.repeat(Math.ceil(LENGTH / whole.length)).slice(0, LENGTH);
    const words = program.trimEnd().split(' ');
    const subject = subjectOf({
      name: 'ProcessCreate',
      payload: { Executable: `/usr/bin/${words[0]}`, CommandLine: program + text, ProcessId: 9, ParentProcessId: 8 },
      time: 0,
      ...(isExact ? { argv: [...words, text] } : {}),
    });
    if (subject !== undefined) detector.evaluate(subject);
  }

  function fastest(line: Line, tries: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < tries; i += 1) {
      const used = processorTime();
      evaluate(line);
      least = Math.min(least, used());
    }
    return least;
  }

  // It takes minutes. The known worst lines are evaluated in every run, see hostile-lines.test.ts.
  if (process.env.VAKT_FUZZ !== 'full') return;

  it(`takes less than ${MAX_MS} ms`, () => {
    let worst = { line: randomLine(), ms: 0 };
    for (let i = 0; i < 500; i += 1) evaluate(randomLine()); // until everything is compiled
    for (let climb = 0; climb < CLIMBS; climb += 1) {
      let line = randomLine();
      let ms = fastest(line, 3);
      for (let step = 0; step < STEPS; step += 1) {
        const other = changed(line);
        const taken = fastest(other, 3);
        if (taken > ms) [line, ms] = [other, taken];
      }
      if (ms <= worst.ms) continue;
      const again = fastest(line, TRIES);
      if (again > worst.ms) worst = { line, ms: again };
    }
    const { program, pieces, isExact } = worst.line;
    const shown = JSON.stringify({ program, pieces: pieces.map((text) => text.slice(0, 200)), isExact });
    process.stdout.write(`      the slowest: ${worst.ms.toFixed(2)} ms, ${shown}\n`);
    assert.ok(worst.ms < MAX_MS, `${worst.ms} ms: ${JSON.stringify(worst.line)}`);
  });
});
