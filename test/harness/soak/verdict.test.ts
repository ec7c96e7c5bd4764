import assert from 'node:assert/strict';
import { Random } from '../crash/random.ts';
import { judge, judgeBeside, lowest } from './verdict.ts';

const LIMIT = { name: 'memory', unit: 'MiB', perDay: 1 };

/** Points of a day, each hour. */
const day = (at: (x: number) => number) =>
  Array.from({ length: 24 }, (_, hour) => ({ x: hour / 24, y: at(hour / 24) }));

describe('judge', () => {
  let random: Random;
  beforeEach(() => {
    random = new Random(1);
  });
  const noise = () => random.next() - 0.5;

  it('finds growth in noise', () => {
    assert.equal(
      judge(
        LIMIT,
        day((x) => 40 + 5 * x + noise()),
      ).judgement,
      'grows',
    );
  });

  it('does not take noise for growth', () => {
    assert.equal(
      judge(
        LIMIT,
        day(() => 40 + noise()),
      ).judgement,
      'steady',
    );
  });

  it('ignores the warm-up, in which the agent reaches its size', () => {
    assert.equal(
      judge(
        LIMIT,
        day((x) => (x < 0.2 ? 30 + 100 * x : 50) + noise() / 10),
      ).judgement,
      'steady',
    );
  });

  it('does not evaluate a metric without a limit', () => {
    const { judgement, slope } = judge(
      { name: 'shared memory', unit: 'MiB' },
      day((x) => 40 + 5 * x + noise()),
    );
    assert.equal(judgement, 'not judged');
    assert.ok((slope?.perX ?? 0) > 4);
  });

  it('does not know about what is unknown', () => {
    assert.equal(
      judge(
        LIMIT,
        day(() => Number.NaN),
      ).judgement,
      'unknown',
    );
  });

  it('returns unknown if a run was too short', () => {
    assert.equal(
      judge(
        LIMIT,
        day((x) => (Math.round(24 * x) % 2 === 0 ? 35 : 45)), // no slope, but one of a few MiB would look the same
      ).judgement,
      'unknown',
    );
    assert.equal(judge(LIMIT, day(() => 40).slice(0, 3)).judgement, 'unknown');
  });
});

describe('judgeBeside', () => {
  let random: Random;
  beforeEach(() => {
    random = new Random(1);
  });
  /** A machine that becomes dearer, and now and then much dearer; the agent's work follows it more than the peer's does. */
  const beside = (growth: number, noise: (hour: number) => number = () => random.next() - 0.5) =>
    day(() => 0).map(({ x }, hour) => {
      const peer = 300 + 50 * x + (hour % 5) * 60;
      return { x, beside: peer, y: 1.6 * peer + growth * x + noise(hour) };
    });

  it('does not take for growth what the machine has done to the peer, too', () => {
    assert.equal(judgeBeside(LIMIT, beside(0)).judgement, 'steady');
  });

  it('finds growth beside it', () => {
    assert.equal(judgeBeside(LIMIT, beside(5)).judgement, 'grows');
  });

  it('returns unknown if the variables cannot be separated', () => {
    assert.equal(
      judgeBeside(
        LIMIT,
        beside(0, (hour) => (hour % 2 === 0 ? -5 : 5)),
      ).judgement,
      'unknown',
    );
    assert.equal(judgeBeside(LIMIT, beside(0).slice(0, 6)).judgement, 'unknown');
  });
});

describe('lowest', () => {
  it('uses the lowest value of each hour, at work or at rest', () => {
    const looks = [
      { x: 1, own: 5 },
      { x: 2, own: 6 },
    ];
    const samples = [
      { x: 0.5, own: 4 },
      { x: 1, own: 7 },
      { x: 1.5, own: 9 },
      { x: 2.5, own: 1 },
    ];
    assert.deepEqual(lowest('own', looks, samples), [
      { x: 1, y: 4 },
      { x: 2, y: 6 },
    ]);
  });
});
