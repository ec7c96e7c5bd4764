import assert from 'node:assert/strict';
import { require } from '../require.ts';
import { missingForLog, missingForOwnRules } from '../scenario/launch.ts';
import { killed, kills } from './killed.ts';

const RUNS = kills(40, 3);
const COUNTED_RUNS = 10;
const ALERT_RUNS = 5;

describe('an agent that is killed with -9, again and again', function () {
  this.timeout(600_000); // takes a minute on an idle machine

  it(`an agent killed ${RUNS} times delivers every event of auditd's log under a single id`, async function () {
    require(this, missingForLog());
    const { runs, events, delivered, missing, lines } = await killed({ runs: RUNS });
    assert.equal(runs, RUNS);
    assert.ok(events > RUNS, lines);
    assert.equal(delivered + missing, events);
  });

  it('a killed agent delivers every count of aggregated events, and none twice @release', async function () {
    require(this, missingForLog());
    const { delivered, lines } = await killed({ runs: COUNTED_RUNS, aggregated: true });
    assert.ok(delivered > COUNTED_RUNS, lines);
  });

  it('a killed agent delivers every alert once under its own id, and its windows continue @release', async function () {
    require(this, missingForLog() ?? missingForOwnRules());
    const { also, lines } = await killed({ runs: ALERT_RUNS, alerts: true });
    assert.ok((also['alerts made'] ?? 0) > ALERT_RUNS, lines);
    assert.ok((also['continued after a kill'] ?? 0) > 0, lines);
  });
});
