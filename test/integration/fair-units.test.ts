import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { seconds } from '../../src/core/base/duration.ts';
import { require } from '../harness/require.ts';
import { missingForLog, missingForOwnRules, OFF, priorityOf, reading } from '../harness/scenario/launch.ts';
import { NumberedLog } from '../harness/scenario/numbered-log.ts';
import { Random } from '../harness/scenario/random.ts';
import { assertClosed, DEVICE, MODULE, NO_LIMITS, QUICK, TestBed } from './test-bed.ts';

/** At the start of the agent: 40 units for Low, of which a user may use 20; 45 for High; 5 in reserve for alerts. */
const UNITS_PER_DAY = 200;
const ATTACKER = 2001;
const OTHER = 2002;
/** The key includes the arguments, so that each decoy raises an alert. */
const rule = (n: number, marker: string) => `title: Rule ${n}
id: 00000000-0000-4000-8000-00000000004${n}
level: critical
logsource: { product: linux, category: process_creation }
detection:
  s: { 'CommandLine|contains': ${marker} }
  condition: s
vakt: { alert: VAKT_Rule${n}, key: [CommandLine] }
`;
const MARKERS = ['vakt-decoy-', 'vakt-decoy-', 'vakt-decoy-', 'vakt-shell-'];

describe('A user that uses up the message units', function () {
  this.timeout(480_000);
  let bed: TestBed;
  let argument = '';
  let userId = 0;

  before(function () {
    require(this, missingForLog() ?? missingForOwnRules());
  });
  beforeEach(async () => {
    const desired = {
      ...QUICK,
      ...priorityOf([...OFF, 'OSBaseline'], 'Off'),
      detectionsMinimumLevel: { value: 'critical' },
    };
    bed = await TestBed.open({ desired });
    bed.startWith(desired); // the first OSBaseline alone would use up the units for Low
  });
  afterEach(() => bed?.close());

  it("cannot hold back another user's events, nor root's alert", async () => {
    let started = 0;
    const log = new NumberedLog(join(bed.directory, 'host'), new Random(1), {
      distinct: false,
      argument: () => {
        started += 1;
        return `${argument}${started}-${'x'.repeat(userId === ATTACKER ? 3_000 : 10)}`;
      },
      userId: () => userId,
    });
    const burst = async (count: number, of: { userId: number; argument: string }) => {
      ({ userId, argument } = of);
      log.burst(count);
      await log.complete();
    };
    const rulesDirectory = join(bed.directory, 'rules.d');
    mkdirSync(rulesDirectory, { mode: 0o755 });
    for (const [n, marker] of MARKERS.entries())
      writeFileSync(join(rulesDirectory, `rule${n}.yml`), rule(n, marker), { mode: 0o644 });
    const limits = { ...NO_LIMITS, messageUnitsPerDay: UNITS_PER_DAY };
    bed.writeConfiguration({ hostRoot: log.hostRoot, detections: { rulesDirectory }, limits });
    const agent = bed.startAgent(reading(log));
    await agent.waitForStatus(({ collectors }) => collectors.ProcessCreate?.source === 'auditLog', seconds(90));
    await agent.waitForStatus(({ configuration }) => configuration.source === 'desired');
    const of = (name: string, user: number) =>
      bed.elements(name).filter(({ UserId }) => UserId === String(user)).length;

    await burst(60, { userId: ATTACKER, argument: 'vakt-flood-' });
    const attacker = `user ${ATTACKER}`;
    const { state } = await agent.waitForStatus(
      ({ delivery }) => delivery.overShare === attacker && delivery.mostUsedBy === attacker,
    );
    assert.equal(state, 'degraded');
    assert.ok(of('ProcessCreate', ATTACKER) <= 28, String(of('ProcessCreate', ATTACKER)));
    await burst(3, { userId: OTHER, argument: 'vakt-work-' });
    await bed.waitForEvents(() => of('ProcessCreate', OTHER) === 3, seconds(150));

    await burst(120, { userId: ATTACKER, argument: 'vakt-decoy-' });
    await agent.waitForStatus(({ delivery: { held } }) => held?.queues === 'High, Low, alerts', seconds(90));
    await burst(1, { userId: 0, argument: 'vakt-shell-' });
    const isShell = ({ RuleTitle, UserId }: Record<string, unknown>) => RuleTitle === 'Rule 3' && UserId === '0';
    await bed.waitForEvents(() => bed.elements('SecurityAlert').some(isShell), seconds(150));

    const reported = await bed.hub.waitForReported(({ securityAgent }) => {
      const { detections } = securityAgent as { detections?: { latest?: object } };
      return JSON.stringify(detections?.latest ?? {}).includes('Rule 3');
    });
    assert.equal((reported.securityAgent as { state?: string }).state, 'degraded');
    assert.match(JSON.stringify(bed.hub.twin(DEVICE, MODULE).reported), new RegExp(`most of it by user ${ATTACKER}`));
    const units = bed.hub.messages.reduce((all, { sizeBytes }) => all + Math.ceil(sizeBytes / 4096), 0);
    assert.ok(units <= UNITS_PER_DAY / 4 + 2, `${units} units`);
    assertClosed(await agent.status());
  });
});
