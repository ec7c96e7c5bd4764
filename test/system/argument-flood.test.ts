import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { systemClock } from '../../src/core/base/clock.ts';
import { minutes, seconds } from '../../src/core/base/duration.ts';
import { require } from '../harness/require.ts';
import { type AgentProcess, assertClosed, QUICK, TestBed } from '../integration/test-bed.ts';
import { missingForAudit } from './missing-for-audit.ts';

const run = promisify(execFile);

const AGGREGATED = {
  ...QUICK,
  aggregationEnabledProcessCreate: { value: true },
  aggregationIntervalProcessCreate: { value: 'PT1H' },
};
const USER = 2001;
const FLOOD_LASTS = seconds(40);
const ROOT_STARTS = 200;
/** Distinct starts with arguments of 110 KB each. */
const FLOOD =
  'a=$(head -c 110000 /dev/zero | tr "\\0" x); n=0; while :; do n=$((n+1)); /bin/true $n $a; sleep 0.05; done';

describe('A flood of long arguments by an ordinary user @release', function () {
  this.timeout(240_000);
  let bed: TestBed;
  let agent: AgentProcess;
  let flood: ChildProcess[];

  before(async function () {
    require(this, await missingForAudit());
  });
  beforeEach(async () => {
    flood = [];
    bed = await TestBed.open({ desired: AGGREGATED });
    bed.writeConfiguration({});
    agent = bed.startAgent();
    await agent.waitForStatus(
      ({ collectors, hub, configuration }) =>
        collectors.ProcessCreate?.source === 'auditUnicast' &&
        hub.state === 'connected' &&
        configuration.source === 'desired',
    );
  });
  afterEach(() => {
    for (const { pid } of flood) if (pid !== undefined) process.kill(-pid, 'SIGKILL');
    return bed?.close();
  });

  it("loses none of root's starts in the agent", async function () {
    const startFlood = () => spawn('/bin/sh', ['-c', FLOOD], { uid: USER, gid: USER, detached: true, stdio: 'ignore' });
    flood = [startFlood()];
    const marker = `root-${process.pid}`;
    let most = 0;

    const until = systemClock.monotonic() + FLOOD_LASTS;
    for (let n = 0; n < ROOT_STARTS; n += 1) {
      await run('/bin/true', [marker, String(n)]);
      if (n % 10 === 0) {
        const { memory } = await agent.status();
        most = Math.max(most, memory.residentBytes);
      }
      await systemClock.sleep(seconds(Math.max(0.01, (until - systemClock.monotonic()) / 1_000 / (ROOT_STARTS - n))));
    }
    for (const { pid } of flood.splice(0)) if (pid !== undefined) process.kill(-pid, 'SIGKILL');
    const ended = systemClock.monotonic();
    await agent.waitForStatus(({ memory }) => memory.residentBytes <= memory.budgetBytes, minutes(1));
    bed.desire({ aggregationIntervalProcessCreate: { value: 'PT2H' } });
    const arrived = () => bed.hits('ProcessCreate', ({ CommandLine }) => String(CommandLine).includes(marker));
    for (
      let before = -1;
      arrived() > before || (arrived() < ROOT_STARTS && systemClock.monotonic() - ended < 60_000);
    ) {
      before = arrived();
      await systemClock.sleep(seconds(2));
    }
    const status = await agent.status();
    const { dropped } = status.delivery;
    process.stderr.write(
      `    ${arrived()} of ${ROOT_STARTS} arrived; at most ${Math.round(most / 2 ** 20)} MB; dropped: ${JSON.stringify(dropped)}\n`,
    );
    this.retries(dropped.kernel === undefined ? 0 : 2); // the kernel loses records of an agent without CPU time
    assert.ok((dropped.userShare ?? 0) > 0, 'the flood did not fill its share');
    assert.ok(arrived() >= 0.99 * ROOT_STARTS);
    assertClosed(status);
  });
});
