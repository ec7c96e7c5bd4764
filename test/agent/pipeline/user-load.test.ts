import assert from 'node:assert/strict';
import { UserLoad } from '../../../src/agent/pipeline/user-load.ts';
import { milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';

describe('UserLoad', () => {
  let now: number;
  let load: UserLoad;
  const clock = { monotonic: () => milliseconds(now) };

  beforeEach(() => {
    now = 0;
    load = new UserLoad(clock);
  });

  it('finds the users who caused most, one after another', () => {
    load.count('UserId 2001', 50_000);
    load.count('UserId 2002', 100_000);
    load.count('UserId 33', 1_000);
    assert.equal(load.heaviest(new Set()), 'UserId 2002');
    assert.equal(load.heaviest(new Set(['UserId 2002'])), 'UserId 2001');
    assert.equal(load.heaviest(new Set(['UserId 2002', 'UserId 2001'])), undefined);
  });

  it('never names root, nor a user who caused less than a tenth', () => {
    load.count('UserId 0', 1_000_000);
    load.count(undefined, 1_000_000);
    load.count('UserId 33', 150_000);
    assert.equal(load.heaviest(new Set()), undefined);
  });

  it('drops a user who causes nothing for some minutes', () => {
    load.count('UserId 2001', 100_000);
    now = seconds(60);
    load.count('UserId 33', 50_000);
    assert.equal(load.heaviest(new Set()), 'UserId 33');
    now = minutes(10);
    assert.equal(load.heaviest(new Set()), undefined);
  });

  it('stays small with any number of users', () => {
    for (let n = 0; n < 100_000; n += 1) load.count(`ContainerId ${n}`, 10);
    load.count('UserId 2001', 10_000_000);
    assert.equal(load.heaviest(new Set()), 'UserId 2001');
  });
});
