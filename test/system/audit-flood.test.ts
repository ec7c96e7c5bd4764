import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import { isNever } from '../../src/agent/linux/audit/rules.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';
import { Native } from '../bench/starts.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, assertClosed, QUICK, TestBed } from '../integration/test-bed.ts';
import { missingForAudit } from './missing-for-audit.ts';

/** Ids of two ordinary users without an account. */
const FLOODER = 2001;
/** Starts of a set-user-id program. */
const RAISED = 5;
const OTHER = 2002;
const ROOT_STARTS = 200;
/** A start has some fifteen records with arguments of this length: the kernel's queue fills within a second or two. */
const LONG_ARGUMENT = 'x'.repeat(100_000);
const AGGREGATED = {
  ...QUICK,
  aggregationEnabledProcessCreate: { value: true },
  aggregationIntervalProcessCreate: { value: 'PT1H' },
  aggregationEnabledProcessTerminate: { value: true },
  aggregationIntervalProcessTerminate: { value: 'PT1H' },
};
const FLUSH = { aggregationIntervalProcessCreate: { value: 'PT2H' } };

describe('A user who floods audit', function () {
  this.timeout(300_000);
  let bed: TestBed;
  let agent: AgentProcess;
  let control: AuditControl;
  let flood: ChildProcess | undefined;
  const folder = suiteFolder();
  let native: Native;
  let starts: string;
  let tiny: string;

  before(async function () {
    require(this, await missingForAudit());
    native = new Native();
    require(this, native.compiler === undefined ? 'there is no C compiler to build the load with' : undefined);
    chmodSync(folder, 0o755);
    [starts, tiny] = [join(folder, 'starts'), join(folder, 'tiny')];
    copyFileSync(native.build('starts') ?? '', starts);
    copyFileSync(native.program, tiny);
  });
  after(() => native?.remove());
  beforeEach(async () => {
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    bed = await TestBed.open({ desired: AGGREGATED });
    bed.writeConfiguration({ memoryBudgetInMegabytes: 512, detections: { enabled: true } });
    agent = bed.startAgent();
    await agent.waitForStatus(
      ({ collectors, hub, configuration }) =>
        collectors.ProcessCreate?.source === 'auditUnicast' &&
        hub.state === 'connected' &&
        configuration.source === 'desired',
    );
  });
  afterEach(async () => {
    if (flood?.pid !== undefined && flood.exitCode === null) process.kill(-flood.pid, 'SIGKILL');
    flood = undefined;
    await bed?.close();
    control.close();
  });

  /** Starts two processes that start programs as fast as they can until `endFlood`. */
  const startFlood = () => {
    flood = spawn(starts, [String(1e9), '0', '2', '50', tiny], {
      detached: true,
      uid: FLOODER,
      gid: FLOODER,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { MARKER: `flood ${LONG_ARGUMENT}` },
    });
  };
  /** Waits until the user is excluded and audit has been read up to then: the queue is no longer full. */
  const untilExcluded = async () => {
    await until('the user to be excluded', isExcluded, { limit: seconds(90) });
    await agent.waitForStatus(({ delivery }) => (delivery.dropped.excluded ?? 0) > 0);
  };
  /** @returns how many programs it started */
  const endFlood = async () => {
    assert.ok(flood?.pid !== undefined && flood.stdout);
    let output = '';
    flood.stdout.on('data', (data) => {
      output += data;
    });
    process.kill(-flood.pid, 'SIGTERM');
    await once(flood, 'close');
    return Number.parseInt(output, 10);
  };
  /** Number of the agent's rules that exclude events. */
  const exclusions = async () => (await control.rules()).filter((rule) => rule.ours && isNever(rule)).length;
  const isExcluded = async () => (await exclusions()) > 0;
  const isLifted = async () => (await exclusions()) === 0;
  const hits = (text: string) => bed.hits('ProcessCreate', ({ CommandLine }) => String(CommandLine).includes(text));

  it("hides at most 1 % of root's starts once excluded, is named in an alert, and has all its starts counted", async () => {
    const began = systemClock.monotonic();
    startFlood();
    await untilExcluded();
    const after = (systemClock.monotonic() - began) / 1_000;
    const { marker, count } = await native.start(ROOT_STARTS, 20);
    assert.equal(count, ROOT_STARTS);
    const during = await agent.status();
    const flooded = await endFlood();
    await until('the exclusion to end', isLifted, { limit: seconds(90) });
    await systemClock.sleep(seconds(5));
    bed.desire(FLUSH);
    await until(
      () => `${hits(marker)} of ${ROOT_STARTS}`,
      () => hits(marker) >= ROOT_STARTS * 0.99,
      { limit: seconds(90) },
    );
    const { delivery } = await agent.status();
    const { excluded = 0, kernel = 0 } = delivery.dropped;
    process.stderr.write(
      `    excluded after ${after.toFixed(1)} s: ${hits(marker)} of root's ${ROOT_STARTS} starts; ` +
        `${flooded} of the flood: ${excluded} excluded, ${kernel} lost\n`,
    );
    assert.equal(during.collectors.ProcessCreate?.state, 'degraded');
    assert.match(during.collectors.ProcessCreate?.reason ?? '', new RegExp(`user ${FLOODER}`));
    const floods = bed.elements('SecurityAlert').filter(({ AlertType }) => AlertType === 'VAKT_AuditFlooded');
    assert.deepEqual([...new Set(floods.map(({ UserId }) => UserId))], [String(FLOODER)]);
    // A few starts cannot be assigned in the seconds in which the exclusion begins and ends.
    assert.ok(excluded + kernel + hits('flood') >= flooded * 0.98, 'starts are neither reported nor counted');
    assert.ok(excluded <= flooded * 1.1, 'more starts were counted as excluded than happened');
    assertClosed(await agent.status());
  });

  it('does not affect starts by other users and of set-user-id programs while it is excluded @release', async () => {
    const setUserId = join(folder, 'set-user-id');
    copyFileSync('/bin/true', setUserId);
    chownSync(setUserId, 0, 0);
    chmodSync(setUserId, 0o4755);
    let marker = '';
    const as = (uid: number, program: string, kind: string) =>
      spawnSync(program, [`${marker}-${kind}`], { uid, gid: uid });
    startFlood();
    // On a loaded machine, an exclusion may end before all of them have started; another one follows.
    for (let isWhole = false; !isWhole; isWhole = await isExcluded()) {
      await untilExcluded();
      marker = randomUUID();
      as(FLOODER, '/bin/true', 'excluded');
      as(OTHER, '/bin/true', 'other');
      as(0, '/bin/true', 'root');
      for (let i = 0; i < RAISED; i += 1) {
        as(FLOODER, setUserId, `raised-${i}`);
        await systemClock.sleep(milliseconds(200));
      }
    }
    await endFlood();
    await until('the exclusion to end', isLifted, { limit: seconds(90) });
    as(FLOODER, '/bin/true', 'later');
    await systemClock.sleep(seconds(5));
    bed.desire(FLUSH);
    for (const kind of ['other', 'root', 'later'])
      await until(`the start ${kind}`, () => hits(`${marker}-${kind}`) === 1, { limit: seconds(60) });
    // They are the user's own starts, so one may exceed the user's share of the queue after the flood.
    const raised = () => Array.from({ length: RAISED }, (_, i) => hits(`${marker}-raised-${i}`));
    await until(
      () => `a start as another user; seen: ${raised()}`,
      () => raised().includes(1),
      { limit: seconds(60) },
    );
    assert.equal(hits(`${marker}-excluded`), 0);
  });
});
