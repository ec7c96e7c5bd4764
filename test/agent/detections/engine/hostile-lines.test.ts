import assert from 'node:assert/strict';
import { builtInDocuments } from '../../../../src/agent/detections/built-in.ts';
import { visit } from '../../../../src/agent/detections/sigma/log-source.ts';
import type { Test } from '../../../../src/agent/detections/sigma/rule.ts';
import { readRuleSet } from '../../../../src/agent/detections/sigma/rule-set.ts';
import { processorTime } from '../../../harness/processor-time.ts';

type PatternTest = Extract<Test, { is: 'pattern' }>;

const LENGTH = 8_193;
/** CPU time of the fastest of several runs, so that other processes don't count. */
const MAX_MS = 5;
const TRIES = 25;

/** Parts of an expression as text, which leads a search deeply into it. */
const partsOf = (source: string): readonly string[] => [
  ...source.split(/[()|[\]{}?*+^$\\]+/).filter((part) => part !== '' && part.length < 30),
  ...[' ', '/', ';', '\n', '|', '"', 'a'],
];

function* linesFor(source: string): Generator<string> {
  let seed = 7;
  const pick = <T>(all: readonly T[]): T => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
    return all[Math.floor((seed / 0x7fffffff) * all.length) % all.length] as T;
  };
  const parts = partsOf(source);
  for (const between of ['', ' ', ' ']) {
    let line = '';
    while (line.length < LENGTH) line += pick(parts) + between;
    yield line.slice(0, LENGTH);
  }
  const part = pick(parts);
  yield part.repeat(Math.ceil(LENGTH / part.length)).slice(0, LENGTH);
}

function fastestMs(run: () => void): number {
  let fastest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < TRIES && fastest >= MAX_MS; i += 1) {
    const used = processorTime();
    run();
    fastest = Math.min(fastest, used());
  }
  return fastest;
}

describe('hostile lines', () => {
  const patterns: PatternTest[] = [];
  for (const rule of readRuleSet(builtInDocuments()).rules) {
    if (rule.is === 'detection')
      visit(rule.expression, (_, test) => void (test?.is === 'pattern' && patterns.push(test)));
  }

  it(`take less than ${MAX_MS} ms in each expression of the shipped rules @release`, () => {
    assert.ok(patterns.length > 50);
    for (const { source, pattern } of patterns) {
      for (const line of linesFor(source)) {
        const taken = fastestMs(() => void pattern.matches(line));
        assert.ok(taken < MAX_MS, `${taken} ms: ${source}`);
      }
    }
  });
});
