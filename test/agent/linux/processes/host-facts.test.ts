import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { hostFacts } from '../../../../src/agent/linux/processes/host-facts.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { require } from '../../../harness/require.ts';

/** Reports that it runs. Exits once its standard output is closed. */
const LOOP = 'echo ready; while sleep 1; do echo ready; done';
const SLEEP = realpathSync('/usr/bin/sleep');

describe('hostFacts', () => {
  const facts = hostFacts({ hostRoot: '/', clock: systemClock });
  const children: ChildProcess[] = [];

  before(function () {
    require(this, process.getuid?.() === 0 ? undefined : 'only root can examine the namespaces of others');
  });
  afterEach(async () => {
    for (const child of children.splice(0)) {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
  });

  /** @returns the pid of a process that runs the program, once it has executed it */
  const run = async (program: string, args: readonly string[]): Promise<number> => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(child);
    if (child.stdout !== null) await once(child.stdout, 'data');
    return child.pid ?? assert.fail();
  };
  const SHELL = realpathSync('/bin/sh');

  it("recognises the host's own program", async () => {
    const pid = await run(SHELL, ['-c', LOOP]);
    assert.equal(facts.runsHostFile(pid, SHELL, true), true);
    assert.equal(facts.runsHostFile(pid, SLEEP, false), false);
  });

  it('refuses a copy of it, at any path', async () => {
    const copy = join(temporaryFolder(), 'sh');
    copyFileSync(SHELL, copy);
    const pid = await run(copy, ['-c', LOOP]);
    assert.equal(facts.runsHostFile(pid, SHELL, false), false);
  });

  it('refuses another file at the same path in a mount namespace', async () => {
    const copy = join(temporaryFolder(), 'sh');
    copyFileSync(SHELL, copy);
    const script = `mount --bind ${copy} ${SHELL} && exec ${SHELL} -c '${LOOP}'`;
    const pid = await run('/usr/bin/unshare', ['--mount', SHELL, '-c', script]);
    assert.equal(realpathSync(`/proc/${pid}/exe`).endsWith(SHELL), true);
    assert.equal(facts.runsHostFile(pid, SHELL, false), false);
  });

  it("accepts the host's program in a mount namespace, but no script there", async () => {
    const pid = await run('/usr/bin/unshare', ['--mount', SHELL, '-c', LOOP]);
    assert.equal(facts.runsHostFile(pid, SHELL, false), true);
    assert.equal(facts.runsHostFile(pid, SHELL, true), false);
  });

  it('refuses a process in a user namespace', async () => {
    const pid = await run('/usr/bin/unshare', ['--user', '--map-root-user', SHELL, '-c', LOOP]);
    assert.equal(facts.runsHostFile(pid, SHELL, false), false);
  });

  it('returns undefined for a process that exited', () => {
    assert.equal(facts.runsHostFile(2 ** 22 - 1, SHELL, false), undefined);
  });
});
