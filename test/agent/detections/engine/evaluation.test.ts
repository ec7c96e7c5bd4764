import assert from 'node:assert/strict';
import { copyOfEvaluation, type Match, sizeOfEvaluation } from '../../../../src/agent/detections/engine/evaluation.ts';
import type { View } from '../../../../src/agent/detections/subject.ts';
import { rulesOf, ruleWith } from '../rules.ts';

const view = (more: Partial<View> = {}): View => ({
  Image: '/bin/x',
  CommandLine: 'x -y',
  CurrentDirectory: undefined,
  argv: undefined,
  download: undefined,
  ...more,
});

describe('the size of an evaluation in the match cache', () => {
  const [rule] = rulesOf(ruleWith('s: { A: 1 }\ncondition: s'));
  const match = (...views: readonly View[]): Match => {
    assert.ok(rule?.is === 'detection');
    return { rule, views, cut: false, selections: ['s'] };
  };
  const sizeOf = (...matches: readonly Match[]) => sizeOfEvaluation({ matches, isWhole: true });

  it('counts 128 characters for each match without views', () => {
    assert.equal(sizeOf(), 0);
    assert.equal(sizeOf(match()), 128);
    assert.equal(sizeOf(match(), match(), match()), 3 * 128);
  });

  it('counts the strings of each view once, and 128 characters for the view', () => {
    const shared = view({ CurrentDirectory: '/srv' });
    const size = 128 + '/bin/x'.length + 'x -y'.length + '/srv'.length;
    assert.equal(sizeOf(match(shared)), 128 + size);
    assert.equal(sizeOf(match(shared), match(shared)), 2 * 128 + size);
    assert.equal(sizeOf(match(shared, { ...shared })), 128 + 2 * size);
  });

  it('counts 24 characters and the string of each argument', () => {
    const exact = view({ argv: ['x', '-yz', ''] });
    assert.equal(sizeOf(match(exact)) - sizeOf(match(view())), 3 * 24 + 'x-yz'.length);
  });

  it('is the same for a copy, which has equal views and shares them as the original does', () => {
    const views = [
      view({ CurrentDirectory: '/srv', argv: ['x', '-y'], download: 1 }),
      view({ Image: '/bin/other', CommandLine: '' }),
    ];
    const evaluation = { matches: [match(...views), match(...views)], isWhole: false };
    const copy = copyOfEvaluation(evaluation);
    assert.deepEqual(copy, evaluation);
    assert.equal(sizeOfEvaluation(copy), sizeOfEvaluation(evaluation));
    assert.equal(copy.matches[0]?.views[0], copy.matches[1]?.views[0]);
    assert.notEqual(copy.matches[0]?.views[0], views[0]);
  });
});
