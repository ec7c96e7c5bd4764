import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { WaitingList } from '../../../src/agent/detections/waiting-list.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { subject } from './rules.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const MAX_WAITING_CHARACTERS = 8 * 1_024 * 1_024;
const by = (UserId: string, length = 0, more = {}) => ({
  subject: subject({ UserId, CommandLine: 'x'.repeat(length), ...more }),
});
const fill = (list: WaitingList<ReturnType<typeof by>>, of: ReturnType<typeof by>) => {
  let count = 0;
  while (list.add(of)) count += 1;
  return count;
};

describe('WaitingList', () => {
  let list: WaitingList<ReturnType<typeof by>>;

  beforeEach(() => {
    list = new WaitingList();
  });

  it('returns events in the order in which they were added', () => {
    const all = Array.from({ length: 3_000 }, (_, n) => by(String(n % 3)));
    for (const each of all) assert.ok(list.add(each));
    assert.deepEqual(
      all.map(() => list.take()),
      all,
    );
    assert.ok(list.isEmpty);
    assert.equal(list.take(), undefined);
  });

  it('releases the events that were taken', async () => {
    const last = () => new WeakRef(list.take() ?? by('none'));
    for (const user of ['1000', '0']) list.add(by(user));
    const taken = last();
    await nextTurn();
    collectGarbage();
    assert.equal(taken.deref(), undefined);
    assert.equal(list.isEmpty, false);
  });

  it('accepts 4 M characters of one user, and then has space for others', () => {
    assert.equal(fill(list, by('1000')), 4_096);
    assert.equal(fill(list, by('0')), 2_048);
    assert.ok(list.add(by('1')));
  });

  it('counts long arguments by their length', () => {
    assert.equal(fill(list, by('1000', 131_072)), 32);
  });

  it('attributes programs that run as another user to the login user', () => {
    fill(list, by('1000', 0, { LoginUserId: '1000' }));
    assert.equal(list.add(by('0', 0, { LoginUserId: '1000' })), false);
    assert.ok(list.add(by('0')));
  });

  it("counts all users of containers together, separately from the host's", () => {
    assert.equal(fill(list, by('33', 0, { ContainerId: '0' })), 4_096);
    assert.equal(list.add(by('70000', 0, { ContainerId: '1' })), false);
    assert.equal(fill(list, by('33')), 2_048);
  });

  it('frees the space of taken events', () => {
    fill(list, by('1000'));
    for (let n = 0; n < 10; n += 1) list.take();
    assert.equal(fill(list, by('1000')), 10);
  });

  it('never exceeds 8 M characters with any users', () => {
    const step = fc.record({
      user: fc.integer({ min: 0, max: 99 }),
      length: fc.constantFrom(0, 5_000, 131_072),
      takes: fc.integer({ min: 0, max: 2 }),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 200, maxLength: 400 }), (steps) => {
        const all = new WaitingList<ReturnType<typeof by>>();
        const sizes: number[] = [];
        for (const { user, length, takes } of steps) {
          const added = by(String(user), length);
          if (all.add(added)) sizes.push(Math.max(1_024, length));
          for (let n = 0; n < takes; n += 1) if (all.take() !== undefined) sizes.shift();
          assert.ok(sizes.reduce((sum, size) => sum + size, 0) <= MAX_WAITING_CHARACTERS);
        }
        assert.equal(all.isEmpty, sizes.length === 0);
      }),
      { numRuns: 20 },
    );
  });
});
