import assert from 'node:assert/strict';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, QUICK, TestBed } from '../integration/test-bed.ts';
import { SilentMounts } from './silent-mount.ts';

describe('A file system whose server is silent', function () {
  this.timeout(180_000);
  let mounts: SilentMounts | undefined;
  let bed: TestBed | undefined;
  let agent: AgentProcess;

  before(async function () {
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
  // The servers first: an agent that waits for one can't be ended.
  after(async () => {
    await mounts?.remove();
    await bed?.close();
  });

  for (const [what, where, args] of [
    ['is mounted by an ordinary user in namespaces of his own', 'private', ['stay']],
    ['is mounted where the agent does not see it', 'hidden', ['stay']],
    ['is mounted for all', 'host', ['stay']],
    ['is mounted for all, when the program on it has ended', 'host', []],
  ] as const) {
    it(`does not stop the agent where it ${what}; the digest is left out`, async function () {
      assert.ok(mounts !== undefined && bed !== undefined);
      const { collectors } = await agent.status();
      const isFromAudit = collectors.ProcessCreate?.source?.startsWith('audit') === true;
      require(this, args.length > 0 || isFromAudit ? undefined : 'only audit tells of processes that end at once');
      const program = await mounts.start(where, args);
      const told = () => bed?.elements('ProcessCreate').find(({ Executable }) => Executable === program);
      const isTold = async () => {
        await systemClock.within(seconds(20), 'An answer of the agent', agent.status()); // never, if it has stopped
        return told() !== undefined;
      };
      await until('the start', isTold, { limit: seconds(60) });
      const { HashOmitted, Sha256 } = (told()?.ExtraDetails ?? {}) as Record<string, string>;
      assert.deepEqual([HashOmitted, Sha256], ['mount', undefined]);
    });
  }
});
