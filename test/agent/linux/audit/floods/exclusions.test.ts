import assert from 'node:assert/strict';
import { Exclusions } from '../../../../../src/agent/linux/audit/exclusions.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../../../../src/core/base/duration.ts';

const load = (owner: number, ofStarts: number, records = ofStarts) => ({ owner, records, ofStarts });

describe('Exclusions of users who flood audit', () => {
  let exclusions: Exclusions;
  let now: Duration;

  beforeEach(() => {
    exclusions = new Exclusions();
    now = milliseconds(1_000_000);
  });

  const look = (
    owners: readonly ReturnType<typeof load>[],
    { isHigh = true, excludedRate = 1_000 }: { isHigh?: boolean; excludedRate?: number } = {},
  ) => exclusions.look(now, { isHigh, owners, excludedRate }).map(({ owner }) => owner);
  const pass = (time: Duration) => {
    now = milliseconds(now + time);
  };

  it('excludes the user who starts most programs while events are lost', () => {
    assert.deepEqual(look([load(2_001, 3_000), load(2_002, 20), load(0, 40)]), [2_001]);
    assert.deepEqual(exclusions.owners, [2_001]);
  });

  it('excludes no user while no event is lost', () => {
    assert.deepEqual(look([load(2_001, 3_000)], { isHigh: false }), []);
  });

  it('never excludes root', () => assert.deepEqual(look([load(0, 3_000), load(2_001, 20)]), []));

  it('excludes no user whose records are not of starts', () => {
    assert.deepEqual(look([load(2_001, 10, 3_000)]), []);
  });

  it('excludes several users who flood together, and not a user who starts few programs', () => {
    assert.deepEqual(look([load(2_001, 900), load(2_002, 800), load(2_003, 40)]), [2_001, 2_002]);
    assert.deepEqual(look([load(2_001, 900), load(2_003, 40)]), []);
  });

  it('ends an exclusion after a minute', () => {
    look([load(2_001, 3_000)]);
    pass(seconds(59));
    look([]);
    assert.deepEqual(exclusions.owners, [2_001]);
    pass(seconds(2));
    look([]);
    assert.deepEqual(exclusions.owners, []);
  });

  it('ends an exclusion soon after the flood', () => {
    look([load(2_001, 3_000)]);
    pass(seconds(11));
    look([], { excludedRate: 5 });
    assert.deepEqual(exclusions.owners, []);
  });

  it('doubles an exclusion each time when the losses return, up to eight minutes', () => {
    for (const expected of [1, 2, 4, 8, 8]) {
      look([load(2_001, 3_000)]);
      assert.equal(exclusions.endOf(2_001), now + minutes(expected));
      pass(minutes(expected));
      look([]);
      pass(seconds(1));
    }
  });

  it('starts with a minute again if the last exclusion is long past', () => {
    look([load(2_001, 3_000)]);
    pass(minutes(20));
    look([]);
    look([load(2_001, 3_000)]);
    assert.equal(exclusions.endOf(2_001), now + minutes(1));
  });
});
