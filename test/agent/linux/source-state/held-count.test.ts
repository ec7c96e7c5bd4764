import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HeldCount } from '../../../../src/agent/linux/source-state/held-count.ts';
import { NoteFile } from '../../../../src/agent/state/note-file.ts';
import type { StreamSink } from '../../../../src/core/contract/streams.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { quietLog } from '../../pipeline/memory-queues.ts';

describe('HeldCount', () => {
  let folder: string;
  let dropped: unknown[][];
  const sink = { accept() {}, drop: (...loss: unknown[]) => void dropped.push(loss) } as unknown as StreamSink;
  const path = () => join(folder, 'held-connections.json');
  /** A run that is never closed is as good as killed. */
  const run = () =>
    new HeldCount({ stream: 'connections', max: 1_024, sink, note: new NoteFile(path()), log: quietLog() });

  beforeEach(() => {
    folder = temporaryFolder();
    dropped = [];
  });

  it('is counted as killed by the next run, once', () => {
    const killed = run();
    killed.countKilled();
    killed.set(3);
    killed.set(2);
    const next = run();
    next.countKilled();
    next.countKilled();
    assert.deepEqual(dropped, [['connections', 'killed', 2]]);
    run().countKilled();
    assert.equal(dropped.length, 1);
  });

  it('is zero once all records were reported', () => {
    const killed = run();
    killed.set(3);
    killed.set(0);
    run().countKilled();
    assert.deepEqual(dropped, []);
  });

  it('is limited to the possible number, and zero if the file has other content', () => {
    for (const text of ['', 'x', 'null', '[]', '{"held":"many"}', '{"held":-1}', '{"held":1e300}']) {
      writeFileSync(path(), text);
      run().countKilled();
      assert.deepEqual(dropped, [], text);
    }
    writeFileSync(path(), '{"held":9000000}');
    run().countKilled();
    assert.deepEqual(dropped, [['connections', 'killed', 1_024]]);
    assert.deepEqual(JSON.parse(readFileSync(path(), 'utf8')), { held: 0 });
  });

  it('creates no file while no records wait', () => {
    const held = run();
    held.countKilled();
    held.set(0);
    assert.deepEqual(readdirSync(folder), []);
  });

  it('works without a writable file', () => {
    rmSync(folder, { recursive: true });
    const held = run();
    held.countKilled();
    held.set(1);
    assert.deepEqual(dropped, []);
  });
});
