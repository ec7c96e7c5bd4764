import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FallbackFiles } from '../../../src/agent/pipeline/fallback-files.ts';
import { SimulatedFiles, seeded, systemError } from './simulated-files.ts';

describe('FallbackFiles', () => {
  let disk: SimulatedFiles;
  let files: FallbackFiles;

  beforeEach(() => {
    disk = new SimulatedFiles(seeded(1));
    files = new FallbackFiles(disk);
  });

  const read = (path: string, offset = 0, bytes = 1_000_000) => {
    const into = Buffer.alloc(bytes);
    return into.subarray(0, files.read(path, offset, into));
  };
  const refuse = () => files.refuse(systemError('EROFS'));

  it('uses the disk while it accepts files', () => {
    files.create('/f').append(Buffer.from('here'));
    assert.equal(disk.files.get('/f')?.data.toString(), 'here');
    assert.equal(read('/f').toString(), 'here');
    files.remove('/f');
    assert.equal(disk.files.size, 0);
  });

  it('keeps files like a disk, and moves them unchanged', () => {
    const step = fc.record({ append: fc.uint8Array({ maxLength: 40_000 }), truncate: fc.option(fc.double({ min: 0, max: 1, noNaN: true })) }); // biome-ignore format: one thing
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), fc.nat(60_000), fc.nat(60_000), (steps, from, length) => {
        refuse();
        const file = files.create('/f');
        let expected = Buffer.alloc(0);
        for (const { append, truncate } of steps) {
          file.append(Buffer.from(append));
          expected = Buffer.concat([expected, append]);
          if (truncate === null) continue;
          expected = expected.subarray(0, Math.floor(truncate * expected.length));
          file.truncate(expected.length);
        }
        assert.ok(read('/f').equals(expected));
        assert.ok(read('/f', from, length).equals(expected.subarray(from, from + length)));
        assert.equal(disk.files.size, 0);
        files.move('/f').append(Buffer.from('more'));
        files.accept();
        assert.ok(read('/f').equals(Buffer.concat([expected, Buffer.from('more')])));
        files.remove('/f');
      }),
    );
  });

  it('reuses the memory of a removed file without exposing its contents', () => {
    refuse();
    files.create('/a').append(Buffer.from('secret'));
    files.remove('/a');
    files.create('/b').append(Buffer.from('!'));
    assert.equal(read('/b').toString(), '!');
    assert.throws(() => read('/a'), { code: 'ENOENT' });
  });

  it('keeps a file that could not be moved, closes its copy and leaves no part of it on the disk', () => {
    refuse();
    files.create('/f').append(Buffer.alloc(50_000, 7));
    disk.capacity = 20_000;
    let removes = 0;
    disk.fault = (operation) => (operation === 'remove' && removes++ < 1 ? 'EIO' : undefined);
    assert.throws(() => files.move('/f'), { code: 'ENOSPC' });
    assert.deepEqual([read('/f').length, disk.open.size], [50_000, 0]);
    disk.capacity = Number.POSITIVE_INFINITY;
    files.remove('/f');
    files.accept();
    assert.equal(disk.files.size, 0);
  });
});
