import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { programDigest, readCodeCache, sealCodeCache, unsealCodeCache } from '../../../src/core/base/code-cache.ts';
import { temporaryFolder } from '../../harness/folders.ts';

const PROGRAM = programDigest('1 + 1');
const DATA = Buffer.from('compiled');
const US = process.geteuid?.() ?? -1;

describe('A code cache', () => {
  it('a sealed code cache is returned unchanged', () => {
    assert.deepEqual(unsealCodeCache(sealCodeCache(DATA, PROGRAM), PROGRAM), DATA);
  });

  it('a code cache is rejected if any byte was changed or cut off, or bytes were added', () => {
    const sealed = sealCodeCache(DATA, PROGRAM);
    for (const at of sealed.keys()) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      assert.equal(unsealCodeCache(changed, PROGRAM), undefined, `byte ${at}`);
      assert.equal(unsealCodeCache(sealed.subarray(0, at), PROGRAM), undefined, `the first ${at}`);
    }
    assert.equal(unsealCodeCache(Buffer.concat([sealed, DATA]), PROGRAM), undefined);
  });

  it('a code cache is rejected for another program', () => {
    assert.equal(unsealCodeCache(sealCodeCache(DATA, PROGRAM), programDigest('1 + 2')), undefined);
  });

  describe('in a file', () => {
    let file: string;
    beforeEach(() => {
      file = join(temporaryFolder(), 'program.cache');
      writeFileSync(file, sealCodeCache(DATA, PROGRAM), { mode: 0o644 });
      chmodSync(file, 0o644);
    });

    it("a code cache is accepted from the program's owner", () => {
      assert.deepEqual(readCodeCache(file, PROGRAM, US), DATA);
    });

    it('a code cache is rejected if it belongs to neither root nor the owner of the program', () => {
      if (US === 0) {
        assert.deepEqual(readCodeCache(file, PROGRAM, 1_000), DATA);
        chownSync(file, 1_000, 1_000);
        assert.equal(readCodeCache(file, PROGRAM, 1_001), undefined);
      } else assert.equal(readCodeCache(file, PROGRAM, US + 1), undefined);
    });

    for (const mode of [0o664, 0o646, 0o666]) {
      it(`a code cache is rejected if others can write to it, with mode ${mode.toString(8)}`, () => {
        chmodSync(file, mode);
        assert.equal(readCodeCache(file, PROGRAM, US), undefined);
      });
    }

    it('readCodeCache returns undefined if the file is missing or is a folder', () => {
      assert.equal(readCodeCache(`${file}.none`, PROGRAM, US), undefined);
      mkdirSync(`${file}.folder`);
      assert.equal(readCodeCache(`${file}.folder`, PROGRAM, US), undefined);
    });
  });
});
