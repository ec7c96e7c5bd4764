import assert from 'node:assert/strict';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostFiles } from '../../../src/agent/host/host-files.ts';
import { temporaryFolder } from '../../harness/folders.ts';

describe('HostFiles', () => {
  it('treats a link to /dev/null as an empty file, and rejects other devices', () => {
    const [masked, zero] = ['masked', 'zero'].map((name) => join(temporaryFolder(), name)) as [string, string];
    symlinkSync('/dev/null', masked);
    symlinkSync('/dev/zero', zero);
    const files = new HostFiles('/');
    assert.deepEqual(files.text(masked), { found: '' });
    assert.deepEqual(files.text(zero), { unreadable: `${zero} is not a regular file`, denied: false });
  });

  it('never treats a file whose name is not UTF-8 as missing', () => {
    const folder = temporaryFolder();
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff])]), 'x');
    const files = new HostFiles(folder);
    const { paths } = files.expand('/*');
    const why = { unreadable: '/\u{fffd} has a name that is not UTF-8', denied: false };
    assert.deepEqual([...paths.map((path) => files.text(path)), files.lstat('/\u{fffd}')], [why, why]);
    assert.deepEqual(files.text('/x'), { missing: true });
  });
});
