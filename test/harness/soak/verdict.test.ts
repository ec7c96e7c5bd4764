import assert from 'node:assert/strict';
import { Random } from '../scenario/random.ts';
import { judge, judgeBeside, lowest } from './verdict.ts';

const LIMIT = { name: 'memory', unit: 'MiB', perDay: 1 };

/** Hourly points of one day. */
const day = (at: (x: number) => number) =>
  Array.from({ length: 24 }, (_, hour) => ({ x: hour / 24, y: at(hour / 24) }));

describe('judge', () => {
  let random: Random;
  beforeEach(() => {
    random = new Random(1);
  });
  const noise = () => random.next() - 0.5;

  it('a metric that grows within noise is reported as growing', () => {
    assert.equal(
      judge(
        LIMIT,
        day((x) => 40 + 5 * x + noise()),
      ).judgement,
      'grows',
    );
  });

  it('a noisy metric without growth is reported as steady', () => {
    assert.equal(
      judge(
        LIMIT,
        day(() => 40 + noise()),
      ).judgement,
      'steady',
    );
  });

  it('the warm-up, in which the agent reaches its size, is ignored', () => {
    assert.equal(
      judge(
        LIMIT,
        day((x) => (x < 0.2 ? 30 + 100 * x : 50) + noise() / 10),
      ).judgement,
      'steady',
    );
  });

  it('a metric without a limit is not evaluated', () => {
    const { judgement, slope } = judge(
      { name: 'shared memory', unit: 'MiB' },
      day((x) => 40 + 5 * x + noise()),
    );
    assert.equal(judgement, 'not judged');
    assert.ok((slope?.perX ?? 0) > 4);
  });

  it('a metric with unknown values is reported as unknown', () => {
    assert.equal(
      judge(
        LIMIT,
        day(() => Number.NaN),
      ).judgement,
      'unknown',
    );
  });

  it('a metric is reported as unknown if the run was too short', () => {
    assert.equal(
      judge(
        LIMIT,
        day((x) => (Math.round(24 * x) % 2 === 0 ? 35 : 45)), // no slope, but a slope of a few MiB would look the same
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
  /** Points on a machine that gets slower, at times much slower; its speed affects the agent more than the peer. */
  const beside = (growth: number, noise: (hour: number) => number = () => random.next() - 0.5) =>
    day(() => 0).map(({ x }, hour) => {
      const peer = 300 + 50 * x + (hour % 5) * 60;
      return { x, beside: peer, y: 1.6 * peer + growth * x + noise(hour) };
    });

  it('a metric that rises with the measurement of the peer is reported as steady', () => {
    assert.equal(judgeBeside(LIMIT, beside(0)).judgement, 'steady');
  });

  it('a metric that grows more than the measurement of the peer is reported as growing', () => {
    assert.equal(judgeBeside(LIMIT, beside(5)).judgement, 'grows');
  });

  it('a metric that cannot be separated from the measurement of the peer is reported as unknown', () => {
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
  it('lowest returns the lowest value of each hour, at work or at rest', () => {
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
