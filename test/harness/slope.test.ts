import assert from 'node:assert/strict';
import { Random } from './scenario/random.ts';
import { slopeBeside, slopeOf } from './slope.ts';

const near = (actual: number | undefined, expected: number) =>
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) < 0.01 * Math.abs(expected), `${actual} is not ${expected}`);

describe('slopeOf', () => {
  it('slopeOf fits a straight line with no margin', () => {
    const slope = slopeOf([0, 1, 2, 3, 4].map((x) => ({ x, y: 7 - 2 * x })));
    near(slope?.perX, -2);
    near(slope?.at0, 7);
    assert.ok((slope?.margin ?? 1) < 1e-9);
  });

  // The standard error of the slope is 0.068055; the printed tables have 2.306 for 8 degrees of freedom.
  it('slopeOf returns the margin from the printed tables of t', () => {
    const weights = [4.17, 5.58, 5.18, 6.11, 4.5, 4.61, 5.17, 4.53, 5.33, 5.14];
    const slope = slopeOf(weights.map((y, index) => ({ x: index + 1, y })));
    near(slope?.perX, 0.006_182);
    near(slope?.margin, 0.156_9);
  });

  it('slopeOf includes the true slope in about 95 % of runs', () => {
    const random = new Random(1);
    const normal = () => Array.from({ length: 12 }, () => random.next()).reduce((all, one) => all + one, -6);
    const runs = 2_000;
    let included = 0;
    for (let run = 0; run < runs; run += 1) {
      const slope = slopeOf(Array.from({ length: 8 }, (_, x) => ({ x, y: 3 * x + 10 * normal() })));
      assert.ok(slope !== undefined);
      if (Math.abs(slope.perX - 3) <= slope.margin) included += 1;
    }
    assert.ok(Math.abs(included / runs - 0.95) < 0.02, `${included} of ${runs}`);
  });

  it('slopeOf returns undefined for too few points, or for points at a single x', () => {
    assert.equal(slopeOf([0, 1, 2, 3].map((x) => ({ x, y: x }))), undefined);
    assert.equal(slopeOf([1, 2, 3, 4, 5].map((y) => ({ x: 2, y }))), undefined);
  });
});

describe('slopeBeside', () => {
  const WAVE = [3, 1, 4, 1, 5, 9, 2, 6];

  it('slopeBeside fits both straight lines with no margin', () => {
    const found = slopeBeside(WAVE.map((beside, x) => ({ x, beside, y: 7 - 2 * x + 3 * beside })));
    near(found?.slope.perX, -2);
    assert.ok((found?.slope.margin ?? 1) < 1e-9);
    near(found?.slope.at0, 7 + (3 * 31) / 8);
    for (const [x, { y }] of (found?.points ?? []).entries()) near(y, 7 - 2 * x + (3 * 31) / 8);
  });

  it('slopeBeside includes the true slope in about 95 % of runs, even if the second variable has a slope', () => {
    const random = new Random(1);
    const normal = () => Array.from({ length: 12 }, () => random.next()).reduce((all, one) => all + one, -6);
    const runs = 2_000;
    let included = 0;
    for (let run = 0; run < runs; run += 1) {
      const besides = Array.from({ length: 9 }, (_, x) => 2 * x + 5 * normal());
      const found = slopeBeside(besides.map((beside, x) => ({ x, beside, y: 3 * x + 4 * beside + 10 * normal() })));
      assert.ok(found !== undefined);
      if (Math.abs(found.slope.perX - 3) <= found.slope.margin) included += 1;
    }
    assert.ok(Math.abs(included / runs - 0.95) < 0.02, `${included} of ${runs}`);
  });

  it('slopeBeside returns undefined for too few points, points at a single x, or inseparable variables', () => {
    assert.equal(slopeBeside(WAVE.slice(0, 5).map((beside, x) => ({ x, beside, y: x }))), undefined);
    assert.equal(slopeBeside(WAVE.map((beside) => ({ x: 2, beside, y: beside }))), undefined);
    assert.equal(slopeBeside(WAVE.map((_, x) => ({ x, beside: 0.1 * x + 7, y: x }))), undefined);
    assert.equal(slopeBeside(WAVE.map((_, x) => ({ x, beside: 7, y: x }))), undefined);
  });
});
