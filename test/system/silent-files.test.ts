import assert from 'node:assert/strict';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, QUICK, TestBed } from '../integration/test-bed.ts';
import { missingForAudit } from './missing-for-audit.ts';
import { SilentMounts } from './silent-mount.ts';

describe('A file system whose server does not respond', function () {
  this.timeout(180_000);
  let mounts: SilentMounts | undefined;
  let bed: TestBed | undefined;
  let agent: AgentProcess;

  before(async function () {
    require(this, await missingForAudit()); // only audit reports processes as short as the last one
    mounts = new SilentMounts();
    require(this, mounts.missing);
    bed = await TestBed.open({ desired: QUICK });
    agent = bed.startAgent();
    await agent.waitForStatus(
      ({ collectors, hub, configuration }) =>
        collectors.ProcessCreate?.source !== undefined &&
        hub.state === 'connected' &&
        configuration.source === 'desired',
    );
  });
  // The servers first: an agent that waits for a server cannot be killed.
  after(async () => {
    await mounts?.remove();
    await bed?.close();
  });

  for (const [situation, where, args] of [
    ['an ordinary user mounted it in that user’s own namespaces', 'private', ['stay']],
    ['it is mounted in a namespace that the agent does not see', 'hidden', ['stay']],
    ['it is mounted for all processes', 'host', ['stay']],
    ['it is mounted for all processes and the program on it has exited', 'host', []],
  ] as const) {
    it(`does not stop the agent, which omits the digest, if ${situation}`, async () => {
      assert.ok(mounts !== undefined && bed !== undefined);
      const program = await mounts.start(where, args);
      const start = () => bed?.elements('ProcessCreate').find(({ Executable }) => Executable === program);
      const hasArrived = async () => {
        await systemClock.within(seconds(20), 'An answer of the agent', agent.status()); // never, if it has stopped
        return start() !== undefined;
      };
      await until('the start', hasArrived, { limit: seconds(60) });
      const { HashOmitted, Sha256 } = (start()?.ExtraDetails ?? {}) as Record<string, string>;
      assert.deepEqual([HashOmitted, Sha256], ['mount', undefined]);
    });
  }
});
