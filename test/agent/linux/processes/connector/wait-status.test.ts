import assert from 'node:assert/strict';
import fc from 'fast-check';
import { readWaitStatus } from '../../../../../src/agent/linux/processes/connector/exit-status.ts';

describe('readWaitStatus', () => {
  for (const [word, exitStatus, signal] of [
    [0, 0, undefined],
    [7 << 8, 7, undefined],
    [255 << 8, 255, undefined],
    [137 << 8, 137, undefined],
    [9, 137, 'SIGKILL'],
    [11, 139, 'SIGSEGV'],
    [0x80 | 11, 139, 'SIGSEGV'], // and dumped core
    [6, 134, 'SIGABRT'],
    [15, 143, 'SIGTERM'],
    [29, 157, 'SIGIO'],
    [31, 159, 'SIGSYS'],
    [32, 160, 'SIG32'],
    [33, 161, 'SIG33'],
    [34, 162, 'SIGRTMIN'],
    [40, 168, 'SIGRTMIN+6'],
    [64, 192, 'SIGRTMIN+30'],
  ] as const) {
    it(`reads 0x${word.toString(16)} as ${signal ?? `exit(${exitStatus})`}`, () => {
      assert.deepEqual(readWaitStatus(word), { exitStatus, ...(signal === undefined ? {} : { signal }) });
    });
  }

  it('accepts any word', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (word) => {
        const { exitStatus, signal } = readWaitStatus(word);
        assert.ok(Number.isInteger(exitStatus) && exitStatus >= 0 && exitStatus <= 255);
        assert.ok(signal === undefined || exitStatus > 128);
      }),
    );
  });
});
