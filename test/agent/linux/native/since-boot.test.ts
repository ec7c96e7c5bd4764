import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import sinon from 'sinon';
import { sinceBoot, systemCalls } from '../../../../src/agent/linux/native/system-calls.ts';

describe('sinceBoot', () => {
  afterEach(() => sinon.restore());

  /** As the C library writes a `struct timespec`. */
  const kernelSays = (...words: readonly number[]) =>
    sinon.stub(systemCalls(), 'clockGettime').callsFake((_clock, into) => {
      words.forEach((word, index) => {
        into.writeUInt32LE(word, 4 * index);
      });
      return 0;
    });

  it("returns the kernel's value, not the uptime that a container may replace", () => {
    const shown = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0]) * 1_000;
    const uptime = sinon.stub(os, 'uptime').returns(0);
    const first = sinceBoot() ?? Number.NaN;
    assert.ok(Math.abs(first - shown) < 2_000, `${first} ms, ${shown} ms in /proc/uptime`);
    assert.ok((sinceBoot() ?? 0) > first, 'in parts of a millisecond');
    assert.equal(uptime.callCount, 0);
  });

  it('reads numbers of 32 and 64 bits', () => {
    for (const words of [
      [90, 250_000_000],
      [90, 0, 250_000_000, 0],
    ]) {
      kernelSays(...words);
      assert.equal(sinceBoot(), 90_250);
      sinon.restore();
    }
  });

  it('returns undefined if the call is refused', () => {
    sinon.stub(systemCalls(), 'clockGettime').returns(-1);
    assert.equal(sinceBoot(), undefined);
  });
});
