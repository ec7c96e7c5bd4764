import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { assertClosed, PROGRAM, TestBed } from './test-bed.ts';

/** Memory that the agent can't release, so that it stays above the smallest possible budget. */
const BALLAST = 'data:text/javascript,globalThis.ballast = Buffer.alloc(48 * 2 ** 20, 1);';

describe('The agent with a memory budget below its needs', function () {
  this.timeout(120_000);
  let bed: TestBed;

  beforeEach(async () => {
    bed = await TestBed.open();
  });
  afterEach(() => bed.close());

  const vaktStatus = () =>
    new Promise<{ code: unknown; stdout: string }>((resolve) => {
      execFile(process.execPath, [PROGRAM, 'status', '--config', join(bed.directory, 'agent.json')], (error, stdout) =>
        resolve({ code: error?.code, stdout }),
      );
    });

  it('omits, counts and reports Low events, and still handles all other events', async () => {
    bed.writeConfiguration({ memoryBudgetInMegabytes: 48 });
    const agent = bed.startAgent({ options: ['--import', BALLAST] });
    const { residentBytes } = (await agent.waitForLog(({ msg }) =>
      msg.startsWith('Memory use exceeds the budget'),
    )) as unknown as { residentBytes: number };
    assert.ok(residentBytes > 48 * 1024 * 1024, `${residentBytes} bytes`);
    await agent.waitForStatus(({ memory }) => memory.isOver);

    // Causes a ConfigurationError (Low, but Operational) and, by a warning in the log, a Diagnostic event (Low).
    bed.desire({ snapshotFrequency: { value: 'often' } });
    await bed.waitForEvents(() => bed.events('ConfigurationError').length > 0);
    const status = await agent.waitForStatus(({ events }) => (events.Diagnostic?.dropped.memory ?? 0) > 0);
    assert.equal(status.state, 'degraded');
    assert.match(status.collectors.Diagnostic?.reason ?? '', /memory.*Raise memoryBudgetInMegabytes/);
    assert.equal(status.collectors.ListeningPorts?.reason, undefined);
    assert.ok((status.delivery.dropped.memory ?? 0) > 0);
    assertClosed(status);
    for (const [name, row] of Object.entries(status.events)) {
      const lost = Object.values(row.dropped).reduce((all, count) => all + count, 0);
      assert.equal(row.collected, row.delivered + row.aggregatedAway + row.queued + lost, name);
    }

    const { code, stdout } = await vaktStatus();
    assert.equal(code, 1);
    assert.match(stdout, /^memory +\d+ of 48 MB$/m);
    assert.match(stdout, /[1-9]\d* memory/);
    assert.match(stdout, /Left out: the agent uses \d+ MB/);
    const reported = await bed.hub.waitForReported((section) => {
      const { state } = (section.securityAgent ?? {}) as { state?: string };
      return state === 'degraded';
    });
    assert.match(JSON.stringify(reported), /Left out: the agent uses/);
    agent.kill('SIGTERM');
    assert.deepEqual(await agent.exited, { status: 0, signal: null });
  });
});
