import assert from 'node:assert/strict';
import { require } from '../system/require.ts';
import { missingForCrash } from './chain.ts';
import { crash } from './crash.ts';

/** Of a run by hand as well; it is always the same, and what happens between is left to chance. */
const SEED = 4;
const RUNS = 40;

describe('an agent that is killed with -9, again and again', function () {
  this.timeout(600_000); // two minutes on a machine that has nothing else to do
  before(function () {
    require(this, missingForCrash());
  });

  it(`delivers every event, ${RUNS} kills long, and repeats none under another id`, async () => {
    const said: string[] = [];
    const { total, violations } = await crash({ runs: RUNS, seed: SEED, say: (line) => said.push(line) });
    assert.deepEqual(violations, [], said.join('\n'));
    assert.equal(total.runs, RUNS);
    assert.ok(total.events > RUNS, said.join('\n'));
    assert.equal(total.delivered + total.missing, total.events);
    process.stderr.write(`      ${said.at(-1)}\n`);
  });
});
