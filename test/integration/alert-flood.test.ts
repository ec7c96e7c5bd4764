import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { seconds } from '../../src/core/base/duration.ts';
import { require } from '../harness/require.ts';
import { missingForLog, missingForOwnRules, reading } from '../harness/scenario/launch.ts';
import { NumberedLog } from '../harness/scenario/numbered-log.ts';
import { Random } from '../harness/scenario/random.ts';
import { assertClosed, QUICK, TestBed } from './test-bed.ts';

const STARTS = 3_000;
/** Together, they write as many log lines as may become Diagnostic events in a minute. */
const RULES = 3;
const rule = (n: number) => `title: Flood
id: 00000000-0000-4000-8000-00000000003${n}
level: critical
logsource: { product: linux, category: process_creation }
detection:
  s: { 'CommandLine|contains': vakt-flood- }
  condition: s
vakt: { alert: VAKT_Flood${n}, key: [CommandLine] }
`;

describe('A flood of alerts', function () {
  this.timeout(240_000);
  let bed: TestBed;

  before(function () {
    require(this, missingForLog() ?? missingForOwnRules());
  });
  beforeEach(async () => {
    bed = await TestBed.open({ desired: { ...QUICK, detectionsMinimumLevel: { value: 'critical' } } });
  });
  afterEach(() => bed?.close());

  it('is limited, has every hit counted, and does not affect other events', async () => {
    let started = 0;
    const argument = () => {
      started += 1;
      return `vakt-flood-${started}`;
    };
    const log = new NumberedLog(join(bed.directory, 'host'), new Random(1), { distinct: false, argument });
    const rulesDirectory = join(bed.directory, 'rules.d');
    mkdirSync(rulesDirectory, { mode: 0o755 });
    for (let n = 0; n < RULES; n += 1) writeFileSync(join(rulesDirectory, `flood${n}.yml`), rule(n), { mode: 0o644 });
    bed.writeConfiguration({ hostRoot: log.hostRoot, detections: { rulesDirectory } });
    const agent = bed.startAgent(reading(log));
    await agent.waitForStatus(({ collectors }) => collectors.ProcessCreate?.source === 'auditLog', seconds(90));
    await agent.waitForStatus(({ configuration }) => configuration.source === 'desired');
    log.burst(STARTS);
    await log.complete();

    const isFlood = ({ CommandLine }: Record<string, unknown>) => String(CommandLine).includes('vakt-flood-');
    const arrived = () => bed.elements('ProcessCreate').filter(isFlood).length;
    await bed.waitForEvents(() => arrived() === STARTS, seconds(90));
    // Starts are sent without waiting for the evaluation of rules.
    const status = await agent.waitForStatus(
      ({ queues: { High, Low }, detections }) =>
        High.queued + Low.queued === 0 && detections?.suppressed.ruleLimit === RULES * (STARTS - 20),
      seconds(90),
    );
    const ofFlood = bed.elements('SecurityAlert').filter(({ AlertType }) => String(AlertType).startsWith('VAKT_Flood'));
    const heldBack = ({ ExtraDetails }: Record<string, unknown>) =>
      (ExtraDetails as Record<string, string> | undefined)?.HeldBack;
    const alerts = ofFlood.filter((alert) => heldBack(alert) === undefined);
    const summaries = ofFlood.filter((alert) => heldBack(alert) !== undefined);
    assert.equal(new Set(summaries.map(({ AlertId }) => AlertId)).size, 1);
    assert.match(String(heldBack(summaries[0] ?? {})), /^\d+ held back, /);
    assert.equal(alerts.length, RULES * 20);
    assert.equal(new Set(alerts.map(({ AlertId }) => AlertId)).size, RULES * 20);
    assert.equal(status.detections?.suppressed.ruleLimit, RULES * (STARTS - 20));
    assert.deepEqual([status.detections?.alerts.critical, status.detections?.counted], [RULES * 20 + 1, 0]);
    assert.equal(status.detections?.reason, undefined);
    assert.equal(status.memory.isOver, false);
    assertClosed(status);

    bed.desire({ snapshotFrequency: { value: 'soon' } });
    const isSummary = ({ ExtraDetails }: Record<string, unknown>) =>
      (ExtraDetails as Record<string, string> | undefined)?.ErrorId === 'TWIN_INVALID';
    await bed.waitForEvents(() => bed.elements('Diagnostic').some(isSummary), seconds(60));
  });
});
