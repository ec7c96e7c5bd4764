import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import sinon from 'sinon';
import { isAlive, SlotWatch } from '../../../../src/agent/linux/audit/slot-watch.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';

describe('SlotWatch', () => {
  let clock: sinon.SinonFakeTimers;
  beforeEach(() => {
    clock = sinon.useFakeTimers();
  });
  afterEach(() => clock.restore());

  it('lets the agent take the slot if no other daemon was seen', () =>
    assert.equal(new SlotWatch(systemClock).mayTake(), true));

  it('waits until another daemon has been absent for half a minute', () => {
    const watch = new SlotWatch(systemClock);
    watch.seenOther();
    assert.equal(watch.mayTake(), false);
    clock.tick(29_000);
    assert.equal(watch.mayTake(), false);
    watch.seenOther();
    clock.tick(29_000);
    assert.equal(watch.mayTake(), false);
    clock.tick(1_000);
    assert.equal(watch.mayTake(), true);
  });
});

describe('isAlive', () => {
  it('returns true for a running process', () => assert.equal(isAlive(process.pid), true));
  it("returns true for another user's process", () => assert.equal(isAlive(1), true));
  it('returns false for a process that exited', () => assert.equal(isAlive(spawnSync('/bin/true').pid), false));
});
