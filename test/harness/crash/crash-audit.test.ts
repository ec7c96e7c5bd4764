import assert from 'node:assert/strict';
import { missingForAudit } from '../../system/missing-for-audit.ts';
import { require } from '../require.ts';
import { killed } from './killed.ts';

const RUNS = 8;

describe('an agent with audit that is killed with -9, again and again @release', function () {
  this.timeout(600_000);

  it("a killed agent delivers every event of the kernel's audit that happened while it listened", async function () {
    require(this, await missingForAudit());
    const { delivered, lines } = await killed({ runs: RUNS, source: 'auditUnicast' });
    assert.ok(delivered > RUNS, lines);
  });
});
