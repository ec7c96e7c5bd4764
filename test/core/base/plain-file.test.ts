import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, lchownSync, linkSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readNamedFile, readPlainFile } from '../../../src/core/base/plain-file.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { skip } from '../../harness/require.ts';

const PLAIN_FILE = new URL('../../../src/core/base/plain-file.js', import.meta.url).href;

describe('Files that others can exchange', () => {
  let folder: string;
  const path = (name: string) => join(folder, name);

  beforeEach(() => {
    folder = temporaryFolder();
    writeFileSync(path('file'), 'text');
  });

  for (const [what, read] of [
    ['readPlainFile', readPlainFile],
    ['readNamedFile', readNamedFile],
  ] as const) {
    describe(what, () => {
      it(`${what} reads a file up to its limit`, () => {
        assert.equal(read(path('file'), 4), 'text');
        assert.throws(() => read(path('file'), 3), { code: 'EFBIG' });
      });

      it(`${what} rejects a huge file, directory, named pipe or device without blocking`, () => {
        writeFileSync(path('huge'), '');
        truncateSync(path('huge'), 1e12);
        mkdirSync(path('folder'));
        execFileSync('mkfifo', [path('pipe')]);
        assert.throws(() => read(path('huge'), 1_000), { code: 'EFBIG' });
        for (const name of [path('folder'), path('pipe'), '/dev/zero']) {
          assert.throws(() => read(name, 1_000), { code: 'EINVAL' });
        }
      });

      it(`${what} throws ENOENT if the file is missing`, () => {
        assert.throws(() => read(path('none'), 1), { code: 'ENOENT' });
      });
    });
  }

  it('readPlainFile rejects symbolic and hard links', () => {
    symlinkSync('/etc/hostname', path('link'));
    linkSync(path('file'), path('other'));
    assert.throws(() => readPlainFile(path('link'), 1_000), { code: 'ELOOP' });
    assert.throws(() => readPlainFile(path('other'), 1_000), { code: 'EINVAL' });
  });

  it('readNamedFile follows a link only if no untrusted user can have made it', () => {
    symlinkSync('file', path('link'));
    assert.equal(readNamedFile(path('link'), 1_000), 'text');
    chmodSync(folder, 0o777);
    assert.throws(() => readNamedFile(path('link'), 1_000), { code: 'ELOOP' });
  });

  it('readNamedFile follows a link in a sticky world-writable folder', () => {
    symlinkSync('file', path('link'));
    chmodSync(folder, 0o1777);
    assert.equal(readNamedFile(path('link'), 1_000), 'text');
  });

  it('readNamedFile follows the links of a Kubernetes volume, which is mounted read-only', function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root, to mount a folder read-only');
    mkdirSync(path('volume/..2026'), { recursive: true });
    writeFileSync(path('volume/..2026/file'), 'configuration');
    symlinkSync('..2026', path('volume/..data'));
    symlinkSync('..data/file', path('volume/file'));
    chmodSync(path('volume'), 0o777);
    assert.throws(() => readNamedFile(path('volume/file'), 1_000), { code: 'ELOOP' });
    const program = `import(${JSON.stringify(PLAIN_FILE)}).then((m) => console.log(m.readNamedFile(process.argv[1], 1000)))`;
    const mounted = 'mount --bind -o ro "$1" "$1" && shift && exec "$@"';
    const args = [
      '--mount',
      'sh',
      '-c',
      mounted,
      'sh',
      path('volume'),
      process.execPath,
      '-e',
      program,
      path('volume/file'),
    ];
    assert.equal(execFileSync('unshare', args, { encoding: 'utf8' }), 'configuration\n');
  });

  it('readNamedFile rejects a link that another user has made', function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root, to make a link of another user');
    symlinkSync('file', path('link'));
    lchownSync(path('link'), 65_534, 65_534);
    assert.throws(() => readNamedFile(path('link'), 1_000), { code: 'ELOOP' });
  });
});
