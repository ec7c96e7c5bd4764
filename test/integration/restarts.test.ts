import assert from 'node:assert/strict';
import { missingForCrash } from '../harness/crash/chain.ts';
import { require } from '../harness/require.ts';
import { fullest } from '../harness/restarts/pace.ts';
import { Restarts } from '../harness/restarts/restarts.ts';

/** Of the choice of restarts. The agent's own jitter differs each time. */
const SEED = 5;
const RESTARTS = 10;

describe('an agent whose hub and proxy are restarted, again and again', function () {
  this.timeout(420_000); // less than a minute, mostly; but its back-off can be unlucky, and the machine busy

  it('delivers every event once, and keeps its pace', async function () {
    require(this, missingForCrash());
    const said: string[] = [];
    const say = (line: string) => said.push(line);
    // Without time to recover between the restarts, they fall into few back-offs.
    const outcome = await Restarts.run({
      site: 'moduleKey',
      restarts: RESTARTS,
      seed: SEED,
      calm: 0,
      longest: 2,
      say,
    });
    assert.deepEqual(outcome.violations, [], said.join('\n'));
    assert.equal(outcome.delivered, outcome.events);
    assert.ok(outcome.events > RESTARTS, said.join('\n'));
    assert.ok(outcome.recoveries.length > 0);
    assert.ok(
      Object.values(outcome.mostPerMinute).some((most) => most > 1),
      'attempts are not seen',
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
