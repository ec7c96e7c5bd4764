import assert from 'node:assert/strict';
import { processTerminate } from '../../../src/agent/collectors/process-terminate.ts';
import { blanked } from '../../../src/agent/pipeline/element-table.ts';
import type { ProcessEnded } from '../../../src/core/contract/streams.ts';
import { look, records } from './samples.ts';

const fromExits = (change: Partial<ProcessEnded> = {}) =>
  processTerminate.translate({ ...records.exits, ...change }, look);

const { signal: _, ...byItself } = records.exits;
const { executable: __, ...unknown } = records.exits;

describe('ProcessTerminate', () => {
  it('reports the program and the signal that killed it', () => {
    assert.deepEqual(fromExits(), {
      Executable: '/usr/bin/ls',
      ProcessId: 1445,
      ExitStatus: 137,
      ExtraDetails: { Signal: 'SIGKILL' },
    });
  });

  it('reports the exit status of a process that exited by itself', () => {
    assert.deepEqual(processTerminate.translate({ ...byItself, exitStatus: 7 }, look), {
      Executable: '/usr/bin/ls',
      ProcessId: 1445,
      ExitStatus: 7,
    });
  });

  it('reports a process whose start was not observed', () => {
    assert.equal(processTerminate.translate(unknown, look)?.Executable, 'unknown');
  });

  it('equals other exits of the program with the same status', () => {
    const { aggregate = assert.fail() } = processTerminate;
    assert.deepEqual(aggregate.by, ['Executable', 'ExitStatus']);
    const alike = { Executable: '/usr/bin/ls', ProcessId: 0, ExitStatus: 137 };
    assert.deepEqual(blanked(aggregate, fromExits() ?? {}).payload, alike);
    const exited = processTerminate.translate({ ...byItself, pid: 7 }, look);
    assert.deepEqual(blanked(aggregate, exited ?? {}).payload, alike);
  });
});
