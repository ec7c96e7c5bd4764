import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { skip } from './require.ts';
import { endLeftProcesses } from './test-run.ts';
import { until } from './until.ts';

const MODULE = new URL('./test-run.js', import.meta.url).href;
/** A test run that starts a program, reports it, and waits. */
const RUN = `
  import { spawn } from 'node:child_process';
  import { markTestRun } from '${MODULE}';
  markTestRun();
  spawn('/bin/sleep', ['600'], { stdio: 'ignore' });
  process.stdout.write('started');
  setInterval(() => {}, 60_000);
`;
/** Runs a program as the first process of a pid namespace, as in a container. */
const CONTAINER = ['unshare', '--user', '--map-root-user', '--fork', '--pid', '--mount-proc', '--kill-child'];

describe('endLeftProcesses', () => {
  const runs: { readonly end: () => void; readonly program: number }[] = [];
  afterEach(() => {
    for (const { end, program } of runs.splice(0)) {
      end();
      if (isAlive(program)) process.kill(program, 'SIGKILL');
    }
  });

  const isAlive = (pid: number) => existsSync(`/proc/${pid}`);
  const childOf = (pid: number | undefined) =>
    Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ')[0]);
  const start = async (...through: string[]) => {
    const [command = '', ...args] = [...through, process.execPath, '--input-type=module', '--eval', RUN];
    const run = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(run.stdout, 'data');
    const program = childOf(through.length === 0 ? run.pid : childOf(run.pid));
    const started = { end: () => void run.kill('SIGKILL'), exited: once(run, 'exit'), program };
    runs.push(started);
    return started;
  };

  it('endLeftProcesses ends the processes of a killed test run, and keeps those of a running one', async () => {
    const [killed, lives] = [await start(), await start()];
    killed.end();
    await killed.exited;
    assert.ok(isAlive(killed.program));
    await endLeftProcesses();
    await until('the program to be gone', () => !isAlive(killed.program)); // its new parent waits for it
    assert.ok(isAlive(lives.program));
  });

  it("endLeftProcesses keeps the processes of a container's test run", async function () {
    if (spawnSync(CONTAINER[0] ?? '', [...CONTAINER.slice(1), 'true']).status !== 0)
      skip(this, `${CONTAINER.join(' ')} is not allowed here`);
    const container = await start(...CONTAINER);
    await endLeftProcesses();
    assert.ok(isAlive(container.program));
    assert.match(readFileSync(`/proc/${container.program}/cmdline`, 'latin1'), /sleep/);
  });
});
