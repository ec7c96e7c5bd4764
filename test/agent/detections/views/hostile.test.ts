import assert from 'node:assert/strict';
import fc from 'fast-check';
import { HEAD, MAX_VIEWS, MAX_WORK, TAIL, Work } from '../../../../src/agent/detections/views/limits.ts';
import { interpreterOf } from '../../../../src/agent/detections/views/shells.ts';
import { type ProcessStart, viewsOf } from '../../../../src/agent/detections/views/views.ts';
import { fuzzRuns, sampled } from '../../../fuzz.ts';
import { PROGRAMS, REPEATED } from './hostile-pieces.ts';
import { script, shownViews } from './samples.ts';

const starts = (program: string, text: string): ProcessStart[] => {
  const commandLine = program + text;
  const words = program.trimEnd().split(' ');
  const executable = `/usr/bin/${words[0]}`;
  return [
    { executable, commandLine },
    { executable, commandLine, argv: [...words, text] },
    { executable, commandLine, argv: commandLine.split(' '), currentDirectory: '/tmp' },
  ];
};

function assertBounded(of: ProcessStart, work = new Work()): void {
  const views = viewsOf(of, work);
  assert.ok(views.length >= 1 && views.length <= MAX_VIEWS);
  assert.equal(views[0]?.CommandLine, of.commandLine);
  for (const { CommandLine } of views.slice(1))
    assert.ok(CommandLine.length <= Math.max(HEAD + TAIL + 1, of.commandLine.length));
  const distinct = new Set(views.map((view) => JSON.stringify(view)));
  assert.equal(distinct.size, views.length);
  assert.ok(work.done <= MAX_WORK);
}

describe('views of hostile command lines', () => {
  for (const program of PROGRAMS) {
    it(`stays limited for any repetition after ${program}`, () => {
      for (const text of sampled(REPEATED)) {
        for (const length of [8_192, 131_072]) {
          for (const of of starts(program, text.repeat(Math.ceil(length / text.length)).slice(0, length)))
            assertBounded(of);
        }
      }
    });
  }

  it('takes about the same work for 128 KiB as for 16 KiB @release', () => {
    const workFor = (text: string, length: number) => {
      const work = new Work(Number.MAX_SAFE_INTEGER);
      for (const of of starts('bash -c ', text.repeat(Math.ceil(length / text.length)).slice(0, length)))
        viewsOf(of, work);
      return work.done;
    };
    for (const text of REPEATED.filter((text) => !text.includes('find'))) {
      const short = workFor(text, 16_384);
      const long = workFor(text, 131_072);
      assert.ok(long <= short * 2 + 2_000, `${JSON.stringify(text)}: ${short}, ${long}`);
    }
  });

  it('includes the end of a long line', () => {
    assert.ok(
      shownViews(script(`: ${'a'.repeat(100_000)}; w""get http://x`)).includes('/usr/bin/wget | wget http://x'),
    );
  });

  it('includes a program after many others', () => {
    const distraction = Array.from({ length: 200 }, (_, i) => `echo ${i}`).join(';');
    assert.ok(shownViews(script(`${distraction}; w""get http://x`)).includes('/usr/bin/wget | wget http://x'));
    const programs = Array.from({ length: 200 }, (_, i) => `a${i}`).join(';');
    assert.ok(shownViews(script(`${programs}; w""get http://x`)).includes('/usr/bin/wget | wget http://x'));
  });

  it('never throws and is reproducible for any line', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        ...REPEATED,
        ...PROGRAMS,
        'wget',
        ' -c ',
        ' | sh',
        '=',
        '}',
        ')',
        '--',
        ' -',
        '/bin/sh',
        'base64 -d',
        '\n',
      ),
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc.string({ maxLength: 8 }),
    );
    const text = fc.array(piece, { maxLength: 24 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(fc.constantFrom(...PROGRAMS, ''), text, (program, tail) => {
        for (const of of starts(program, tail)) {
          assertBounded(of);
          assert.deepEqual(viewsOf(of), viewsOf(of));
        }
      }),
      { numRuns: fuzzRuns(33_000) },
    );
  });
});

describe('views of obfuscated commands', () => {
  // An interpreter, such as pypy, has views of its own.
  const letters = fc
    .string({ unit: fc.constantFrom(...'bcdegklmpquvwyz'), minLength: 4, maxLength: 8 })
    .filter((name) => interpreterOf(name) === undefined);
  const letter = fc.constantFrom(
    ...[
      (c: string) => c,
      (c: string) => `"${c}"`,
      (c: string) => `'${c}'`,
      (c: string) => `\\${c}`,
      (c: string) => `${c}""`,
    ],
    ...[(c: string) => `''${c}`, (c: string) => `$'\\x${c.charCodeAt(0).toString(16)}'`, (c: string) => `${c}$@`],
    ...[(c: string) => `$(echo ${c})`, (c: string) => `\`printf ${c}\``, (c: string) => `$*${c}`],
  );
  const word = letters.chain((plain) =>
    fc
      .tuple(...[...plain].map(() => letter))
      .map((how) => ({ plain, hidden: [...plain].map((c, i) => how[i]?.(c) ?? c).join('') })),
  );
  const blank = fc.constantFrom(' ', '   ', '\t', `\${IFS}`, '$IFS$9', ' \\\n ');

  it('equal those of the plain commands for any spelling of the letters', () => {
    fc.assert(
      fc.property(word, word, blank, (program, argument, between) => {
        const hidden = shownViews(script(program.hidden + between + argument.hidden));
        assert.ok(hidden.includes(`/usr/bin/${program.plain} | ${program.plain} ${argument.plain}`), hidden.join('\n'));
      }),
      { numRuns: fuzzRuns(10_000) },
    );
  });

  it('recurs when a normalised view is read as a process start', () => {
    fc.assert(
      fc.property(word, word, (program, argument) => {
        const view = viewsOf(script(`${program.hidden} ${argument.hidden}`)).at(-1);
        assert.ok(view !== undefined);
        assert.deepEqual(viewsOf({ executable: view.Image, commandLine: view.CommandLine }), [view]);
      }),
      { numRuns: fuzzRuns(10_000) },
    );
  });
});
