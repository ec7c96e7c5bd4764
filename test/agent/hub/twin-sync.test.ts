import { type Answer, HubFailure, type RetryCause, type TwinSection } from '../../../src/core/contract/hub.ts';
import '../../../src/agent/hub/memory.ts';
import assert from 'node:assert/strict';
import sinon from 'sinon';
import { TwinSync } from '../../../src/agent/hub/twin-sync.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import type { Members } from '../../../src/core/twin/sections.ts';
import { FakeHub } from './fake-hub.ts';
import { capturedLog } from './support.ts';

const failed = (cause: RetryCause, id: 'HUB_UNREACHABLE' | 'HUB_THROTTLED' = 'HUB_UNREACHABLE'): Answer<never> =>
  new HubFailure(new AgentError(id, cause, ''), cause).answer;
const refused: Answer<never> = { status: 'refused', error: new AgentError('INTERNAL', 'refused', '') };

describe('TwinSync', () => {
  let time: sinon.SinonFakeTimers;
  let hub: FakeHub;
  let sync: TwinSync;
  let log: ReturnType<typeof capturedLog>;
  let wanted: Members;
  let random: number;
  const apply = sinon.stub<[TwinSection], void>();

  beforeEach(async () => {
    time = sinon.useFakeTimers();
    hub = new FakeHub();
    log = capturedLog();
    wanted = {};
    apply.reset();
    random = 0.5;
    sync = new TwinSync({
      hub,
      apply,
      reported: () => wanted,
      clock: systemClock,
      log: log.log,
      random: () => random,
    });
    await sync.start();
  });
  afterEach(async () => {
    await sync.stop();
    await time.tickAsync(0);
    const timers = time.countTimers();
    time.restore();
    assert.equal(timers, 0);
  });

  const connect = async () => {
    hub.emit('connected');
    await time.tickAsync(seconds(1));
  };

  it('reads the twin once connected, and applies its desired section', async () => {
    hub.desired = { $version: 4, a: 1 };
    await connect();
    assert.deepEqual(apply.args, [[{ $version: 4, a: 1 }]]);
    assert.deepEqual(hub.patches, []);
  });

  it('does nothing while not connected', async () => {
    hub.state = 'connecting';
    sync.changed();
    await time.tickAsync(hours(1));
    assert.equal(hub.reads, 0);
  });

  it('reads once for many notifications within a second, and passes on documents only', async () => {
    await connect();
    for (let change = 0; change < 20; change++) {
      hub.desire({ change });
      await time.tickAsync(milliseconds(45));
    }
    await time.tickAsync(seconds(1));
    assert.equal(hub.reads, 2);
    assert.deepEqual(apply.lastCall.args, [{ $version: 21, change: 19 }]);
  });

  it('reads again for a change that comes while it reads', async () => {
    await connect();
    const read = sinon.stub(hub, 'readTwin').callsFake(async () => {
      read.restore();
      const before = await hub.readTwin();
      hub.desire({ late: true });
      return before;
    });
    hub.emit('desired');
    await time.tickAsync(seconds(2));
    assert.deepEqual(apply.lastCall.args, [{ $version: 2, late: true }]);
  });

  it('reads again after every reconnection, for what was missed', async () => {
    await connect();
    hub.desired = { $version: 9, missed: true };
    await connect();
    assert.deepEqual(apply.lastCall.args, [{ $version: 9, missed: true }]);
  });

  describe('after an outage', () => {
    beforeEach(connect);

    const outage = async (lasts: number) => {
      hub.state = 'connecting';
      hub.emit('status');
      await time.tickAsync(lasts - 1);
      hub.emit('status'); // each attempt that fails
      await time.tickAsync(1);
      wanted = { news: lasts };
      hub.state = 'connected';
      hub.emit('status');
      hub.emit('connected');
      await time.tickAsync(seconds(1));
    };

    it('reads the twin at once, and reports within a tenth of the outage: a whole fleet may be back', async () => {
      await outage(minutes(20));
      assert.deepEqual([hub.reads, hub.patches.length], [2, 0]);
      for (let change = 0; change < 50; change++) {
        sync.changed();
        await time.tickAsync(seconds(1));
      }
      assert.equal(hub.patches.length, 0);
      await time.tickAsync(seconds(10));
      assert.deepEqual(hub.patches, [{ news: minutes(20) }]);
    });

    it('reports within six minutes, however long the outage was', async () => {
      random = 0.999;
      await outage(hours(30));
      await time.tickAsync(minutes(5));
      assert.equal(hub.patches.length, 0);
      await time.tickAsync(minutes(1));
      assert.equal(hub.patches.length, 1);
    });

    it('reports at once after a short one, and when it is renewed without one', async () => {
      await outage(seconds(2));
      assert.equal(hub.patches.length, 1);
      wanted = { news: 'other' };
      await time.tickAsync(hours(1));
      await connect();
      assert.equal(hub.patches.length, 2);
    });

    it('reports at once when desired properties were changed meanwhile, or are changed then', async () => {
      hub.desired = { $version: 7 };
      await outage(hours(1));
      assert.equal(hub.patches.length, 1);
      await outage(hours(2));
      assert.equal(hub.patches.length, 1);
      hub.desire({ now: true });
      await time.tickAsync(seconds(1));
      assert.equal(hub.patches.length, 2);
    });

    it('reports at once when it is stopped', async () => {
      await outage(hours(1));
      await sync.stop();
      assert.equal(hub.patches.length, 1);
    });

    it('waits again if the connection is lost before the report', async () => {
      await outage(hours(1));
      await outage(hours(1));
      await time.tickAsync(seconds(170));
      assert.equal(hub.patches.length, 0);
      await time.tickAsync(seconds(15));
      assert.equal(hub.patches.length, 1);
    });
  });

  it('does not apply a version twice', async () => {
    hub.desired = { $version: 5 };
    await connect();
    await connect();
    await time.tickAsync(minutes(1));
    assert.deepEqual([apply.callCount, hub.reads], [1, 2]);
  });

  it('does not apply a section that seems older unless it is read twice', async () => {
    hub.desired = { $version: 5, a: 1 };
    await connect();
    for (const late of [
      { $version: 4, a: 0 },
      { $version: 5, a: 0 },
    ]) {
      const value = { desired: late, reported: { $version: 1 } };
      hub.readAnswers.push({ status: 'accepted', value });
      hub.emit('desired');
      await time.tickAsync(minutes(1));
      assert.equal(apply.callCount, 1);
    }
    assert.equal(hub.reads, 5); // each was asked about once more
  });

  for (const [what, made] of [
    ['begins with less', { $version: 1 }],
    ['has come as far', { $version: 5, a: 2 }],
    ['has come less far', { $version: 4, a: 2 }],
    ['says the same', { $version: 3, a: 1 }],
  ] as const) {
    it(`applies the twin of a re-created module that ${what}, and later versions`, async () => {
      hub.desired = { $version: 5, a: 1 };
      await connect();
      hub.desired = made;
      await connect();
      assert.equal(apply.callCount, 1);
      await time.tickAsync(seconds(1));
      assert.deepEqual(apply.args.slice(1), [[made]]);
      await time.tickAsync(minutes(1));
      assert.deepEqual([apply.callCount, hub.reads], [2, 3]);
      hub.desire({ a: 3 });
      await time.tickAsync(seconds(1));
      assert.deepEqual(apply.lastCall.args, [{ $version: made.$version + 1, a: 3 }]);
    });
  }

  it('applies a newer version than the current one, even while an older one is in doubt', async () => {
    hub.desired = { $version: 5, a: 1 };
    await connect();
    hub.desired = { $version: 2, a: 2 };
    await connect();
    hub.desired = { $version: 6, a: 3 };
    await time.tickAsync(minutes(1));
    assert.deepEqual(apply.args.slice(1), [[{ $version: 6, a: 3 }]]);
  });

  it('reports what is wanted, then only what changed', async () => {
    wanted = { status: { state: 'running', sent: 1 }, mirror: { a: { value: 1 } } };
    await connect();
    wanted = { status: { state: 'degraded', sent: 1 }, mirror: { a: { value: 1 } } };
    sync.changed();
    await time.tickAsync(seconds(1));
    sync.changed();
    await time.tickAsync(seconds(1));
    assert.deepEqual(hub.patches, [
      { status: { state: 'running', sent: 1 }, mirror: { a: { value: 1 } } },
      { status: { state: 'degraded' } },
    ]);
  });

  it('reports the effect of a change in the same turn', async () => {
    apply.callsFake((desired) => {
      wanted = { mirror: desired.a };
    });
    hub.desired = { $version: 2, a: { value: 'PT1M' } };
    await connect();
    assert.deepEqual(hub.patches, [{ mirror: { value: 'PT1M' } }]);
  });

  it('clears stale members of its own reported sections, and nothing else', async () => {
    hub.reported = { $version: 3, foreign: { a: 1 }, status: { state: 'stopping', removed: { deep: 1 } } };
    wanted = { status: { state: 'running' } };
    await connect();
    assert.deepEqual(hub.patches, [{ status: { state: 'running', removed: null } }]);
    wanted = { status: undefined };
    sync.changed();
    await time.tickAsync(seconds(1));
    assert.deepEqual(hub.patches[1], { status: null });
    assert.deepEqual(hub.reported, { $version: 3, foreign: { a: 1 } });
  });

  it('reports many changes within a second once', async () => {
    await connect();
    for (let sent = 1; sent <= 10; sent++) {
      wanted = { status: { sent } };
      sync.changed();
      await time.tickAsync(50);
    }
    await time.tickAsync(seconds(1));
    assert.deepEqual(hub.patches, [{ status: { sent: 10 } }]);
  });

  it('corrects reported properties that another client changed', async () => {
    wanted = { status: { a: 1 } };
    await connect();
    hub.reported = { $version: 9 };
    await connect();
    assert.deepEqual(hub.patches, [{ status: { a: 1 } }, { status: { a: 1 } }]);
  });

  it('leaves out parts of the status rather than the mirror when a section gets too large', async () => {
    const foreign = Object.fromEntries(Array.from({ length: 6 }, (_, n) => [`f${n}`, 'f'.repeat(3_000)]));
    hub.reported = { $version: 1, foreign };
    const mirror = Object.fromEntries(Array.from({ length: 3 }, (_, n) => [`m${n}`, { value: 'm'.repeat(3_000) }]));
    const errors = Object.fromEntries(Array.from({ length: 3 }, (_, n) => [`e${n}`, 'e'.repeat(3_000)]));
    wanted = { mirror, securityAgent: { state: 'running', errors, list: [1] } };
    await connect();
    assert.deepEqual(hub.patches, [{ mirror, securityAgent: { state: 'running' } }]);
  });

  describe('when the hub does not do as asked', () => {
    it('reads again, after a while', async () => {
      hub.readAnswers.push(failed('network'), failed('network'));
      await connect();
      assert.equal(apply.callCount, 0);
      await time.tickAsync(minutes(1));
      assert.equal(apply.callCount, 1);
      assert.equal(hub.reads, 3);
      assert.equal(log.messages().filter(({ id }) => id === 'HUB_UNREACHABLE').length, 1);
    });

    it('reports again, after a while, what is then wanted', async () => {
      hub.reportAnswers.push(failed('throttled', 'HUB_THROTTLED'));
      wanted = { status: { sent: 1 } };
      await connect();
      wanted = { status: { sent: 2 } };
      await time.tickAsync(minutes(1));
      assert.deepEqual(hub.patches, [{ status: { sent: 1 } }, { status: { sent: 2 } }]);
    });

    it('does not ask a throttling hub more often when more changes are signalled', async () => {
      await connect();
      for (let n = 0; n < 100; n++) hub.readAnswers.push(failed('throttled', 'HUB_THROTTLED'));
      const before = hub.reads;
      for (let second = 0; second < 300; second++) {
        hub.desire({ second });
        sync.changed();
        await time.tickAsync(seconds(1));
      }
      assert.ok(hub.reads - before < 50, `${hub.reads - before} readings in five minutes`);
    });

    it('honours the time a hub asks for', async () => {
      hub.readAnswers.push({ ...failed('throttled'), after: minutes(10) } as Answer<never>);
      await connect();
      await time.tickAsync(minutes(9));
      assert.equal(hub.reads, 1);
      await time.tickAsync(minutes(2));
      assert.equal(hub.reads, 2);
    });

    it('waits for the next connection when there is none', async () => {
      hub.readAnswers.push(failed('network'));
      const status = sinon.stub(hub, 'status');
      status.onFirstCall().returns({ state: 'connected', credential: { kind: 'test' } });
      status.returns({ state: 'connecting', credential: { kind: 'test' } });
      await connect();
      await time.tickAsync(hours(1));
      assert.equal(hub.reads, 1);
      assert.equal(log.text(), ''); // the client says it
      status.restore();
      await connect();
      assert.equal(apply.callCount, 1);
    });

    it('does not send again what was refused, until it is something else', async () => {
      hub.reportAnswers.push(refused);
      wanted = { status: { a: 1 } };
      await connect();
      for (let turn = 0; turn < 10; turn++) await connect();
      assert.equal(hub.patches.length, 1);
      wanted = { status: { a: 2 } };
      sync.changed();
      await time.tickAsync(seconds(1));
      assert.deepEqual(hub.patches[1], { status: { a: 2 } });
    });

    it('reports the status alone when the whole was refused', async () => {
      hub.reportAnswers.push(refused);
      wanted = { mirror: { a: 1 }, securityAgent: { state: 'running' } };
      await connect();
      assert.deepEqual(hub.patches, [wanted, { securityAgent: { state: 'running' } }]);
      hub.reportAnswers.push(refused);
      wanted = { mirror: { a: 1 }, securityAgent: { state: 'degraded' } };
      sync.changed();
      await time.tickAsync(seconds(1));
      assert.deepEqual(hub.patches.slice(2), [wanted, { securityAgent: { state: 'degraded' } }]);
      for (let turn = 0; turn < 3; turn++) await connect();
      assert.deepEqual(hub.patches.slice(4), [{ mirror: { a: 1 } }], 'and once what is left');
    });
  });

  it('continues when applying throws, and does not retry the same section', async () => {
    apply.throws(new Error('a defect'));
    wanted = { status: { a: 1 } };
    await connect();
    await connect();
    assert.equal(apply.callCount, 1);
    assert.equal(hub.patches.length, 1);
    assert.equal(log.messages().filter(({ id }) => id === 'INTERNAL').length, 1);
  });

  it('applies a twin whose version is not a number once', async () => {
    hub.desired = { $version: 'x' } as unknown as TwinSection;
    await connect();
    await connect();
    assert.equal(apply.callCount, 1);
  });

  it('reports once more when it stops, without waiting for others to change', async () => {
    wanted = { state: 'running' };
    await connect();
    wanted = { state: 'stopping' };
    await sync.stop();
    assert.deepEqual(hub.patches.at(-1), { state: 'stopping' });
  });

  it('reports everything to the twin of another hub, even if it stops right after the move', async () => {
    wanted = { a: 1, b: 1 };
    await connect();
    hub.reported = { $version: 1 };
    hub.emit('connected');
    wanted = { a: 1, b: 2 };
    await sync.stop();
    assert.deepEqual(hub.patches, [
      { a: 1, b: 1 },
      { a: 1, b: 2 },
    ]);
  });

  it('does not report values that it read before the move', async () => {
    wanted = { a: 1, b: 1 };
    await connect();
    wanted = { a: 1, b: 2 };
    const read = sinon.stub(hub, 'readTwin').callsFake(async () => {
      read.restore();
      const before = await hub.readTwin();
      hub.reported = { $version: 1 };
      hub.emit('connected');
      return before;
    });
    hub.emit('desired');
    await time.tickAsync(seconds(2));
    assert.deepEqual(hub.patches.slice(1), [{ a: 1, b: 2 }]);
  });

  it('stops in the middle of a wait', async () => {
    hub.readAnswers.push({ ...failed('throttled'), after: hours(10) } as Answer<never>);
    await connect();
    await sync.stop(); // would never end if it slept on
  });
});
