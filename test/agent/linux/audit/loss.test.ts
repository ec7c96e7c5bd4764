import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LossMeter } from '../../../../src/agent/linux/audit/loss.ts';
import { milliseconds, seconds } from '../../../../src/core/base/duration.ts';
import { fuzzRuns } from '../../../fuzz.ts';

describe('LossMeter', () => {
  let meter: LossMeter;
  let now: number;

  beforeEach(() => {
    meter = new LossMeter();
    now = 0;
    meter.setKernelLost(5, 0); // losses from before the start do not count
  });

  const see = (...serials: number[]) => {
    for (const serial of serials) meter.see(serial);
  };
  const take = () => meter.take(milliseconds(now));
  const settle = () => {
    const before = take();
    now += seconds(2);
    return before + take();
  };
  const end = () => meter.take(milliseconds(now), true);

  it('counts nothing when no serial is missing', () => {
    see(10, 11, 12, 13);
    assert.equal(settle(), 0);
    assert.equal(end(), 0);
  });

  it('counts missing serials once they have had time to arrive', () => {
    see(10, 13);
    assert.equal(take(), 0);
    now = seconds(1.9);
    assert.equal(take(), 0);
    now = seconds(2);
    assert.equal(take(), 2);
    now = seconds(9);
    assert.equal(take(), 0);
  });

  it('waits for missing serials even if many later serials arrive', () => {
    see(10, 13, 14, 15, 20);
    assert.equal(take(), 0);
    see(11, 12, 16, 17);
    now = seconds(2);
    assert.equal(take(), 2); // 18 and 19
  });

  it('returns the time up to which losses are settled', () => {
    see(10, 13);
    take();
    assert.equal(meter.settledAt, undefined);
    now = seconds(2);
    take();
    assert.equal(meter.settledAt, 0);
    now = seconds(3);
    take();
    assert.equal(meter.settledAt, 0);
    now = seconds(4);
    take();
    assert.equal(meter.settledAt, seconds(2));
  });

  it('does not count serials that arrive out of order', () => {
    see(10, 13, 11, 12, 15);
    take();
    see(14);
    assert.equal(settle(), 0);
  });

  it('subtracts serials that arrive after they were counted as missing', () => {
    see(10, 13);
    assert.equal(settle(), 2);
    see(11);
    see(15);
    assert.equal(end(), 0); // 14 is missing, 11 was not
    see(17);
    assert.equal(end(), 1);
  });

  it('ignores repeated serials', () => {
    see(10, 13);
    assert.equal(settle(), 2);
    see(10, 13, 13);
    see(15);
    assert.equal(end(), 1);
  });

  it('ignores serials that are older than its window, such as those of another boot', () => {
    see(100_000, 100_010);
    see(100_005 - 65_536);
    assert.equal(end(), 9);
  });

  it('does not count serials that were assigned before it listened, if the first record came from the kernel', () => {
    meter = new LossMeter({ beganLive: true });
    assert.equal(meter.isFromBeginning(10), false);
    see(10, 80);
    assert.equal(meter.isFromBeginning(74), true);
    assert.equal(meter.isFromBeginning(75), false);
    assert.equal(end(), 5); // 75 to 79
  });

  it('ignores serials from before its first one', () => {
    see(10, 9, 8, 11);
    assert.equal(settle(), 0);
  });

  it('counts missing serials across the wrap', () => {
    see(4_294_967_294, 1);
    assert.equal(settle(), 2); // 4294967295 and 0
    see(0, 2);
    assert.equal(settle(), 0);
  });

  it('counts missing serials beyond the size of its window', () => {
    see(1, 1_000_000);
    assert.equal(end(), 999_998);
    see(1_000_001, 1_000_003);
    assert.equal(end(), 1);
  });

  it('counts correctly for any number of serials between two settlements', () => {
    for (let serial = 0; serial <= 300_000; serial += 3) meter.see(serial);
    assert.equal(end(), 200_000);
  });

  it('adds losses that never got a serial', () => {
    meter.setKernelLost(12, 0);
    assert.equal(take(), 7);
    meter.setKernelLost(12, 0);
    assert.equal(take(), 0);
  });

  it('does not count a lost record whose event arrived anyway', () => {
    meter.setKernelLost(8, 2);
    assert.equal(take(), 1);
    meter.setKernelLost(9, 2);
    assert.equal(take(), 1);
  });

  it("keeps counting after another process resets the kernel's counter", () => {
    meter.setKernelLost(0, 0);
    meter.setKernelLost(2, 0);
    assert.equal(take(), 2);
  });

  it('counts correctly for any loss in any order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 40 })), { minLength: 2, maxLength: 300 }),
        fc.integer({ min: 0, max: 0xffff_ffff }),
        (plan, first) => {
          meter = new LossMeter();
          const serials = plan.map(([lost, delay], index) => ({
            serial: (first + index) >>> 0,
            lost,
            at: index + delay,
          }));
          const [head, ...rest] = serials;
          const came = rest.filter(({ lost }) => !lost).sort((a, b) => a.at - b.at);
          const highest = came.reduce((most, { serial }) => Math.max(most, (serial - first) >>> 0), 0);
          meter.see(head?.serial ?? 0);
          for (const { serial } of came) meter.see(serial);
          assert.equal(meter.take(milliseconds(0), true), highest - came.length);
        },
      ),
      { numRuns: fuzzRuns(100_000) },
    );
  });

  it('ignores serials from before it started, in any order', () => {
    const meter = new LossMeter({ before: 4_294_967_295 });
    for (const serial of [4_294_967_290, 4_294_967_293, 1, 3]) meter.see(serial);
    assert.equal(meter.take(seconds(10), true), 2);
  });
});
