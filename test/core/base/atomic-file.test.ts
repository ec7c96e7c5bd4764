import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readFileIfThere, writeFileAtomic } from '../../../src/core/base/atomic-file.ts';
import { temporaryFolder } from '../../harness/folders.ts';

describe('writeFileAtomic', () => {
  let folder: string;
  let file: string;

  beforeEach(() => {
    folder = temporaryFolder();
    file = join(folder, 'file');
  });

  const mode = () => statSync(file).mode & 0o777;

  it('writes a file that only its owner may read, and leaves nothing beside it', () => {
    writeFileAtomic(file, 'text é\n');
    assert.equal(readFileSync(file, 'utf8'), 'text é\n');
    assert.equal(mode(), 0o600);
    assert.deepEqual(readdirSync(folder), ['file']);
  });

  it('gives the mode it is told', () => {
    writeFileAtomic(file, '', 0o640);
    assert.equal(mode(), 0o640);
  });

  it('replaces a longer file', () => {
    writeFileAtomic(file, 'a long text');
    writeFileAtomic(file, 'short');
    assert.equal(readFileSync(file, 'utf8'), 'short');
  });

  it('makes the new file private although an old one, or one that a crash left beside it, was not', () => {
    for (const name of [file, `${file}.new`]) {
      writeFileSync(name, 'old');
      chmodSync(name, 0o666);
    }
    writeFileAtomic(file, 'secret');
    assert.equal(mode(), 0o600);
    assert.equal(readFileSync(file, 'utf8'), 'secret');
  });

  it('leaves the old file as it was when the new one cannot be made', () => {
    writeFileAtomic(file, 'old');
    mkdirSync(`${file}.new`);
    assert.throws(() => writeFileAtomic(file, 'new'));
    assert.equal(readFileSync(file, 'utf8'), 'old');
  });

  it('leaves the old file as it was, and nothing beside it, when there is room for a part of the new one only', () => {
    writeFileAtomic(file, 'old');
    const module = new URL('../../../src/core/base/atomic-file.js', import.meta.url).href;
    const write = `
      const { writeFileAtomic } = await import(${JSON.stringify(module)});
      process.on('SIGXFSZ', () => {});
      try { writeFileAtomic(${JSON.stringify(file)}, 'x'.repeat(100_000)); } catch (error) { console.log(error.code); }`;
    const limited = 'ulimit -f 16; exec "$0" --input-type=module --eval "$1"'; // in units of 512 or 1024 bytes
    const { stdout } = spawnSync('/bin/sh', ['-c', limited, process.execPath, write], { encoding: 'utf8' });
    assert.equal(stdout, 'EFBIG\n');
    assert.equal(readFileSync(file, 'utf8'), 'old');
    assert.deepEqual(readdirSync(folder), ['file']);
  });

  it('says so when there is no such folder', () => {
    assert.throws(() => writeFileAtomic(join(folder, 'none', 'file'), ''), { code: 'ENOENT' });
  });
});

describe('readFileIfThere', () => {
  it('reads a file', () => assert.match(readFileIfThere('package.json') ?? '', /"vakt"/));
  it('is undefined without one', () => assert.equal(readFileIfThere('/nowhere/at/all'), undefined));
  it('throws what else goes wrong', () => assert.throws(() => readFileIfThere('/'), { code: 'EISDIR' }));
});
