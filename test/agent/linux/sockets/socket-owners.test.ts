import assert from 'node:assert/strict';
import { chownSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { SocketOwners, socketInode } from '../../../../src/agent/linux/sockets/socket-owners.ts';
import { type Clock, systemClock } from '../../../../src/core/base/clock.ts';
import { milliseconds } from '../../../../src/core/base/duration.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { skip } from '../../../harness/require.ts';

const { signal } = new AbortController();
const userId = () => process.getuid?.();

describe('SocketOwners', () => {
  let proc: string;

  beforeEach(() => {
    proc = temporaryFolder();
  });

  const process = (pid: number, links: readonly string[], executable?: string) => {
    mkdirSync(join(proc, `${pid}/fd`), { recursive: true });
    for (const [fd, link] of links.entries()) symlinkSync(link, join(proc, `${pid}/fd/${fd}`));
    if (executable !== undefined) symlinkSync(executable, join(proc, `${pid}/exe`));
  };

  it('finds the process and its image', async () => {
    process(70, ['/dev/null', 'socket:[5]'], '/usr/sbin/sshd');
    assert.deepEqual(
      [...(await new SocketOwners(proc).of([5], signal)).owners],
      [[5, { pid: 70, executable: '/usr/sbin/sshd' }]],
    );
  });

  it('prefers the parent among several processes, and any process to init', async () => {
    process(1, ['socket:[5]', 'socket:[6]']);
    process(100, ['socket:[5]']);
    process(90, ['socket:[5]']);
    assert.deepEqual(
      [...(await new SocketOwners(proc).of([5, 6], signal)).owners],
      [
        [5, { pid: 90 }],
        [6, { pid: 1 }],
      ],
    );
  });

  it('skips unreadable processes, and sockets without a process', async () => {
    mkdirSync(join(proc, '80'));
    process(90, ['pipe:[5]', 'socket:[x]']);
    assert.equal((await new SocketOwners(proc).of([0, 5], signal)).owners.size, 0);
  });

  it('finds one among many processes, at any descriptor', async () => {
    const many = Array.from({ length: 1_200 }, (_, i) => `socket:[${i + 1}]`);
    process(70, many);
    process(
      80,
      many.map((link) => link.replace('[', '[9')),
    );
    const { owners } = await new SocketOwners(proc).of([7, 1_150, 9_200, 91_190], signal);
    assert.deepEqual(
      [...owners].map(([inode, { pid }]) => [inode, pid]).sort(([a = 0], [b = 0]) => a - b),
      [
        [7, 70],
        [1_150, 70],
        [9_200, 80],
        [91_190, 80],
      ],
    );
  });

  describe('on the next call', () => {
    it('finds a socket in the same process, with the current image', async () => {
      process(70, ['socket:[5]'], '/usr/bin/old');
      const owners = new SocketOwners(proc);
      await owners.of([5], signal);
      process(60, ['socket:[5]'], '/usr/bin/other'); // a walk would find this one
      rmSync(join(proc, '70/exe'));
      symlinkSync('/usr/bin/new', join(proc, '70/exe'));
      assert.deepEqual([...(await owners.of([5], signal)).owners], [[5, { pid: 70, executable: '/usr/bin/new' }]]);
    });

    it('searches again for a socket that left its process', async () => {
      process(70, ['socket:[5]']);
      process(80, ['socket:[5]']);
      const owners = new SocketOwners(proc);
      await owners.of([5], signal);
      rmSync(join(proc, '70'), { recursive: true });
      assert.equal((await owners.of([5], signal)).owners.get(5)?.pid, 80);
    });

    it('finds the service to which init has passed a socket', async () => {
      process(1, ['socket:[5]', 'socket:[6]']);
      const owners = new SocketOwners(proc);
      assert.equal((await owners.of([5, 6], signal)).owners.get(5)?.pid, 1);
      process(70, ['socket:[5]']);
      const { owners: now } = await owners.of([5, 6], signal);
      assert.deepEqual([now.get(5)?.pid, now.get(6)?.pid], [70, 1]);
    });

    it('does not look up a socket a third time if no process owns it', async () => {
      const owners = new SocketOwners(proc);
      for (let time = 0; time < 2; time += 1) assert.equal((await owners.of([5], signal)).owners.size, 0);
      process(70, ['socket:[5]', 'socket:[6]']);
      assert.deepEqual([...(await owners.of([5, 6], signal)).owners.keys()], [6]);
      await owners.of([6], signal); // now it has been forgotten
      assert.deepEqual([...(await owners.of([5, 6], signal)).owners.keys()].sort(), [5, 6]);
    });
  });

  it('yields to other work, and stops when it is aborted', async () => {
    process(
      70,
      Array.from({ length: 3_000 }, (_, i) => `socket:[${i + 1}]`),
    );
    const stop = new AbortController();
    let now = 0;
    const slow: Clock = {
      ...systemClock,
      monotonic: () => {
        now += 1;
        return milliseconds(now);
      },
    };
    setImmediate(() => stop.abort());
    await assert.rejects(new SocketOwners(proc, slow).of([9_999], stop.signal), { name: 'AbortError' });
  });

  describe('with more descriptors than it reads', () => {
    const many = (from: number) => Array.from({ length: 300 }, (_, i) => `socket:[${from + i}]`);

    it('finds sockets of small processes first, and counts the rest', async () => {
      process(70, many(1_000));
      process(80, many(2_000));
      process(90, ['socket:[5]']);
      const found = await new SocketOwners(proc, systemClock, 260).of([5, 1_250, 2_250, 9_999], signal);
      assert.equal(found.owners.get(5)?.pid, 90);
      assert.ok(found.notSearched >= 2);
    });

    it('reads the remaining descriptors of processes with fewer ones first', async () => {
      const otherProcesses = (count: number, link: string) =>
        Array.from({ length: count }, (_, i) => (i < 100 ? 'pipe:[1]' : link));
      process(70, otherProcesses(2_000, 'pipe:[2]'));
      process(80, otherProcesses(150, 'socket:[5]'));
      const { owners, notSearched } = await new SocketOwners(proc, systemClock, 400).of([5, 9_999], signal);
      assert.equal(owners.get(5)?.pid, 80);
      assert.equal(notSearched, 1);
    });

    it('reads a process of each user first if there are thousands', async function () {
      if (userId() !== 0) skip(this, 'needs root, to make files of otherProcesses');
      for (let pid = 2; pid < 4_200; pid += 1) {
        if (pid < 500) process(pid, ['pipe:[1]']);
        else mkdirSync(join(proc, String(pid)));
      }
      process(5_000, ['socket:[5]']);
      chownSync(join(proc, '5000'), 1_001, 0);
      const { owners } = await new SocketOwners(proc, systemClock, 100).of([5, 9_999], signal);
      assert.equal(owners.get(5)?.pid, 5_000);
    });

    it('does not report sockets as ownerless if it read too little', async () => {
      process(70, many(1_000));
      const owners = new SocketOwners(proc, systemClock, 50);
      for (let time = 0; time < 3; time += 1) assert.equal((await owners.of([9_999], signal)).notSearched, 1);
    });

    it('reports nothing skipped after reading all descriptors', async () => {
      process(70, many(1_000));
      assert.equal((await new SocketOwners(proc).of([9_999], signal)).notSearched, 0);
    });
  });
});

it('accepts any text in socketInode', () => {
  assert.equal(socketInode('socket:[1234]'), 1234);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `socket:[${text}]`),
      ),
      (link) => {
        assert.ok(Number.isSafeInteger(socketInode(link) ?? 0));
      },
    ),
    { numRuns: fuzzRuns(100_000) },
  );
});
