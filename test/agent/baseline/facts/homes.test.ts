import assert from 'node:assert/strict';
import { readHomes } from '../../../../src/agent/baseline/facts/homes.ts';
import { withTree } from '../tree.ts';

const USER = { line: 1, name: 'ann', shadowed: true, emptyPassword: false, uid: 1000, gid: 1000, shell: '/bin/sh' };
const REMOVED = { unreadable: 'it was removed during the scan', denied: false };

/** Reads the home /home/ann as if the file system reported an error for one entry. */
const readWithError = (path: string, code: string) =>
  withTree({ 'home/ann/.profile': '', 'home/ann/.ssh/id': '' }, async (tree) => {
    const system = tree.system();
    const remote: string[] = [];
    // Called for each entry, before its attributes are read.
    remote.includes = (entry) => {
      if (entry === path) throw Object.assign(new Error(`${code}: for the test`), { code });
      return false;
    };
    system.files.remote = remote;
    const [home] = await readHomes([{ ...USER, home: '/home/ann' }], system);
    assert.ok(home);
    return home;
  });

describe('readHomes', () => {
  it('returns the dot files of a home and the contents of .ssh', async () => {
    const { entries, cut } = await readWithError('', 'EIO');
    assert.deepEqual(entries.map(({ path }) => path).sort(), ['.profile', '.ssh', '.ssh/id']);
    assert.equal(cut, undefined);
  });

  it('reports a home that is removed while it is read as unreadable, not as empty', async () => {
    const { stats, entries } = await readWithError('/home/ann/.profile', 'ENOENT');
    assert.deepEqual({ stats, entries }, { stats: REMOVED, entries: [] });
  });

  it('reports the error of a home that cannot be read', async () => {
    const { stats, entries } = await readWithError('/home/ann/.profile', 'EIO');
    assert.ok('unreadable' in stats);
    assert.match(stats.unreadable, /EIO/);
    assert.deepEqual(entries, []);
  });

  it('reports that entries may be missing if .ssh is removed while it is read', async () => {
    const { stats, cut } = await readWithError('/home/ann/.ssh/id', 'ENOENT');
    assert.ok('found' in stats);
    assert.deepEqual(cut, REMOVED);
  });

  it('reports that entries may be missing if .ssh cannot be read', async () => {
    const { cut } = await readWithError('/home/ann/.ssh/id', 'EIO');
    assert.match(cut?.unreadable ?? '', /EIO/);
  });
});
