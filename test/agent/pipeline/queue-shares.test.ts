import assert from 'node:assert/strict';
import type { QueueName } from '../../../src/core/contract/event.ts';
import { assertClosed, contents, event, type Fixture, fixture, jsonOf } from './queue-fixture.ts';
import { SimulatedFiles, seeded } from './simulated-files.ts';

const LIMIT = 400_000;
const BYTES = 1_000;

describe("a user's share of a queue", () => {
  let files: SimulatedFiles;
  let now: Fixture;

  const open = async () => {
    now = fixture(files, '/q', LIMIT);
    await now.queues.start();
  };
  const put = (owner: string | undefined, count: number, queue: QueueName = 'Low') => {
    const put = Array.from({ length: count }, () => ({ ...event(BYTES), owner }));
    let stored = 0;
    for (const one of put) stored += now.queues.put(queue, [one]);
    return { put, stored };
  };
  /** Puts events while the disk syncs in between. */
  const putSlowly = async (owner: string | undefined, count: number) => {
    for (let n = 0; n < count; n += 1) {
      put(owner, 1);
      if (n % 10 === 9) await now.clock.advance(1_000);
    }
  };
  const dropped = (queue: QueueName = 'Low') => now.queues.account(queue).totals.dropped;
  const lost = (all: readonly { json: string }[], queue: QueueName = 'Low') => {
    const queued = new Set(jsonOf(contents(now.queues, queue)));
    return all.filter(({ json }) => !queued.has(json)).length;
  };

  beforeEach(async () => {
    files = new SimulatedFiles(seeded(1));
    await open();
  });
  afterEach(async () => {
    assertClosed(now.queues);
    await now.queues.stop();
  });

  for (const queue of ['Low', 'High'] as const)
    it(`limits a flood to half of the queue ${queue}, so that it displaces no event`, () => {
      const before = put('UserId 33', 20, queue);
      const flood = put('UserId 2001', 2_000, queue);
      const root = put('UserId 0', 100, queue);
      const later = put('UserId 33', 20, queue);
      assert.deepEqual(
        [before, root, later].map(({ put }) => lost(put, queue)),
        [0, 0, 0],
      );
      assert.ok(flood.stored * BYTES > 0.4 * LIMIT && flood.stored * BYTES < 0.5 * LIMIT, `${flood.stored}`);
      assert.deepEqual(dropped(queue), { userShare: 2_000 - flood.stored });
    });

  it('applies within a single batch, too', () => {
    const flood = Array.from({ length: 1_000 }, () => ({ ...event(BYTES), owner: 'UserId 2001' }));
    const root = Array.from({ length: 50 }, () => ({ ...event(BYTES), owner: 'UserId 0' }));
    now.queues.put('Low', [...root, ...flood]);
    assert.equal(lost(root), 0);
    assert.equal(dropped().cacheFull, undefined);
  });

  it('shares the queue among several users who flood it at once, and leaves space for others', () => {
    const users = ['UserId 2001', 'UserId 2002', 'ContainerId c1'];
    const stored = new Map(users.map((user) => [user, 0]));
    for (let n = 0; n < 1_000; n += 1)
      for (const user of users) stored.set(user, (stored.get(user) ?? 0) + put(user, 1).stored);
    for (const [user, count] of stored) assert.ok(count * BYTES > 0.2 * LIMIT, `${user}: ${count}`);
    assert.equal(lost(put('UserId 2003', 40).put), 0);
    assert.equal(dropped().cacheFull, undefined);
  });

  it('always allows an eighth of the queue, although root fills it', async () => {
    await putSlowly('UserId 0', 1_000);
    await putSlowly('UserId 2001', 40);
    assert.equal(dropped().userShare, undefined);
    assert.ok((dropped().cacheFull ?? 0) > 500);
  });

  it('still drops the oldest events of root and of the agent when these fill the queue', async () => {
    await putSlowly('UserId 0', 1_000);
    await putSlowly(undefined, 10);
    assert.ok((dropped().cacheFull ?? 0) > 500);
    assert.equal(dropped().userShare, undefined);
  });

  it('returns a share when the events of its user are delivered', async () => {
    put('UserId 2001', 2_000);
    assert.equal(put('UserId 2001', 1).stored, 0);
    now.queues.take('Low', LIMIT, true);
    now.queues.settle('Low', 'delivered');
    await now.clock.advance(1_000);
    assert.equal(put('UserId 2001', 100).stored, 100);
  });

  it('survives a kill with a closed account', async () => {
    put('UserId 2001', 2_000);
    const { userShare } = dropped();
    await now.clock.advance(1_000);
    const disk = files;
    await now.queues.stop();
    files = disk;
    await open();
    assert.equal(dropped().userShare, userShare);
    put('UserId 2001', 2_000);
    assert.equal(lost(put('UserId 0', 50).put), 0);
    assert.equal(dropped().cacheFull, undefined);
  });

  it('logs the user once, not per event', () => {
    put('UserId 2001', 1_000);
    const lines = now.lines.filter(({ msg }) => /share of a queue/.test(msg));
    assert.equal(lines.length, 1);
    assert.match(JSON.stringify(lines), /UserId 2001/);
  });
});
