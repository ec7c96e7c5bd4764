import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { STATE_FILES } from '../../src/agent/state/read-state.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { STEADY, TestBed } from './test-bed.ts';

/** An error of JSON.parse would quote its first characters. */
const SECRET = 'root:$6$saltsalt$Zk1Zk1Zk1Zk1:19000:0:99999:7:::\n';
const MEGABYTE = 1024;
const SPARSE_BYTES = 2_200_000_000;

/** Entries that replace every state file, and one segment of each queue. */
const IN_PLACE: Readonly<Record<string, (path: string, bed: TestBed) => void>> = {
  'a named pipe': (path) => void execFileSync('mkfifo', [path]),
  'a link to /dev/zero': (path) => symlinkSync('/dev/zero', path),
  'a link to a secret': (path, bed) => symlinkSync(join(bed.directory, 'shadow'), path),
  'a second name of a secret': (path, bed) => linkSync(join(bed.directory, 'shadow'), path),
  'a sparse file of 2.2 GB': (path) => {
    writeFileSync(path, '', { mode: 0o600 });
    truncateSync(path, SPARSE_BYTES);
  },
  'a folder': (path) => mkdirSync(path),
  'a file that every user can write to': (path) => writeFileSync(path, SECRET, { mode: 0o666 }),
  'a file with the content of a secret': (path) => writeFileSync(path, SECRET, { mode: 0o600 }),
};

describe('The agent with hostile entries in its state directory', function () {
  this.timeout(120_000);
  let bed: TestBed;

  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
  });
  afterEach(async () => {
    rmSync(join(bed.directory, 'state'), { recursive: true, force: true });
    await bed.close();
  });

  for (const [entry, put] of Object.entries(IN_PLACE)) {
    it(`starts, delivers events and stops when ${entry} replaces every state file`, async () => {
      bed.write('shadow', SECRET);
      const state = join(bed.directory, 'state');
      const folders = [
        state,
        ...['queues', 'queues/high', 'queues/low', 'aggregates'].map((name) => join(state, name)),
      ];
      for (const folder of folders) mkdirSync(folder, { mode: 0o700 });
      const names = Object.keys(STATE_FILES).flatMap((name) => [name, `${name}.new`]);
      const segments = ['queues/high', 'queues/low', 'aggregates'].map((name) => `${name}/0000000000000000.log`);
      const previous = process.umask(0);
      for (const name of [...names, ...segments]) put(join(state, name), bed);
      process.umask(previous);
      const began = systemClock.monotonic();
      const agent = bed.startAgent();
      await bed.waitForEvents(() => bed.events('SystemInformation').length > 0, seconds(60));
      const tookMs = systemClock.monotonic() - began;
      assert.ok(tookMs < 45_000, `the first message took ${tookMs} ms`);
      const { store } = await agent.status();
      assert.equal(store.place, 'disk');
      assert.ok(peakOf(agent.pid) < 250, `${peakOf(agent.pid)} MB of memory at most`);
      agent.kill('SIGTERM');
      assert.deepEqual(await agent.exited, { status: 0, signal: null });
      for (const part of ['root:$6', '$6$salt']) assert.ok(!agent.output.includes(part), 'the log quotes the file');
      assert.equal(readFileSync(join(bed.directory, 'shadow'), 'utf8'), SECRET);
      for (const { level, msg } of agent.log) assert.notEqual(level, 'fatal', msg);
      const isMentioned = (name: string) => agent.output.includes(join(state, name));
      if (!entry.includes('content')) for (const name of Object.keys(STATE_FILES)) assert.ok(isMentioned(name), name);
    });
  }
});

/** Returns the peak of a process's resident memory in megabytes. */
function peakOf(pid: number): number {
  const [, kilobytes = ''] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) / MEGABYTE;
}
