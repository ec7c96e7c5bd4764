import assert from 'node:assert/strict';
import fc from 'fast-check';
import { fullJitter, randomPart } from '../../../src/core/base/backoff.ts';
import { milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';

const LARGEST = 1 - Number.EPSILON;

describe('fullJitter', () => {
  it('fullJitter draws from zero to a bound that doubles up to the maximum', () => {
    const highest = fullJitter({ first: seconds(1), max: seconds(5) }, () => LARGEST);
    assert.deepEqual(
      [1, 2, 3, 4, 5].map(() => highest.next()),
      [1_000, 2_000, 4_000, 5_000, 5_000],
    );
    const lowest = fullJitter({ first: seconds(1), max: seconds(5) }, () => 0);
    assert.deepEqual([lowest.next(), lowest.next()], [0, 0]);
  });

  it('fullJitter starts again with the first bound after a success', () => {
    const backoff = fullJitter({ first: seconds(1), max: minutes(5) }, () => LARGEST);
    backoff.next();
    backoff.next();
    backoff.reset();
    assert.equal(backoff.next(), 1_000);
  });

  it('fullJitter spreads the delays evenly', () => {
    const draws = [0, 0.25, 0.5, 0.75];
    const waits = draws.map((draw) => fullJitter({ first: seconds(8), max: seconds(8) }, () => draw).next());
    assert.deepEqual(waits, [0, 2_000, 4_000, 6_000]);
  });

  it('fullJitter never leaves its bounds', () => {
    const numbers = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 1 });
    const spans = fc.tuple(fc.nat(60_000), fc.nat(60_000), fc.nat(600_000));
    fc.assert(
      fc.property(numbers, spans, (draws, [least, more, most]) => {
        const atLeast = milliseconds(least);
        const first = milliseconds(least + more);
        const backoff = fullJitter({ atLeast, first, max: milliseconds(first + most) }, () => draws.shift() ?? 0);
        for (let i = draws.length; i > 0; i -= 1) {
          const wait = backoff.next();
          assert.ok(Number.isInteger(wait) && wait >= least && wait <= first + most);
        }
      }),
    );
  });

  it('fullJitter uses a random source by default', () => {
    const waits = Array.from({ length: 20 }, () => fullJitter({ first: minutes(60), max: minutes(60) }).next());
    assert.ok(new Set(waits).size > 1);
  });
});

describe('randomPart', () => {
  it('randomPart returns a number from 0.25 to 1', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (random) => {
        const part = randomPart(() => random);
        assert.ok(part >= 0.25 && part <= 1, String(part));
      }),
    );
  });

  it('randomPart returns a different value on each of 1,000 calls', () => {
    assert.equal(new Set(Array.from({ length: 1_000 }, () => randomPart())).size, 1_000);
  });
});
