import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fswalk } from '../../../../src/agent/baseline/primitives/fswalk.ts';
import { fileCapabilities } from '../../../../src/agent/linux/native/system-calls.ts';
import { skip } from '../../../harness/require.ts';
import { RUNNING, Tree, withTree } from '../tree.ts';

const NAMES = { 'etc/passwd': 'root:x:0:0::/:/bin/sh\n', 'etc/group': 'root:x:0:\n' };
const evaluate = (find: string, tree: Tree, allow: string[] = []) =>
  fswalk.evaluate({ find: find as 'setIdFiles', allow }, tree.system());

describe('baseline: fswalk', () => {
  before(function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root, to make files of others');
  });

  for (const [find, entry] of Object.entries({
    worldWritableFiles: { text: '', mode: 0o666 },
    worldWritableFoldersWithoutSticky: { folder: true, mode: 0o777 },
    unownedFiles: { text: '', uid: 4242 },
    ungroupedFiles: { text: '', gid: 4242 },
    setIdFiles: { text: '', mode: 0o4755 },
  } as const)) {
    it(`fail: ${find}`, () =>
      withTree({ ...NAMES, 'srv/deep/in/here': entry }, async (tree) => {
        const { result, where } = await evaluate(find, tree);
        assert.deepEqual({ result, where }, { result: 'fail', where: '/srv/deep/in/here' });
      }));
  }

  it('pass: a file that may be so, a sticky folder, and what lies outside of links', () =>
    withTree(
      {
        ...NAMES,
        'usr/bin/su': { text: '', mode: 0o4755 },
        tmp: { folder: true, mode: 0o1777 },
        'srv/out': { link: '/../../../tmp' },
        'proc/x': { text: '', mode: 0o666 },
        'var/lib/docker/x': { text: '', mode: 0o666 },
      },
      async (tree) => {
        assert.equal((await evaluate('setIdFiles', tree, ['/usr/bin/su'])).result, 'pass');
        assert.equal((await evaluate('worldWritableFiles', tree)).result, 'pass');
        assert.equal((await evaluate('worldWritableFoldersWithoutSticky', tree)).result, 'pass');
      },
    ));

  describe('where an overlay is mounted over a part', () => {
    const ROOT = '21 1 8:1 / / rw,relatime - squashfs /dev/root ro\n22 21 8:2 / /data rw - ext4 /dev/sda2 rw\n';
    const overlay = (lower: string) =>
      `23 21 0:40 / /etc rw - overlay overlay rw,lowerdir=${lower},upperdir=/data/etc,workdir=/data/work\n`;
    const ofTree = (mountinfo: string) =>
      withTree({ ...NAMES, ...RUNNING, 'proc/1/mountinfo': mountinfo }, (tree) => evaluate('setIdFiles', tree));

    it('pass: an overlay over disks, which is walked', async () =>
      assert.equal((await ofTree(ROOT + overlay('/etc'))).result, 'pass'));

    it('err: an overlay over what another machine has', async () => {
      const share = '24 21 0:41 / /srv rw - nfs4 server:/x rw\n';
      const { result, reason } = await ofTree(ROOT + share + overlay('/srv/etc'));
      assert.equal(result, 'err');
      assert.match(reason ?? '', /\/etc is not walked/);
    });
  });

  describe('capabilities of files', () => {
    const find = { find: 'filesWithCapabilities' as const, allow: ['/usr/bin/ping'] };
    const PROGRAM = { text: 'x', mode: 0o755 };
    const grant = (tree: Tree, path: string) =>
      execFileSync('/usr/sbin/setcap', ['cap_net_raw=ep', join(tree.root, path)]);

    before(function () {
      if (!existsSync('/usr/sbin/setcap')) skip(this, 'needs setcap, of libcap2-bin');
    });

    it('fail: a program that has some and is not known to need them', () =>
      withTree({ ...NAMES, 'srv/tool': PROGRAM, 'srv/plain': PROGRAM, 'usr/bin/ping': PROGRAM }, async (tree) => {
        grant(tree, 'srv/tool');
        grant(tree, 'usr/bin/ping');
        const { result, actual, where } = await fswalk.evaluate(find, tree.system({ fileCapabilities }));
        assert.deepEqual({ result, actual, where }, { result: 'fail', actual: '/srv/tool', where: '/srv/tool' });
      }));

    it('pass: none, one that may have some, one that can not be run, and one outside that a link leads to', () =>
      withTree({ 'outside/tool': PROGRAM }, (outside) =>
        withTree(
          {
            ...NAMES,
            'usr/bin/ping': PROGRAM,
            'srv/plain': PROGRAM,
            'srv/text': '',
            'srv/link': { link: join(outside.root, 'outside/tool') },
            'srv/folder': { link: join(outside.root, 'outside') },
          },
          async (tree) => {
            for (const path of ['usr/bin/ping', 'srv/text']) grant(tree, path);
            grant(outside, 'outside/tool');
            assert.equal((await fswalk.evaluate(find, tree.system({ fileCapabilities }))).result, 'pass');
          },
        ),
      ));

    it('skip: without native code, for that reason', () =>
      withTree(NAMES, async (tree) => {
        for (const parts of [{}, { fileCapabilities: () => undefined }]) {
          const { result, reason } = await fswalk.evaluate(find, tree.system(parts));
          assert.equal(result, 'skip');
          assert.match(reason ?? '', /without the native module koffi/);
        }
      }));
  });

  it('err: folders that are deeper than it goes', () =>
    withTree({ ...NAMES, [`${'d/'.repeat(250)}x`]: '' }, async (tree) => {
      const { result, reason } = await evaluate('setIdFiles', tree);
      assert.equal(result, 'err');
      assert.match(reason ?? '', /more than 200 deep/);
    }));

  it('err: a file system that is mounted there, and is not among those that are known', () =>
    withTree({ ...NAMES, srv: { folder: true } }, async (tree) => {
      const point = join(tree.root, 'srv');
      execFileSync('mount', ['-t', 'tmpfs', 'vakt-test', point]);
      try {
        const { result, reason } = await evaluate('setIdFiles', tree);
        assert.equal(result, 'err');
        assert.match(reason ?? '', /\/srv is on another file system/);
      } finally {
        execFileSync('umount', [point]);
      }
    }));

  it('walks once for all rules', () =>
    withTree({ ...NAMES, 'srv/x': '' }, async (tree) => {
      const system = tree.system();
      await fswalk.evaluate({ find: 'setIdFiles', allow: [] }, system);
      tree.add('srv/late', { text: '', mode: 0o4755 });
      assert.equal((await fswalk.evaluate({ find: 'setIdFiles', allow: [] }, system)).result, 'pass');
    }));

  it('ends when the scan is aborted', async () => {
    const tree = new Tree({ ...NAMES, 'srv/x': '' });
    try {
      for (let i = 0; i < 3_000; i += 1) tree.add(`srv/f${i}`, '');
      const stop = new AbortController();
      const walking = fswalk.evaluate({ find: 'setIdFiles', allow: [] }, tree.system({ signal: stop.signal }));
      stop.abort(new Error('stopped'));
      await assert.rejects(Promise.resolve(walking), /stopped/);
    } finally {
      tree.remove();
    }
  });
});
