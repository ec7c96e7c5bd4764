import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LocalFile, LocalFiles, type OpenCached } from '../../../src/agent/host/local-files.ts';
import { openCached } from '../../../src/agent/linux/native/cached-names.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds } from '../../../src/core/base/duration.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { require } from '../../harness/require.ts';

describe('LocalFiles', () => {
  let root: string;
  let files: LocalFiles;

  beforeEach(() => {
    root = temporaryFolder();
    mkdirSync(join(root, 'proc/1'), { recursive: true });
    mkdirSync(join(root, 'usr/bin'), { recursive: true });
    writeFileSync(join(root, 'usr/bin/a'), 'program', { mode: 0o755 });
    files = filesWith(openCached());
  });

  const filesWith = (opener: OpenCached | undefined) =>
    new LocalFiles({ proc: join(root, 'proc'), root, clock: systemClock, openCached: opener });
  const isFile = (file: LocalFile, path: string) => {
    assert.equal(typeof file, 'number', `${file}`);
    assert.equal(fstatSync(Number(file)).ino, statSync(join(root, path)).ino);
  };
  const live = (pid: number, image: string) => {
    mkdirSync(join(root, `proc/${pid}`));
    symlinkSync(image, join(root, `proc/${pid}/exe`));
  };
  it('finds a file by its path, and the file that a process runs', () => {
    isFile(files.at('/usr/bin/a'), 'usr/bin/a');
    live(77, join(root, 'usr/bin/a'));
    isFile(files.image(77), 'usr/bin/a');
  });

  it('returns undefined for a missing file or a path that is not one of the kernel’s', () => {
    for (const path of [
      '/usr/bin/b',
      '/usr/b/a',
      '/usr/bin/a/b',
      '',
      'usr',
      '//usr',
      '/usr/../usr/bin/a',
      '/usr/./bin/a',
      '/usr/bin/',
      '/\0',
      `/${'x'.repeat(300)}`,
      '/a'.repeat(2_000),
    ])
      assert.match(`${files.at(path)}`, /^(absent|uncached)$/, path.slice(0, 40));
    assert.equal(files.image(78), 'absent');
  });

  it('does not follow links, which may lead anywhere by now', () => {
    symlinkSync('usr', join(root, 'swapped'));
    symlinkSync('a', join(root, 'usr/bin/link'));
    assert.equal(files.at('/swapped/bin/a'), 'absent');
    const link = files.at('/usr/bin/link');
    assert.ok(typeof link === 'number' && fstatSync(link).isSymbolicLink());
  });

  it('leaves no descriptor open after the turn, for any number of files', async () => {
    const before = descriptors();
    for (let number = 0; number < 500; number += 1) {
      writeFileSync(join(root, `usr/bin/${number}`), '');
      isFile(files.at(`/usr/bin/${number}`), `usr/bin/${number}`);
    }
    assert.ok(descriptors() > before && descriptors() < before + 200, `${descriptors()}`);
    await Promise.resolve();
    assert.equal(descriptors(), before);
  });

  it('reads nothing without time', () => {
    const none = { left: () => milliseconds(-1), pay: () => assert.fail() };
    assert.equal(files.at('/usr/bin/a', none), 'budget');
  });

  it("finds files in the kernel's cache without waiting", () => {
    const open = openCached() ?? assert.fail('openat2(2) is not available');
    files = filesWith((folder, name) => (name === 'a' ? 'uncached' : open(folder, name)));
    assert.equal(typeof files.at('/usr/bin'), 'number');
    assert.equal(files.at('/usr/bin/a'), 'uncached');
    live(77, join(root, 'usr/bin/a'));
    isFile(files.image(77), 'usr/bin/a');
  });

  it('retries once if a name was not in the cache', () => {
    const open = openCached() ?? assert.fail('openat2(2) is not available');
    const asked: string[] = [];
    files = filesWith((folder, name) => (asked.push(name) === 2 ? 'uncached' : open(folder, name)));
    isFile(files.at('/usr/bin/a'), 'usr/bin/a');
    assert.deepEqual(asked, ['usr', 'bin', 'bin', 'a']);
  });

  it('searches only root’s directories if the kernel can’t look up names without waiting', function () {
    require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
    files = filesWith(undefined);
    isFile(files.at('/usr/bin/a'), 'usr/bin/a');
    chownSync(join(root, 'usr/bin'), 1_000, 1_000);
    assert.equal(filesWith(undefined).at('/usr/bin/a'), 'uncached');
    isFile(filesWith(undefined).at('/usr/bin'), 'usr/bin');
    chownSync(join(root, 'usr/bin'), 0, 0);
    chmodSync(join(root, 'usr'), 0o1777);
    assert.equal(filesWith(undefined).at('/usr/bin/a'), 'uncached');
  });

  describe('in its own mounts', () => {
    /** Where /dev/shm is a file system of its own. */
    const SHM = '/dev/shm';
    let folder: string;

    beforeEach(function () {
      require(this, statSync(SHM).dev === statSync(root).dev ? `${SHM} is no file system of its own` : undefined);
      folder = mkdtempSync(join(SHM, 'vakt-'));
      writeFileSync(join(folder, 'b'), 'program', { mode: 0o755 });
    });
    afterEach(() => {
      if (folder !== undefined) rmSync(folder, { recursive: true });
    });

    const pretend = (type: string, { point = '/mnt', pid = 1 } = {}) => {
      mkdirSync(join(root, `proc/${pid}`), { recursive: true });
      writeFileSync(join(root, `proc/${pid}/mountinfo`), `${mountId(folder)} 1 0:99 / ${point} rw - ${type} x rw\n`);
    };
    const image = () => {
      live(77, join(folder, 'b'));
      return files.image(77);
    };

    it('trusts the first process’s list of mounts', () => {
      pretend('ext4');
      assert.equal(typeof image(), 'number');
    });

    for (const type of ['fuse', 'fuse.sshfs', 'fuseblk', 'nfs4', '9p', 'autofs', 'unheard-of']) {
      it(`omits files on ${type}`, () => {
        pretend(type);
        assert.equal(image(), 'mount');
      });
    }

    it("accepts the root directory's file system, regardless of its type", () => {
      pretend('9p', { point: '/' });
      assert.equal(typeof image(), 'number');
    });

    it('reads a list again after the turn: the same id can belong to another mount', async () => {
      pretend('tmpfs');
      assert.equal(typeof image(), 'number');
      pretend('fuse.x');
      assert.equal(typeof files.image(77), 'number'); // what it has found is kept open, so the id is that one's
      await Promise.resolve();
      assert.equal(files.image(77), 'mount');
    });
  });
});

