import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { hostMount, hostProc, inRoot } from '../../../src/agent/host/in-root.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { require } from '../../harness/require.ts';
import { makeTree, removeTree } from '../linux/machine/hardware/tree.ts';

describe('inRoot', () => {
  let root: string;

  before(() => {
    root = makeTree(`
      etc/os-release -> /usr/lib/os-release
      etc/relative -> ../usr/lib/os-release
      etc/above -> ../../../../../../../../etc/plain
      etc/chain -> link
      etc/link -> /linked/os-release
      linked -> usr/lib
      etc/loop -> loop
      etc/ping -> /etc/pong
      etc/pong -> ping
      etc/dangling -> /nowhere/else
      etc/plain = "x"
      usr/lib/os-release = "ID=host"
    `);
  });
  after(() => removeTree(root));

  for (const [path, expected] of Object.entries({
    'etc/plain': 'etc/plain',
    '/etc/plain': 'etc/plain',
    'etc/os-release': 'usr/lib/os-release',
    'etc/relative': 'usr/lib/os-release',
    'etc/above': 'etc/plain',
    'etc/chain': 'usr/lib/os-release',
    'etc/dangling': 'nowhere/else',
    'etc/none/such': 'etc/none/such',
    '../../etc/./plain': 'etc/plain',
  })) {
    it(`resolves ${path} to ${expected}`, () => assert.equal(inRoot(root, path), join(root, expected)));
  }

  for (const path of ['etc/loop', 'etc/ping']) {
    it(`rejects ${path}`, () => assert.throws(() => inRoot(root, path), { code: 'ELOOP' }));
  }

  it("leaves resolution to the kernel in the process's own root", () =>
    assert.equal(inRoot('/', 'etc/passwd'), '/etc/passwd'));

  it('never leaves the root, wherever links lead', () => {
    const name = fc.constantFrom('a', 'b', 'c');
    const part = fc.constantFrom('..', '.', 'a', 'b', 'c', '');
    const target = fc
      .tuple(fc.constantFrom('', '/'), fc.array(part, { maxLength: 4 }))
      .map(([at, parts]) => at + parts.join('/'));
    const link = fc.tuple(
      name,
      target.filter((text) => text !== ''),
    );
    fc.assert(
      fc.property(fc.uniqueArray(link, { selector: ([at]) => at, maxLength: 3 }), fc.array(part), (links, path) => {
        const tree = makeTree(`keep/\n${links.map(([at, to]) => `${at} -> ${to}`).join('\n')}`);
        try {
          const found = inRoot(tree, path.join('/'));
          assert.ok(found === tree || found.startsWith(`${tree}/`), found);
        } catch (error) {
          assert.equal((error as NodeJS.ErrnoException).code, 'ELOOP');
        } finally {
          removeTree(tree);
        }
      }),
      { numRuns: fuzzRuns(5_000) },
    );
  });
});

describe('hostMount', () => {
  it("returns the host's mount if present, or else this process's own", () => {
    const root = makeTree('sys/devices/\nproc/');
    assert.equal(hostMount(root, 'sys'), join(root, 'sys'));
    assert.equal(hostMount(root, 'proc'), '/proc');
    assert.equal(hostMount('/', 'sys'), '/sys');
    removeTree(root);
  });
});

describe('hostProc', () => {
  /** Runs in mounts of its own, which end with it: with the host's /proc on $1/proc. */
  const found = (mounts: string, root: string): string => {
    const script = new URL('host-proc.js', import.meta.url).pathname;
    const own = ['--mount', '--propagation', 'private', '/bin/sh', '-ec', `${mounts}; exec $look "$2" "$3" "$1"`];
    return execFileSync('unshare', [...own, 'sh', root, process.execPath, script], { encoding: 'utf8' });
  };

  for (const [what, mounts, isOwn] of [
    [
      "this process's own, where that shows the same processes and nobody else has it",
      'look=; mount -t proc proc "$1/proc"',
      true,
    ],
    ["the host's, where this process has the same one", 'look=; mount --bind /proc "$1/proc"', false],
    [
      "the host's, where this process sees other processes",
      'mount --bind /proc "$1/proc"; look="unshare --pid --fork --mount-proc"',
      false,
    ],
  ] as const) {
    it(`returns ${what}`, function () {
      require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
      const root = makeTree('proc/');
      try {
        assert.equal(found(mounts, root), isOwn ? '/proc' : join(root, 'proc'));
      } finally {
        removeTree(root);
      }
    });
  }

  it('returns a path below the root if no /proc is mounted', () => {
    const root = makeTree('proc/');
    assert.equal(hostProc(root), join(root, 'proc'));
    assert.equal(hostProc('/'), '/proc');
    removeTree(root);
  });
});
