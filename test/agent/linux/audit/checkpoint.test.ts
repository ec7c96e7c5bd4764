import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Checkpoint } from '../../../../src/agent/linux/audit/checkpoint.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

describe('Checkpoint', () => {
  let folder: string;
  let path: string;
  let checkpoint: Checkpoint;

  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'checkpoint');
    checkpoint = new Checkpoint(path, 'this-boot');
  });

  it('returns undefined before the first write', () => assert.equal(checkpoint.read(), undefined));

  it('stores the last position in a file that only its owner can read', () => {
    checkpoint.write({ timeMs: 1_795_546_164_720, serial: 4_294_967_295, log: { inode: 123_456, offset: 99 } });
    checkpoint.write({ timeMs: 5, serial: 6 });
    assert.deepEqual(new Checkpoint(path, 'x').read(), { bootId: 'this-boot', timeMs: 5, serial: 6 });
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('stores the position up to which complete events were reported', () => {
    const log = { inode: 1, offset: 2, told: { inode: 3, offset: 4 } };
    checkpoint.write({ timeMs: 5, serial: 6, log });
    assert.deepEqual(checkpoint.read()?.log, log);
    writeFileSync(path, JSON.stringify({ bootId: 'b', timeMs: 5, serial: 6, log: { ...log, told: { inode: 'x' } } }));
    assert.deepEqual(checkpoint.read()?.log, { inode: 1, offset: 2 });
  });

  for (const text of ['', 'x', '{}', '[]', 'null', '{"bootId":1}', '{"bootId":"b","timeMs":-1,"serial":2}']) {
    it(`ignores ${JSON.stringify(text)} as a stored position`, () => {
      writeFileSync(path, text);
      assert.equal(checkpoint.read(), undefined);
    });
  }

  describe('isAfter', () => {
    const place = { bootId: 'this-boot', timeMs: 10_000, serial: 100 };
    const isAfter = (timeMs: number, serial: number, from = place) =>
      checkpoint.isAfter(from, { time: new Date(timeMs), serial }, 5_000);

    it('compares serials within one boot, where times are out of order', () => {
      assert.equal(isAfter(9_000, 101), true);
      assert.equal(isAfter(11_000, 100), false);
      assert.equal(isAfter(11_000, 99), false);
    });
    it('compares serials across the wrap', () => {
      assert.equal(isAfter(10_000, 3, { ...place, serial: 4_294_967_290 }), true);
      assert.equal(isAfter(10_000, 4_294_967_290, { ...place, serial: 3 }), false);
    });
    it('compares times after the machine was restarted', () => {
      const before = { ...place, bootId: 'another' };
      assert.equal(isAfter(10_001, 1, before), true);
      assert.equal(isAfter(10_000, 500, before), false);
    });
    it('compares times for events that an earlier boot logged', () => assert.equal(isAfter(4_000, 5_000), false));
  });
});
