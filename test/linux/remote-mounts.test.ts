import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { systemClock } from '../../src/base/clock.ts';
import { milliseconds } from '../../src/base/duration.ts';
import { RemoteMounts, remoteMounts } from '../../src/linux/remote-mounts.ts';
import { fuzzRuns } from '../fuzz.ts';

const MOUNTINFO = `22 28 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
36 28 0:31 / /mnt/my\\040share rw,noatime shared:7 master:1 - nfs4 server:/export rw,vers=4.2
37 28 0:32 / /home/alice/remote rw,nosuid,nodev,relatime - fuse.sshfs alice@example.com: rw,user_id=1000
38 28 0:33 / /misc rw,relatime - autofs /etc/auto.misc rw,fd=5
39 28 0:34 / /media/stick rw - fuseblk /dev/sda1 rw
40 28 0:35 / /srv/nfs rw - ext4 nfs rw
`;

describe('remoteMounts', () => {
  it('lists where other machines and programs answer', () => {
    assert.deepEqual(remoteMounts(MOUNTINFO), ['/mnt/my share', '/home/alice/remote', '/misc']);
  });

  it('leaves out the root directory', () => {
    assert.deepEqual(remoteMounts('28 1 0:19 / / rw - nfs 192.0.2.1:/root rw\n'), []);
  });

  it('reads that of this machine', () => {
    for (const point of remoteMounts(readFileSync('/proc/self/mountinfo', 'utf8'))) assert.match(point, /^\/./);
  });

  it('takes any text', () => {
    const part = fc.constantFrom(
      ' ',
      ' - ',
      '\n',
      '/',
      'nfs',
      'fuse.',
      '\\040',
      '\\999',
      '28 1 0:19 / /mnt rw - nfs x',
    );
    const mutated = fc
      .tuple(fc.nat(MOUNTINFO.length), fc.nat(20), fc.array(part, { maxLength: 4 }))
      .map(([at, cut, put]) => MOUNTINFO.slice(0, at) + put.join('') + MOUNTINFO.slice(at + cut));
    const text = fc.oneof(
      mutated,
      fc.array(part).map((parts) => parts.join('')),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(text, (mountinfo) => {
        assert.ok(remoteMounts(mountinfo).every((point) => point.length <= mountinfo.length));
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});

describe('RemoteMounts', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vakt-mounts-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('holds what lies below one, and nothing else, as of the last five seconds', () => {
    const mountinfo = join(folder, 'mountinfo');
    let now = 0;
    const mounts = new RemoteMounts({ clock: { ...systemClock, monotonic: () => milliseconds(now) }, mountinfo });
    assert.equal(mounts.hold('/mnt/my share/tool'), false);
    writeFileSync(mountinfo, MOUNTINFO);
    now = 4_999;
    assert.equal(mounts.hold('/mnt/my share/tool'), false);
    now = 5_000;
    assert.equal(mounts.hold('/mnt/my share/tool'), true);
    assert.equal(mounts.hold('/mnt/my share.old/tool'), false);
    assert.equal(mounts.hold('/usr/bin/ls'), false);
  });
});
