import assert from 'node:assert/strict';
import type { Clock } from '../../src/core/base/clock.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';
import { type Fault, Faults } from '../../src/emulator/faults.ts';

describe('faults', () => {
  let now = 0;
  const clock: Clock = { ...systemClock, monotonic: () => milliseconds(now) };
  let faults: Faults;
  beforeEach(() => {
    now = 0;
    faults = new Faults(clock);
  });

  for (const status of [0, 99, 199, 600, 1000, 200.5, '500', null]) {
    it(`rejects the status ${JSON.stringify(status)}`, () => {
      const fault = { kind: 'restStatus', status } as unknown as Fault;
      assert.throws(() => faults.inject(fault), RangeError);
    });
  }

  it('strike until cleared', () => {
    faults.inject({ kind: 'twinSilence' });
    assert.ok(faults.trigger('twinSilence'));
    assert.ok(faults.trigger('twinSilence'));
    assert.deepEqual(faults.active(), [{ kind: 'twinSilence', hits: 2 }]);
    faults.clear('twinSilence');
    assert.equal(faults.trigger('twinSilence'), undefined);
  });

  it('apply as often as count says', () => {
    faults.inject({ kind: 'ignoreMessages', count: 2 });
    const struck = [1, 2, 3].map(() => faults.trigger('ignoreMessages') !== undefined);
    assert.deepEqual(struck, [true, true, false]);
    assert.deepEqual(faults.active(), []);
  });

  it('apply for the given duration', () => {
    faults.inject({ kind: 'ignoreMessages', durationMs: 100 });
    now = 99;
    assert.ok(faults.trigger('ignoreMessages'));
    now = 100;
    assert.equal(faults.trigger('ignoreMessages'), undefined);
  });

  it('strike only where they apply, and count only that', () => {
    faults.inject({ kind: 'closeOnText', text: 'a', count: 1 });
    const at = (text: string) => faults.trigger('closeOnText', (fault) => text.includes(fault.text ?? ''));
    assert.equal(at('b'), undefined);
    assert.ok(at('a'));
    assert.equal(at('a'), undefined);
    assert.throws(() => faults.inject({ kind: 'closeOnText' }), /"text"/);
  });

  it('returns no fault if none was injected', () => {
    faults.inject({ kind: 'ignoreMessages' });
    assert.equal(faults.trigger('twinSilence'), undefined);
  });

  it('take the place of an older one of their kind', () => {
    faults.inject({ kind: 'twinStatus', status: 429, count: 1 });
    faults.inject({ kind: 'twinStatus', status: 500 });
    assert.equal(faults.trigger('twinStatus')?.status, 500);
    assert.equal(faults.active().length, 1);
  });
});
