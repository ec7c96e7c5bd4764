import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { ProcFolder } from '../../../../../src/agent/host/proc-folder.ts';
import { afterLeaderExit } from '../../../../../src/agent/linux/processes/connector/exit-status.ts';
import { seconds } from '../../../../../src/core/base/duration.ts';
import { FakeProc } from '../fake-proc.ts';

describe('afterLeaderExit', () => {
  let proc: FakeProc;
  const result = () => afterLeaderExit(7, seconds(1), new ProcFolder(proc.path));

  beforeEach(() => {
    proc = new FakeProc();
  });
  afterEach(() => proc.close());

  it('returns nothing for a process that was removed or waits for its parent', () => {
    assert.equal(result(), 'nothing');
    proc.add(7, { state: 'Z' });
    assert.equal(result(), 'nothing');
  });

  it('returns nothing if another process has its pid', () => {
    proc.add(7, { start: 99_950 });
    assert.equal(result(), 'nothing');
  });

  it('returns the process if another thread has executed a program', () => {
    proc.add(7);
    assert.equal(result(), 'process');
  });

  it('returns threads without listing them: there can be thousands, and it is called every second', () => {
    const threads = Array.from({ length: 4_000 }, (_, index) => 7 + index);
    proc.add(7, { state: 'Z', threads });
    assert.deepEqual(readdirSync(`${proc.path}/7/task`), ['7']);
    assert.equal(result(), 'threads');
  });
});
