import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { isLocal, isRemote, type Mount, mountWithId, parseFstab, parseMounts } from '../../../src/agent/host/mounts.ts';
import { fuzzRuns } from '../../fuzz.ts';

const MOUNTINFO = `22 28 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
36 28 0:31 / /mnt/my\\040share rw,noatime shared:7 master:1 - nfs4 server:/export rw,vers=4.2
37 28 0:32 / /home/alice/remote rw,nosuid,nodev,relatime - fuse.sshfs alice@example.com: rw,user_id=1000
38 28 0:33 / /misc rw,relatime - autofs /etc/auto.misc rw,fd=5
39 28 0:34 / /media/stick rw - fuseblk /dev/sda1 rw
40 28 0:35 / /srv/nfs rw - ext4 nfs rw
41 28 0:36 / /var/lib/docker/overlay2/1/merged rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A,upperdir=/var/lib/docker/overlay2/1/diff
42 28 0:37 / /srv/merged rw - overlay overlay rw,lowerdir=/home/alice/remote/lower:/usr,upperdir=/srv/upper
`;

const mount = (id: number): Mount => {
  const found = mountWithId(MOUNTINFO, id);
  assert.ok(found);
  return found;
};

describe('mountWithId', () => {
  it('finds the line of a mount', () => {
    assert.deepEqual(mount(36), {
      id: 36,
      device: '0:31',
      point: '/mnt/my share',
      type: 'nfs4',
      source: 'server:/export',
      ownOptions: 'rw,noatime',
      options: 'rw,vers=4.2',
    });
    assert.equal(mount(22).type, 'proc');
  });

  it('finds no mount by another number on a line, or by a part of one', () => {
    for (const id of [1, 2, 6, 8, 23, 259]) assert.equal(mountWithId(MOUNTINFO, id), undefined);
  });

  it('ignores a truncated line', () => {
    assert.equal(mountWithId(MOUNTINFO.slice(0, -1), 42), undefined);
    assert.equal(mountWithId('', 42), undefined);
  });

  it('reads the mounts of this machine', () => {
    const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8');
    const mounts = parseMounts(mountinfo);
    assert.ok(mounts.length > 0);
    for (const one of mounts) assert.deepEqual(mountWithId(mountinfo, one.id), one);
  });

  it('accepts any text', () => {
    const part = fc.constantFrom(
      ' ',
      ' - ',
      '\n',
      '/',
      '28 ',
      '0:19',
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
      fc.property(text, fc.nat(50), (mountinfo, id) => {
        const found = mountWithId(mountinfo, id);
        if (found === undefined) return;
        assert.equal(found.id, id);
        assert.match(found.point, /^\//);
        isLocal(found, mountinfo);
      }),
      { numRuns: fuzzRuns(50_000) },
    );
  });
});

describe('parseFstab', () => {
  it('reads the entries, and counts all lines', () => {
    assert.deepEqual(
      parseFstab('# /etc/fstab\n\nUUID=1 / ext4 defaults 0 1\n //nas/a\\040b  /mnt/a\\040b cifs ro,guest\nnone'),
      [
        { line: 3, source: 'UUID=1', point: '/', type: 'ext4', options: 'defaults' },
        { line: 4, source: '//nas/a b', point: '/mnt/a b', type: 'cifs', options: 'ro,guest' },
      ],
    );
  });
});

describe('isRemote', () => {
  it('returns true for file systems of another machine, a program or a hypervisor only', () => {
    const types = ['nfs4', 'cifs', '9p', 'virtiofs', 'autofs', 'fuse', 'fuseblk', 'fuse.sshfs'];
    assert.deepEqual(
      types.filter((type) => !isRemote({ type })),
      [],
    );
    assert.deepEqual(
      ['ext4', 'tmpfs', 'proc', 'overlay', 'ntfs3', 'nfsd'].filter((type) => isRemote({ type })),
      [],
    );
    for (const type of types) assert.equal(isLocal({ ...mount(28), type }, MOUNTINFO), false, type);
  });
});

describe('isLocal', () => {
  const local = (id: number) => isLocal(mount(id), MOUNTINFO);

  it('returns true for file systems of the kernel only', () => {
    assert.deepEqual(
      [28, 40].map((id) => local(id)),
      [true, true],
    );
    assert.deepEqual(
      [22, 36, 37, 38, 39].map((id) => local(id)),
      [false, false, false, false, false],
    );
    assert.equal(isLocal({ ...mount(28), type: 'a file system of next year' }, MOUNTINFO), false);
  });

  it('returns true for an overlay of the first process over local layers', () => {
    assert.equal(local(41), true);
    assert.equal(local(42), false);
    const users = { ...mount(41), device: '0:99' };
    assert.equal(isLocal(users, MOUNTINFO), false);
    assert.equal(isLocal(mount(41), undefined), false);
  });

  it('finds the layers in any notation', () => {
    const first = (options: string) =>
      `37 28 0:32 / /mnt/a\\040b rw - fuse.x x rw\n41 28 0:36 / /m rw - overlay overlay ${options}\n`;
    for (const options of [
      'rw,lowerdir=/usr:/mnt/a\\040b',
      'rw,lowerdir+=/mnt/a\\040b/c',
      'rw,lowerdir=/usr::/mnt/a\\040b/data',
      'rw,datadir+=/mnt/a\\040b',
      'rw,upperdir=/mnt/a\\040b/upper,lowerdir=/usr',
    ]) {
      assert.equal(isLocal({ ...mount(41), options }, first(options)), false, options);
    }
    const fine = 'rw,lowerdir=/mnt/a\\040bc:/usr,upperdir=/mnt/a';
    assert.equal(isLocal({ ...mount(41), options: fine }, first(fine)), true);
  });
});
