import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { socketInode, socketOwners } from '../../src/linux/socket-owners.ts';

const { signal } = new AbortController();

describe('socketOwners', () => {
  let proc: string;

  beforeEach(() => {
    proc = mkdtempSync(join(tmpdir(), 'vakt-proc-'));
  });
  afterEach(() => rmSync(proc, { recursive: true }));

  const process = (pid: number, links: readonly string[], executable?: string) => {
    mkdirSync(join(proc, `${pid}/fd`), { recursive: true });
    for (const [fd, link] of links.entries()) symlinkSync(link, join(proc, `${pid}/fd/${fd}`));
    if (executable !== undefined) symlinkSync(executable, join(proc, `${pid}/exe`));
  };

  it('finds the process and its image', async () => {
    process(70, ['/dev/null', 'socket:[5]'], '/usr/sbin/sshd');
    assert.deepEqual([...(await socketOwners([5], signal, proc))], [[5, { pid: 70, executable: '/usr/sbin/sshd' }]]);
  });

  it('prefers the parent among several, and anybody to init', async () => {
    process(1, ['socket:[5]', 'socket:[6]']);
    process(100, ['socket:[5]']);
    process(90, ['socket:[5]']);
    assert.deepEqual(
      [...(await socketOwners([5, 6], signal, proc))],
      [
        [5, { pid: 90 }],
        [6, { pid: 1 }],
      ],
    );
  });

  it('passes over processes that cannot be looked into, and sockets of nobody', async () => {
    mkdirSync(join(proc, '80'));
    process(90, ['pipe:[5]', 'socket:[x]']);
    assert.equal((await socketOwners([0, 5], signal, proc)).size, 0);
  });

  it('lets others have their turn, and stops when told to', async () => {
    process(
      70,
      Array.from({ length: 500 }, (_, i) => `socket:[${i + 1}]`),
    );
    const stop = new AbortController();
    setImmediate(() => stop.abort());
    await assert.rejects(socketOwners([999], stop.signal, proc), { name: 'AbortError' });
  });
});

it('socketInode takes any text', () => {
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
    { numRuns: 500 },
  );
});
