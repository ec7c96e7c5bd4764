import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownMemory, withoutFiles } from '../../../../src/agent/linux/self/own-memory.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { require } from '../../../harness/require.ts';

const MB = 1024 * 1024;
const noMappings = () => '';
/** As the kernel writes it for a program on a tmpfs, with 8 MB of anonymous shared memory. */
const STATUS = 'VmRSS:\t  120000 kB\nRssAnon:\t   60000 kB\nRssFile:\t    2000 kB\nRssShmem:\t   58000 kB\n';
const mapping = (line: string, rss: number, anonymous: number) =>
  `${line}\nSize:            90000 kB\nRss:             ${rss} kB\nPss:  9 kB\nAnonymous:        ${anonymous} kB\nVmFlags: rd mr\n`;
const SMAPS = [
  mapping('00400000-05800000 r-xp 00000000 00:2a 12                        /usr/bin/node', 50_000, 0),
  mapping('05800000-05a00000 rw-p 05400000 00:2a 12                        /usr/bin/node', 3_000, 3_000),
  mapping('05a00000-05b00000 rw-p 00000000 00:00 0 ', 4_000, 4_000),
  mapping('7f0000000000-7f0000800000 rw-s 00000000 00:01 77                /memfd:shared (deleted)', 8_000, 0),
  mapping('7f1000000000-7f1000200000 r--p 00000000 08:01 34                /lib/libc.so.6', 2_000, 0),
].join('');

describe('ownMemory', () => {
  it('grows with allocations, and excludes pages of the program', () => {
    const before = ownMemory();
    const ballast = Buffer.alloc(64 * MB, 1);
    const grown = ownMemory() - before;
    assert.ok(grown > 16 * MB, `${grown} bytes`);
    assert.equal(ballast[ballast.length - 1], 1);
    assert.ok(ownMemory() < process.memoryUsage.rss());
  });

  it('returns all resident memory if that is sufficient', () => {
    const most = 1024 * 1024 * MB;
    assert.ok(ownMemory(most) > ownMemory());
    assert.ok(ownMemory(MB) < process.memoryUsage.rss());
  });

  it('returns resident memory without files', () => {
    assert.equal(
      withoutFiles('VmHWM:\t  9 kB\nVmRSS:\t   50000 kB\nRssAnon:\t 30000 kB\nRssFile:\t 20000 kB\n', noMappings),
      30_000 * 1024,
    );
    assert.equal(withoutFiles('VmRSS:\t1 kB\nRssFile:\t2 kB\n', noMappings), 0);
  });

  it('excludes program files on a tmpfs, and includes shared memory', () => {
    assert.equal(
      withoutFiles(STATUS, () => SMAPS),
      (60_000 + 8_000) * 1024,
    );
  });

  it('reads the mappings again only when shared memory has changed', () => {
    let reads = 0;
    const mappings = () => {
      reads += 1;
      return SMAPS;
    };
    withoutFiles(STATUS.replace('58000', '70000'), mappings);
    withoutFiles(STATUS.replace('58000', '70100'), mappings);
    assert.equal(reads, 1);
    withoutFiles(STATUS.replace('58000', '90000'), mappings);
    assert.equal(reads, 2);
  });

  it('excludes the program if Node itself is on a tmpfs', function () {
    this.timeout(60_000);
    const folder = temporaryFolder();
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=200m', 'tmpfs', folder], { stdio: 'ignore' });
    } catch {
      require(this, 'mounting a tmpfs is not allowed');
    }
    try {
      copyFileSync(process.execPath, join(folder, 'node'));
      const { href } = new URL('../../../../src/agent/linux/self/own-memory.js', import.meta.url);
      const program = `import { ownMemory } from '${href}'; console.log(ownMemory());`;
      const run = (node: string) =>
        Number(execFileSync(node, ['--input-type=module', '-e', program], { encoding: 'utf8' }));
      const [usual, onTmpfs] = [run(process.execPath), run(join(folder, 'node'))];
      assert.ok(onTmpfs < usual + 8 * MB, `${Math.round(onTmpfs / MB)} MB instead of ${Math.round(usual / MB)} MB`);
    } finally {
      execFileSync('umount', ['-l', folder]);
    }
  });

  it('returns undefined if the kernel does not report it', () => {
    for (const status of ['', 'VmRSS:\t50000 kB\n', 'RssFile:\t20000 kB\n', 'VmRSS: x kB\nRssFile: 1 kB\n'])
      assert.equal(withoutFiles(status, noMappings), undefined);
  });
});
