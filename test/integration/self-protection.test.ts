import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import type { SecurityAgentStatus } from '../../src/agent/status/schema.ts';
import { STEADY, TestBed } from './test-bed.ts';

describe('Self-protection of the agent', function () {
  this.timeout(180_000);
  let bed: TestBed;

  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    bed.startWith(STEADY);
  });
  afterEach(() => bed.close());

  const statusIn = (reported: Readonly<Record<string, unknown>>) =>
    reported.securityAgent as SecurityAgentStatus | undefined;
  const reported = (predicate: (status: SecurityAgentStatus) => boolean) =>
    bed.hub.waitForReported((section) => {
      const status = statusIn(section);
      return status !== undefined && predicate(status);
    });
  const diagnostics = () => bed.elements('Diagnostic').map(({ Message }) => String(Message));

  it('reports after a restart how often the agent was killed', async () => {
    for (let kills = 0; kills < 3; kills += 1) {
      const agent = bed.startAgent();
      // The control socket answers before all other parts; the connection starts after the run has been recorded on disk.
      await agent.waitForStatus(({ hub }) => hub.state === 'connected');
      agent.kill('SIGKILL');
      await agent.exited;
    }
    const agent = bed.startAgent();
    const section = await reported(({ restarts }) => restarts.unclean === 3);
    assert.equal(statusIn(section)?.restarts.lastEnd, 'killed');
    await bed.waitForEvents(() => diagnostics().some((message) => message.includes('exited unexpectedly')));
    agent.kill('SIGTERM');
    await agent.exited;
    const next = await bed.startAgent().waitForStatus(() => true);
    assert.deepEqual(next.restarts, { unclean: 0, lastEnd: 'stopped' });
  });

  for (const [kind, name, safe, open] of [
    ['configuration', 'agent.json', 0o600, 0o666],
    ['secrets', 'module.key', 0o600, 0o644],
    ['state', 'state', 0o700, 0o777],
  ] as const) {
    it(`reports when the ${kind} become accessible to other users, and when that is fixed`, async () => {
      const agent = bed.startAgent();
      // Otherwise the agent may be about to read the secret for the first time, and it rejects an exposed secret.
      await agent.waitForStatus(({ state, hub, exposed }) => {
        return state === 'running' && hub.state === 'connected' && exposed === undefined;
      });
      chmodSync(join(bed.directory, name), open);
      await reported(({ state, exposed }) => state === 'degraded' && exposed?.[kind] !== undefined);
      await bed.waitForEvents(() => diagnostics().some((message) => message.includes('is accessible to other users')));
      chmodSync(join(bed.directory, name), safe);
      agent.lookNow(); // it also reads a secret again, and uses it with a new connection
      await reported(({ state, exposed }) => state === 'running' && exposed === undefined);
    });
  }
});
