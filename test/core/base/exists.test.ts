import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exists } from '../../../src/core/base/exists.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { require } from '../../harness/require.ts';

describe('exists', () => {
  let folder: string;

  beforeEach(() => {
    folder = temporaryFolder();
    mkdirSync(join(folder, 'closed'), { mode: 0o700 });
    writeFileSync(join(folder, 'closed/file'), '');
  });

  it('says what is there', () => {
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
    it(`says ${expected} of what is in a folder of another user, where ${who}`, function () {
      require(this, process.getuid?.() === 0 ? undefined : 'this is not root');
      const module = new URL('../../../src/core/base/exists.js', import.meta.url).href;
      const script = `const { exists } = await import(process.argv[1]); process.stdout.write(String(exists(process.argv[2])));`;
      const file = join(folder, 'closed/file');
      const caps = [`--inh-caps=${capability}`, `--ambient-caps=${capability}`];
      const user = ['--reuid=65534', '--clear-groups', ...caps];
      const args = [...user, process.execPath, '--input-type=module', '--eval', script, module, file];
      assert.equal(execFileSync('setpriv', args, { encoding: 'utf8' }), expected);
    });
  }
});
