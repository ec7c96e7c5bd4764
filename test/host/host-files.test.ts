import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { HostFiles } from '../../src/host/host-files.ts';
import { temporaryFolder } from '../support/folders.ts';

describe('HostFiles', () => {
  it('takes a link to /dev/null for an empty file, and no other device', () => {
    const [masked, zero] = ['masked', 'zero'].map((name) => join(temporaryFolder(), name)) as [string, string];
    symlinkSync('/dev/null', masked);
    symlinkSync('/dev/zero', zero);
    const files = new HostFiles('/');
    assert.deepEqual(files.text(masked), { found: '' });
    assert.deepEqual(files.text(zero), { unreadable: `${zero} is not a regular file`, denied: false });
  });
});
