import assert from 'node:assert/strict';
import { ownMemory, withoutFiles } from '../../../src/linux/self/own-memory.ts';

const MB = 1024 * 1024;

describe('The memory of this process', () => {
  it('grows by what is taken, and has no pages of the program in it', () => {
    const before = ownMemory();
    const ballast = Buffer.alloc(64 * MB, 1);
    const grown = ownMemory() - before;
    assert.ok(grown > 16 * MB, `${grown} bytes`);
    assert.equal(ballast[ballast.length - 1], 1);
    assert.ok(ownMemory() < process.memoryUsage.rss());
  });

  it('may be all that is resident when that is enough', () => {
    const most = 1024 * 1024 * MB;
    assert.ok(ownMemory(most) > ownMemory());
    assert.ok(ownMemory(MB) < process.memoryUsage.rss());
  });

  it('is what is resident without files', () => {
    assert.equal(
      withoutFiles('VmHWM:\t  9 kB\nVmRSS:\t   50000 kB\nRssAnon:\t 30000 kB\nRssFile:\t 20000 kB\n'),
      30_000 * 1024,
    );
    assert.equal(withoutFiles('VmRSS:\t1 kB\nRssFile:\t2 kB\n'), 0);
  });

  it('is not known where the kernel does not tell it', () => {
    for (const status of ['', 'VmRSS:\t50000 kB\n', 'RssFile:\t20000 kB\n', 'VmRSS: x kB\nRssFile: 1 kB\n'])
      assert.equal(withoutFiles(status), undefined);
  });
});
