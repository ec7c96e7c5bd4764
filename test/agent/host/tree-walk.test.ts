import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, type Stats, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HostFiles, MISSING } from '../../../src/agent/host/host-files.ts';
import { localRoots, type WalkedMount, walkTree } from '../../../src/agent/host/tree-walk.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { temporaryFolder } from '../../harness/folders.ts';

describe('walkTree', () => {
  let root: string;

  beforeEach(() => {
    root = temporaryFolder();
  });

  const add = (...paths: string[]) => {
    for (const path of paths) {
      mkdirSync(join(root, dirname(path)), { recursive: true });
      writeFileSync(join(root, path), 'x');
    }
  };

  type Options = Partial<Parameters<typeof walkTree>[1]> & { readonly remote?: readonly string[] };

  const walk = async ({ remote = [], ...options }: Options = {}) => {
    const visited: string[] = [];
    const files = new HostFiles(root);
    files.remote = remote;
    const walked = await walkTree(
      { files, clock: systemClock, signal: new AbortController().signal, at: () => {} },
      { roots: ['/'], mounts: MISSING, visit: (_stats, path) => void visited.push(path), ...options },
    );
    return { ...walked, visited: visited.sort() };
  };

  it('visits every entry below the roots once, and follows no link', async () => {
    add('etc/a', 'srv/b/c', 'opt/d');
    symlinkSync('/etc', join(root, 'srv/link'));
    const { visited, entries, incomplete } = await walk({ roots: ['/srv', '/opt'] });
    assert.deepEqual(visited, ['/opt/d', '/srv/b', '/srv/b/c', '/srv/link']);
    assert.equal(entries, 4);
    assert.equal(incomplete, undefined);
  });

  it('visits directories of virtual file systems and of containers, but not their contents', async () => {
    add('proc/a', 'var/lib/docker/b', 'var/lib/c');
    const { visited } = await walk();
    assert.deepEqual(visited, ['/proc', '/var', '/var/lib', '/var/lib/c', '/var/lib/docker']);
  });

  it('skips mount points of other machines', async () => {
    add('srv/share/a', 'srv/b');
    const { visited } = await walk({ remote: ['/srv/share'] });
    assert.deepEqual(visited, ['/srv', '/srv/b']);
  });

  it('walks a device once that is mounted in two places', async () => {
    add('opt/a', 'srv/b');
    const found = ['/opt', '/srv'].map((point) => ({ point, type: 'ext4' }));
    const { visited } = await walk({ roots: ['/opt', '/srv'], mounts: { found } });
    assert.deepEqual(visited, ['/opt/a']);
  });

  it('walks directories and visits files with any bytes in their names', async () => {
    const folder = Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff])]);
    mkdirSync(folder);
    writeFileSync(Buffer.concat([folder, Buffer.from('/a'), Buffer.from([0xfe])]), 'x');
    const texts: string[] = [];
    const { visited, incomplete } = await walk({
      visit: (stats, _path, place) => void (stats.isFile() && texts.push(readFileSync(place, 'utf8'))),
    });
    assert.deepEqual([texts, incomplete], [['x'], undefined]);
    assert.deepEqual([visited, (await walk()).visited], [[], ['/\u{fffd}', '/\u{fffd}/a\u{fffd}']]);
  });

  it('reports a missing root, and entries that may be mount points of other machines', async () => {
    mkdirSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff])]));
    const { visited, incomplete } = await walk({ remote: ['/\u{fffd}'] });
    assert.deepEqual([visited, incomplete], [[], '/\u{fffd} may be on a network file system']);
    assert.equal((await walk({ roots: ['/\u{fffd}'] })).incomplete, "/\u{fffd} can't be read: ENOENT");
  });

  it('provides a path at which the entry can be read during the visit', async () => {
    add('srv/a');
    const texts: Record<string, string> = {};
    await walk({
      visit(stats: Stats, path: string, place: Buffer) {
        if (stats.isFile()) texts[path] = readFileSync(place, 'utf8');
      },
    });
    assert.deepEqual(texts, { '/srv/a': 'x' });
  });

  it('reports when a directory contains more directories than it visits', async () => {
    add('srv/a/x', 'srv/b/x', 'srv/c/x', 'srv/d/x');
    const all = await walk({ mostFolders: 4 });
    assert.equal(all.incomplete, undefined);
    const some = await walk({ mostFolders: 3 });
    assert.equal(some.incomplete, '/srv holds more than 3 folders');
    assert.equal(some.entries, all.entries - 1);
  });

  it('reports when it skips an overlay that may hide files on disks', async () => {
    const disk = { point: '/', type: 'ext4' };
    const container = { point: '/data/docker/1/merged', type: 'overlay' };
    const incomplete = async (...found: WalkedMount[]) => (await walk({ mounts: { found } })).incomplete;
    assert.match(
      (await incomplete(disk, { point: '/home', type: 'overlay' })) ?? '',
      /^\/home is not walked: .* below this overlay are local$/,
    );
    assert.match((await incomplete(disk, { point: '/srv', type: 'ecryptfs' })) ?? '', /^\/srv is not walked/);
    assert.equal(await incomplete(disk, container), undefined);
    assert.equal(await incomplete(disk, { point: '/etc', type: 'overlay', isLocalOverlay: true }), undefined);
    assert.equal(await incomplete({ point: '/', type: 'overlay' }, { point: '/tmp', type: 'tmpfs' }), undefined);
  });

  it('reports when the mounts are unknown, and whether a permission is missing', async () => {
    const { incomplete, denied } = await walk({ mounts: { unreadable: 'no permission to read x', denied: true } });
    assert.deepEqual({ incomplete, denied }, { incomplete: 'no permission to read x', denied: true });
  });
});

describe('localRoots', () => {
  const mounts = (...found: WalkedMount[]) => localRoots({ found });

  it('returns the whole tree of a system that is not running', () => assert.deepEqual(localRoots(MISSING), ['/']));

  it('returns the root, of any type, and all disks', () =>
    assert.deepEqual(
      mounts(
        { point: '/', type: 'overlay' },
        { point: '/srv', type: 'nfs4' },
        { point: '/data', type: 'ext4' },
        { point: '/tmp', type: 'tmpfs' },
        { point: '/var/lib/docker/x', type: 'xfs' },
      ),
      ['/', '/data'],
    ));

  it('includes overlays over disks, but not those of containers', () =>
    assert.deepEqual(
      mounts(
        { point: '/', type: 'squashfs' },
        { point: '/data', type: 'ext4' },
        { point: '/etc', type: 'overlay', isLocalOverlay: true },
        { point: '/home', type: 'overlay', isLocalOverlay: false },
        { point: '/var/lib/docker/overlay2/1/merged', type: 'overlay', isLocalOverlay: true },
        { point: '/data/docker/overlay2/1/merged', type: 'overlay', isLocalOverlay: true },
      ),
      ['/', '/data', '/etc'],
    ));

  it('includes read-only images of flash', () =>
    assert.deepEqual(mounts({ point: '/', type: 'ext4' }, { point: '/opt', type: 'cramfs' }), ['/', '/opt']));
});
