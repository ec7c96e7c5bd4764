import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exists, makeFolder } from '../../../src/core/base/paths.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { require } from '../../harness/require.ts';

describe('exists', () => {
  let folder: string;

  beforeEach(() => {
    folder = temporaryFolder();
    mkdirSync(join(folder, 'closed'), { mode: 0o700 });
    writeFileSync(join(folder, 'closed/file'), '');
  });

  it('exists returns true for folders and files, and false for missing paths and dangling links', () => {
    assert.equal(exists(join(folder, 'closed')), true);
    assert.equal(exists(join(folder, 'closed/file')), true);
    assert.equal(exists(join(folder, 'none')), false);
    assert.equal(exists(join(folder, 'closed/file/below')), false);
    symlinkSync('nowhere', join(folder, 'link'));
    assert.equal(exists(join(folder, 'link')), false);
  });

  for (const [who, capability, expected] of [
    ['nobody may look', '-dac_read_search', 'false'],
    ['a capability is needed to look', '+dac_read_search', 'true'],
  ] as const) {
    it(`exists returns ${expected} for a file in a folder of another user, where ${who}`, function () {
      require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
      const module = new URL('../../../src/core/base/paths.js', import.meta.url).href;
      const script = `const { exists } = await import(process.argv[1]); process.stdout.write(String(exists(process.argv[2])));`;
      const file = join(folder, 'closed/file');
      const caps = [`--inh-caps=${capability}`, `--ambient-caps=${capability}`];
      const user = ['--reuid=65534', '--clear-groups', ...caps];
      const args = [...user, process.execPath, '--input-type=module', '--eval', script, module, file];
      assert.equal(execFileSync('setpriv', args, { encoding: 'utf8' }), expected);
    });
  }
});

describe('makeFolder', () => {
  it('makeFolder creates a folder with its parents, and leaves an existing one unchanged', () => {
    const path = join(temporaryFolder(), 'a', 'b', 'c');
    makeFolder(path, 0o700);
    makeFolder(path, 0o755);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    assert.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
  });

  it('makeFolder throws if the path or a parent is a file', () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    assert.throws(() => makeFolder(file, 0o700), { code: 'EEXIST' });
    assert.throws(() => makeFolder(join(file, 'below'), 0o700), { code: 'ENOTDIR' });
  });

  it('makeFolder throws in /proc, where no folder can be created', () => {
    assert.throws(() => makeFolder('/proc/vakt', 0o700), { code: 'ENOENT' });
    assert.throws(() => makeFolder('/proc/vakt/below', 0o700), { code: 'ENOENT' });
  });
});
