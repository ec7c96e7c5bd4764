import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { endLeftProcesses } from './test-run.ts';
import { until } from './until.ts';

const MODULE = new URL('./test-run.js', import.meta.url).href;
/** A test run that starts a program, says its pid, and waits. */
const RUN = `
  import { spawn } from 'node:child_process';
  import { markTestRun } from '${MODULE}';
  markTestRun();
  const child = spawn('/bin/sleep', ['600'], { stdio: 'ignore' });
  process.stdout.write(String(child.pid));
  setInterval(() => {}, 60_000);
`;

describe('endLeftProcesses', () => {
  const runs: { readonly end: () => void; readonly program: number }[] = [];
  afterEach(() => {
    for (const { end, program } of runs.splice(0)) {
      end();
      if (isAlive(program)) process.kill(program, 'SIGKILL');
    }
  });

  const isAlive = (pid: number) => existsSync(`/proc/${pid}`);
  const start = async () => {
    const run = spawn(process.execPath, ['--input-type=module', '--eval', RUN], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [program] = await once(run.stdout, 'data');
    const started = { end: () => void run.kill('SIGKILL'), exited: once(run, 'exit'), program: Number(program) };
    runs.push(started);
    return started;
  };

  it('ends what a killed test run has left, and leaves what belongs to one that lives', async () => {
    const [killed, lives] = [await start(), await start()];
    killed.end();
    await killed.exited;
    assert.ok(isAlive(killed.program));
    await endLeftProcesses();
    await until('the program to be gone', () => !isAlive(killed.program)); // its new parent waits for it
    assert.ok(isAlive(lives.program));
  });
});
