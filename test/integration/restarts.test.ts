import assert from 'node:assert/strict';
import { require } from '../harness/require.ts';
import { fullest } from '../harness/restarts/attempts.ts';
import { Restarts } from '../harness/restarts/restarts.ts';
import { missingForLog } from '../harness/scenario/launch.ts';

/** Seed of the random restarts. The agent's own jitter differs each time. */
const SEED = 5;
const RESTARTS = 10;

describe('An agent whose hub and proxy restart repeatedly', function () {
  this.timeout(420_000); // mostly less than a minute, but long back-offs and a loaded machine take longer

  it('delivers every event once, and never exceeds the rate of attempts @release', async function () {
    require(this, missingForLog());
    const lines: string[] = [];
    const say = (line: string) => lines.push(line);
    // Restarts without time to recover between them cause few back-offs.
    const outcome = await Restarts.run({
      site: 'moduleKey',
      restarts: RESTARTS,
      seed: SEED,
      calm: 0,
      longest: 2,
      say,
      isVerbose: true,
    });
    assert.deepEqual(outcome.verdict.violations, [], lines.join('\n'));
    const { delivered = 0, events = 0 } = outcome.settled ?? {};
    assert.equal(delivered, events);
    assert.ok(events > RESTARTS, lines.join('\n'));
    assert.ok(outcome.recoveries.length > 0);
    assert.ok(
      Object.values(outcome.mostPerMinute).some((most) => most > 1),
      'no attempts were counted',
    );
  });
});

describe('the fullest window', () => {
  const cases: readonly [readonly number[], number][] = [
    [[], 0],
    [[0], 1],
    [[0, 59_999], 2],
    [[0, 60_000], 1],
    [[70_000, 0, 65_000, 10_000, 129_000, 60_001], 3],
  ];
  for (const [times, most] of cases) {
    it(`has ${most} of ${JSON.stringify(times)}`, () => assert.equal(fullest(times).length, most));
  }
});
