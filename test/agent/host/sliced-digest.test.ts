import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { appendFileSync, fstatSync, openSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Allowance } from '../../../src/agent/host/hashing-time.ts';
import { SlicedDigest } from '../../../src/agent/host/sliced-digest.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds } from '../../../src/core/base/duration.ts';
import { temporaryFolder } from '../../harness/folders.ts';

const CONTENT = 'abcdefghij';
const buffer = Buffer.alloc(4);

describe('SlicedDigest', () => {
  let folder: string;
  let path: string;
  let file: number;
  /** Remaining time budget after each read, in milliseconds. */
  let left: number;

  const allowance: Allowance = {
    payer: 0,
    reserved: milliseconds(10),
    left: () => milliseconds(left),
    untilThereIs: () => milliseconds(0),
    pay: (since) => since,
  };

  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder, 'file');
    writeFileSync(path, CONTENT);
    file = openSync(path, 'r');
    left = 100;
  });

  const digest = () =>
    new SlicedDigest({ file, state: fstatSync(file, { bigint: true }), allowance, clock: systemClock });
  const isClosed = () => {
    try {
      fstatSync(file);
      return false;
    } catch {
      return true;
    }
  };

  it('returns the digest of the whole file, and closes it', async () => {
    const sha256 = createHash('sha256').update(CONTENT).digest('hex');
    assert.deepEqual(await digest().read(buffer), { sha256 });
    assert.ok(isClosed());
  });

  it('pauses between slices while only reserved time is left', async () => {
    const slices = digest();
    left = 9;
    for (let count = 0; count < 3; count += 1) assert.equal(await slices.read(buffer), undefined);
    assert.ok(!isClosed());
    const sha256 = createHash('sha256').update(CONTENT).digest('hex');
    assert.deepEqual(await slices.read(buffer), { sha256 });
  });

  it('returns undefined for a file that grows while it is read', async () => {
    const slices = digest();
    left = 9;
    await slices.read(buffer);
    appendFileSync(path, 'more and more');
    assert.equal(await slices.read(buffer), undefined);
    assert.equal(await slices.read(buffer), 'changed', 'read beyond the size that the file had');
    assert.ok(isClosed());
  });

  it('returns undefined for a file that is written while it is read', async () => {
    const slices = digest();
    left = 9;
    await slices.read(buffer);
    writeFileSync(path, 'ABCDEFGHIJ', { flag: 'r+' });
    utimesSync(path, 1, 1); // a write within one tick of the kernel's clock leaves the times as they are
    left = 100;
    assert.equal(await slices.read(buffer), 'changed');
  });

  it('returns undefined for an unreadable file', async () => {
    file = openSync(folder, 'r');
    assert.equal(await digest().read(buffer), 'unreadable');
    assert.ok(isClosed());
  });
});
