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

  it('writeFileAtomic writes a file that only its owner may read, and leaves no other file in the folder', () => {
    writeFileAtomic(file, 'text é\n');
    assert.equal(readFileSync(file, 'utf8'), 'text é\n');
    assert.equal(mode(), 0o600);
    assert.deepEqual(readdirSync(folder), ['file']);
  });

  it('writeFileAtomic creates the file with the given mode', () => {
    writeFileAtomic(file, '', 0o640);
    assert.equal(mode(), 0o640);
  });

  it('writeFileAtomic replaces a longer file', () => {
    writeFileAtomic(file, 'a long text');
    writeFileAtomic(file, 'short');
    assert.equal(readFileSync(file, 'utf8'), 'short');
  });

  it('writeFileAtomic makes the new file private even if the old file and a leftover of a crash were not', () => {
    for (const name of [file, `${file}.new`]) {
      writeFileSync(name, 'old');
      chmodSync(name, 0o666);
    }
    writeFileAtomic(file, 'secret');
    assert.equal(mode(), 0o600);
    assert.equal(readFileSync(file, 'utf8'), 'secret');
  });

  it('writeFileAtomic leaves the old file unchanged if the new one cannot be created', () => {
    writeFileAtomic(file, 'old');
    mkdirSync(`${file}.new`);
    assert.throws(() => writeFileAtomic(file, 'new'));
    assert.equal(readFileSync(file, 'utf8'), 'old');
  });

  it('writeFileAtomic keeps the old file and no other if the new one can only be written in part', () => {
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

  it('writeFileAtomic throws ENOENT if the folder does not exist', () => {
    assert.throws(() => writeFileAtomic(join(folder, 'none', 'file'), ''), { code: 'ENOENT' });
  });
});

describe('readFileIfThere', () => {
  it('readFileIfThere reads a file', () => assert.match(readFileIfThere('package.json') ?? '', /"vakt"/));
  it('readFileIfThere returns undefined if the file does not exist', () =>
    assert.equal(readFileIfThere('/nowhere/at/all'), undefined));
  it('readFileIfThere throws any other error', () => assert.throws(() => readFileIfThere('/'), { code: 'EISDIR' }));
});
