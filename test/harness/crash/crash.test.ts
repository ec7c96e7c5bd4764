import assert from 'node:assert/strict';
import { missingForAudit } from '../../system/missing-for-audit.ts';
import { require } from '../require.ts';
import { missingForLog, missingForOwnRules } from '../scenario/launch.ts';

import { crash } from './crash.ts';

/** Seed, also for manual runs. It is always the same, while timing is random. */
const SEED = 4;
const RUNS = 40;
const COUNTED_RUNS = 10;
const KERNEL_RUNS = 8;
const ALERT_RUNS = 5;

describe('an agent that is killed with -9, again and again', function () {
  this.timeout(600_000); // takes two minutes on an idle machine

  it(`an agent killed ${RUNS} times delivers every event of auditd's log under a single id`, async function () {
    require(this, missingForLog());
    const said: string[] = [];
    const { total, violations } = await crash({ runs: RUNS, seed: SEED, say: (line) => said.push(line) });
    assert.deepEqual(violations, [], said.join('\n'));
    assert.equal(total.runs, RUNS);
    assert.ok(total.counts.events > RUNS, said.join('\n'));
    assert.equal(total.counts.delivered + total.counts.missing, total.counts.events);
    process.stderr.write(`      ${said.at(-1)}\n`);
  });

  it('a killed agent delivers every count of aggregated events, and none twice', async function () {
    require(this, missingForLog());
    const said: string[] = [];
    const { total, violations } = await crash({
      runs: COUNTED_RUNS,
      seed: SEED,
      aggregated: true,
      say: (line) => said.push(line),
    });
    assert.deepEqual(violations, [], said.join('\n'));
    assert.ok(total.counts.delivered > COUNTED_RUNS, said.join('\n'));
    process.stderr.write(`      ${said.at(-1)}\n`);
  });

  it('a killed agent delivers every alert once under its own id, and its windows continue', async function () {
    require(this, missingForLog() ?? missingForOwnRules());
    const said: string[] = [];
    const { total, violations } = await crash({
      runs: ALERT_RUNS,
      seed: SEED,
      alerts: true,
      say: (line) => said.push(line),
    });
    assert.deepEqual(violations, [], said.join('\n'));
    assert.ok((total.also['alerts made'] ?? 0) > ALERT_RUNS, said.join('\n'));
    assert.ok((total.also['continued after a kill'] ?? 0) > 0, said.join('\n'));
    process.stderr.write(`      ${said.at(-1)}\n`);
  });

  it("a killed agent delivers every event of the kernel's audit that happened while it listened", async function () {
    require(this, await missingForAudit());
    const said: string[] = [];
    const { total, violations } = await crash({
      runs: KERNEL_RUNS,
      seed: SEED,
      source: 'auditUnicast',
      say: (line) => said.push(line),
    });
    assert.deepEqual(violations, [], said.join('\n'));
    assert.ok(total.counts.delivered > KERNEL_RUNS, said.join('\n'));
    process.stderr.write(`      ${said.at(-1)}\n`);
  });
});
