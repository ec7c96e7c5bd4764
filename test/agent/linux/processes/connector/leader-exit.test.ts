import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { ProcFolder } from '../../../../../src/agent/host/proc-folder.ts';
import { afterLeaderExit } from '../../../../../src/agent/linux/processes/connector/leader-exit.ts';
import { seconds } from '../../../../../src/core/base/duration.ts';
import { FakeProc } from '../fake-proc.ts';

describe('what remains of a process whose first thread has ended', () => {
  let proc: FakeProc;
  const remains = () => afterLeaderExit(7, seconds(1), new ProcFolder(proc.path));

  beforeEach(() => {
    proc = new FakeProc();
  });
  afterEach(() => proc.close());

  it('is nothing when it is gone, or waits for its parent', () => {
    assert.equal(remains(), 'nothing');
    proc.add(7, { state: 'Z' });
    assert.equal(remains(), 'nothing');
  });

  it('is nothing when another process has its pid', () => {
    proc.add(7, { start: 99_950 });
    assert.equal(remains(), 'nothing');
  });

  it('is the process when another thread has executed a program', () => {
    proc.add(7);
    assert.equal(remains(), 'process');
  });

  it('are threads, and it does not list them: there can be thousands, and it is asked once a second', () => {
    const threads = Array.from({ length: 4_000 }, (_, index) => 7 + index);
    proc.add(7, { state: 'Z', threads });
    assert.deepEqual(readdirSync(`${proc.path}/7/task`), ['7']);
    assert.equal(remains(), 'threads');
  });
});