describe("LocalFiles and other processes' mounts", () => {
  it('omits a program on a mount that no list contains', function () {
    require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
    const script = new URL('./detached-mount.js', import.meta.url).pathname;
    // In mounts of its own: a program runs from a file system that is no longer mounted anywhere.
    const run =
      'mount -t tmpfs tmpfs "$1" && cp "$(readlink -f /bin/sleep)" "$1/program" && { "$1/program" 60 & pid=$!; } && ' +
      'sleep 0.3 && "$2" "$3" "$pid" && umount -l "$1" && "$2" "$3" "$pid"; kill "$pid"';
    const folder = mkdtempSync(join(tmpdir(), 'vakt-detached-'));
    try {
      const args = [
        '--mount',
        '--propagation',
        'private',
        '/bin/sh',
        '-c',
        run,
        'sh',
        folder,
        process.execPath,
        script,
      ];
      assert.equal(execFileSync('unshare', args, { encoding: 'utf8' }), 'number\nmount\n');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

/** Id of the mount of a path. */
function mountId(path: string): string {
  const file = openSync(path, 'r');
  try {
    return /^mnt_id:\t(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${file}`, 'utf8'))?.[1] ?? '';
  } finally {
    closeSync(file);
  }
}

const descriptors = () => readdirSync('/proc/self/fd').length;
