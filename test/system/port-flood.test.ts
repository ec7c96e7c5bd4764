import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { LastRun } from '../../src/agent/pipeline/snapshots.ts';
import type { Envelope, Payload } from '../../src/core/contract/event.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { missingForNamespace, NetworkNamespace } from './network-namespace.ts';

const SOURCE = new URL('../../../test/system/native/hold-sockets.c', import.meta.url).pathname;
const NEW_PORTS = new URL('./new-ports.js', import.meta.url).pathname;
const SNAPSHOT = new URL('./ports-snapshot.js', import.meta.url).pathname;

interface Answer {
  /** The parts of the last snapshot. */
  readonly events: readonly Envelope[];
  readonly run: LastRun;
  /** Milliseconds. */
  readonly longest: number;
  readonly tookMs: readonly number[];
  readonly rss: number;
}

describe('A user who floods the list of listening ports', function () {
  this.timeout(180_000);
  let folder: string;
  let namespace: NetworkNamespace;
  const holders: ChildProcess[] = [];

  before(function () {
    require(this, missingForNamespace('gcc'));
    folder = suiteFolder();
    execFileSync('gcc', ['-O1', '-o', join(folder, 'hold-sockets'), SOURCE]);
    execFileSync('chmod', ['755', folder]);
    namespace = new NetworkNamespace();
    namespace.run('ip', ['link', 'set', 'lo', 'up']);
  });
  after(() => {
    for (const holder of holders) holder.kill('SIGKILL');
    namespace?.remove();
  });

  const hold = async (...args: readonly (string | number)[]) => {
    const command = ['netns', 'exec', namespace.name, join(folder, 'hold-sockets'), ...args.map(String)];
    const holder = spawn('ip', command, { stdio: ['pipe', 'pipe', 'inherit'] });
    holders.push(holder);
    const exited = once(holder, 'exit').then(([status]) => assert.fail(`hold-sockets ended with ${status}`));
    const [output] = await Promise.race([once(holder.stdout, 'data'), exited]);
    assert.equal(String(output), 'ready\n');
  };

  it('hides neither a port that is reachable from outside nor its process, and has its omitted ports counted', async () => {
    for (let n = 1; n <= 5; n += 1) await hold(1000, `127.0.${n}.1`, 1024, 8_000, 2);
    await hold(1001, '0.0.0.0', 31_337, 1, 1);
    const { events, run, longest, tookMs } = JSON.parse(namespace.run(process.execPath, [SNAPSHOT])) as Answer;
    process.stdout.write(
      `    longest turn ${Math.round(longest)} ms, snapshots ${tookMs.map(Math.round).join(', ')} ms\n`,
    );
    const rows = events.flatMap(({ Payload: elements }) => elements);
    const detailsOf = (row: Payload | undefined) => (row?.ExtraDetails ?? {}) as Record<string, string>;
    const [first] = rows;
    assert.equal(first?.LocalPort, '31337');
    assert.match(detailsOf(first).Executable ?? '', /hold-sockets$/);
    assert.equal(run.problem, undefined);
    assert.equal(run.source?.state, 'degraded');
    assert.equal(run.elements, 40_001);
    assert.equal(Number(detailsOf(rows.at(-1)).OmittedElements) + rows.length, 40_001);
    assert.ok(longest < 300, `${longest} ms`);
  });

  it('hides no new port of another user from the rules', async () => {
    const command = ['netns', 'exec', namespace.name, process.execPath, NEW_PORTS];
    const watch = spawn('ip', command, { stdio: ['pipe', 'pipe', 'inherit'] });
    holders.push(watch);
    const newPorts = async () => {
      watch.stdin.write('\n');
      let answer = '';
      while (!answer.endsWith('\n')) answer += String((await once(watch.stdout, 'data'))[0]);
      return JSON.parse(answer) as string[];
    };
    for (const address of ['192.0.2.1', '192.0.2.2']) {
      namespace.run('ip', ['address', 'add', `${address}/32`, 'dev', 'lo']);
    }
    await newPorts();
    await hold(2001, '127.0.9.1', 1_025, 12_000, 2);
    await hold(2002, '192.0.2.1', 1_026, 12_000, 2);
    const during = await newPorts();
    assert.deepEqual(
      during.filter((hit) => !hit.startsWith('VAKT_NewListeningPort 2002 ')),
      [],
    );
    await hold(2003, '192.0.2.2', 2_049, 1, 1);
    await hold(0, '192.0.2.2', 2_051, 1, 1);
    const found = await newPorts();
    assert.deepEqual(found.sort(), ['VAKT_NewListeningPort 0 2051', 'VAKT_NewListeningPort 2003 2049']);
    watch.kill();
  });
});
