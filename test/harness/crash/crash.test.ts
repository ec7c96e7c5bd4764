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

/** Kills agents, and asserts that there are no violations. @returns the counts, and the printed lines */
async function killed(options: Omit<Parameters<typeof crash>[0], 'seed' | 'say'>) {
  const lines: string[] = [];
  const { total, violations } = await crash({ ...options, seed: SEED, say: (line) => lines.push(line) });
  assert.deepEqual(violations, [], lines.join('\n'));
  process.stderr.write(`      ${lines.at(-1)}\n`);
  return { ...total.counts, runs: total.runs, also: total.also, lines: lines.join('\n') };
}

describe('an agent that is killed with -9, again and again', function () {
  this.timeout(600_000); // takes two minutes on an idle machine

  it(`an agent killed ${RUNS} times delivers every event of auditd's log under a single id`, async function () {
    require(this, missingForLog());
    const { runs, events, delivered, missing, lines } = await killed({ runs: RUNS });
    assert.equal(runs, RUNS);
    assert.ok(events > RUNS, lines);
    assert.equal(delivered + missing, events);
  });

  it('a killed agent delivers every count of aggregated events, and none twice', async function () {
    require(this, missingForLog());
    const { delivered, lines } = await killed({ runs: COUNTED_RUNS, aggregated: true });
    assert.ok(delivered > COUNTED_RUNS, lines);
  });

  it('a killed agent delivers every alert once under its own id, and its windows continue', async function () {
    require(this, missingForLog() ?? missingForOwnRules());
    const { also, lines } = await killed({ runs: ALERT_RUNS, alerts: true });
    assert.ok((also['alerts made'] ?? 0) > ALERT_RUNS, lines);
    assert.ok((also['continued after a kill'] ?? 0) > 0, lines);
  });

  it("a killed agent delivers every event of the kernel's audit that happened while it listened", async function () {
    require(this, await missingForAudit());
    const { delivered, lines } = await killed({ runs: KERNEL_RUNS, source: 'auditUnicast' });
    assert.ok(delivered > KERNEL_RUNS, lines);
  });
});
