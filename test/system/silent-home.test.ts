import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { IsolatedScanner } from '../../src/agent/baseline/isolated-scanner.ts';
import { Reader } from '../../src/agent/reader/reader.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { RUNNING, Tree } from '../agent/baseline/tree.ts';
import { quietLog } from '../agent/pipeline/memory-queues.ts';
import { suiteFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';

const SOURCE = new URL('../../../test/system/native/silent-mount.c', import.meta.url).pathname;

describe('A user whose ~/.ssh is a file system that never answers', function () {
  this.timeout(180_000);
  let folder: string;
  let tree: Tree;
  let server: ChildProcess | undefined;

  before(function () {
    require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
    require(this, existsSync('/usr/bin/gcc') ? undefined : 'there is no gcc');
    folder = suiteFolder();
    execFileSync('gcc', ['-o', join(folder, 'silent-mount'), SOURCE]);
    // As udev makes /dev/fuse, which containers mostly don't have; see Documentation/admin-guide/devices.txt.
    execFileSync('mknod', [join(folder, 'fuse'), 'c', '10', '229']);
    // A mount that the list of mounts doesn't have, as one that was made after that had been read.
    tree = new Tree({
      ...RUNNING,
      'etc/passwd': 'root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n',
      'etc/group': 'root:x:0:\nann:x:1000:\n',
      'home/ann/.ssh': { folder: true },
    });
  });
  after(async () => {
    if (server !== undefined && server.exitCode === null) {
      server.stdin?.end();
      await once(server, 'exit');
    }
    tree?.remove();
  });

  it('costs the rules about homes, and neither the agent nor the others', async () => {
    const place = join(tree.root, 'home/ann/.ssh');
    server = spawn(join(folder, 'silent-mount'), [join(folder, 'fuse'), place], { stdio: ['pipe', 'pipe', 'inherit'] });
    const failed = once(server, 'exit').then(([status]) => assert.fail(`silent-mount ended with ${status}`));
    const [said] = await Promise.race([once(server.stdout as NodeJS.ReadableStream, 'data'), failed]);
    assert.equal(String(said), 'mounted\n');

    const reader = new Reader({ clock: systemClock, log: quietLog() });
    try {
      const parts = { reader, hostRoot: tree.root, clock: systemClock, log: quietLog(), stepLimit: seconds(3) };
      const scanner = new IsolatedScanner(parts);
      const options = { level: 1, walk: false, groupsDisabled: [], checksDisabled: [], roles: [] } as const;
      // A read in this process would never end.
      const { outcomes, limits } = await scanner.scan(options, new AbortController().signal);
      const ofHomes = outcomes.filter(
        ({ rule }) => /^acct\.(?:homes?|dot|ssh|user)/.test(rule) || rule.includes('home'),
      );
      const hung = outcomes.filter(({ reason }) => reason?.includes('hung') === true);
      assert.ok(hung.length >= 3, JSON.stringify(ofHomes.map(({ rule, result }) => [rule, result])));
      assert.ok(hung.every(({ result, reason }) => result === 'err' && reason?.includes('/home/ann') === true));
      assert.ok(outcomes.filter(({ result }) => result === 'pass' || result === 'fail').length > 100);
      assert.ok(limits.some((limit) => limit.includes('/home/ann')));
    } finally {
      reader.close();
    }
  });
});
