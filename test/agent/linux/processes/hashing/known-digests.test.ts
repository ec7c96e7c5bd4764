import assert from 'node:assert/strict';
import { ROOT } from '../../../../../src/agent/host/hashing-time.ts';
import { digestOf, type Known, KnownDigests } from '../../../../../src/agent/linux/processes/hashing/known-digests.ts';
import { milliseconds } from '../../../../../src/core/base/duration.ts';

describe('KnownDigests', () => {
  let digests: KnownDigests;

  beforeEach(() => {
    digests = new KnownDigests();
  });

  const put = (key: string, payer = ROOT, used = true): Known => {
    const known: Known = {
      file: { dev: 1n, ino: 1n, ctimeNs: 0n, mtimeNs: 0n, size: 1n },
      changedAt: 0,
      program: key,
      payer,
      digest: digestOf('0'),
      hashedAt: 0,
      seen: { wall: 0, monotonic: milliseconds(0) },
      used,
    };
    digests.put(key, known);
    return known;
  };
  const known = (keys: readonly string[]) => keys.filter((key) => digests.get(key) !== undefined).length;
  const names = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);

  it('keeps 1,024 files, preferably those requested again', () => {
    const often = put('often', ROOT, false);
    for (const name of names('r', 1_023)) put(name, ROOT, false);
    assert.equal(known(['often', ...names('r', 1_023)]), 1_024);
    often.used = true;
    put('one more', ROOT, false);
    assert.equal(known(['often', 'one more', 'r0']), 2);
    assert.equal(known(names('r', 1_023)), 1_022);
  });

  it('keeps 256 entries of a user other than root, who evicts only their own for more', () => {
    const roots = names('r', 400);
    const alices = names('a', 100);
    const mallorys = names('m', 3_000);
    for (const name of roots) put(name, ROOT, false);
    for (const name of alices) put(name, 1_001, false);
    for (const name of mallorys) put(name, 1_000);
    assert.deepEqual([known(roots), known(alices), known(mallorys)], [400, 100, 256]);
  });

  it('counts entries correctly that are stored again, replaced and deleted', () => {
    const one = put('m0', 1_000);
    digests.put('m0', one);
    put('m0', 1_001);
    digests.delete('m0');
    digests.delete('m0');
    for (const name of names('m', 256)) put(name, 1_000);
    assert.equal(known(names('m', 256)), 256);
    put('m256', 1_000);
    assert.equal(known(names('m', 257)), 256);
  });
});
