import assert from 'node:assert/strict';
import sinon from 'sinon';
import { Arrivals, DrainPause } from '../../../../../src/agent/linux/native/netlink/drain-pause.ts';
import { ARRIVAL_SIGNAL } from '../../../../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../../../../src/core/base/clock.ts';
import { milliseconds } from '../../../../../src/core/base/duration.ts';

/** A socket whose arrivals are announced where `works`, as far as the kernel says. */
class FakeSocket {
  works = true;
  isAnnounced = false;

  announceArrivals(isOn: boolean): boolean {
    this.isAnnounced = isOn && this.works;
    return this.isAnnounced;
  }
}

describe('DrainPause', () => {
  const PAUSE = milliseconds(250);
  let time: sinon.SinonFakeTimers;
  let arrivals: Arrivals;
  let stop: AbortController;
  let loops: Promise<void>[];

  beforeEach(async () => {
    time = sinon.useFakeTimers({ now: new Date('2024-05-01T12:00:00Z') });
    await time.tickAsync(100_000);
    arrivals = new Arrivals();
    stop = new AbortController();
    loops = [];
  });
  afterEach(async () => {
    stop.abort();
    await Promise.all(loops);
    process.removeAllListeners(ARRIVAL_SIGNAL);
    time.restore();
  });

  /** A loop that reads this socket. */
  const loop = (socket = new FakeSocket()) => {
    const reads: number[] = [];
    const state = { sockets: [socket], waiting: 0, isWaiting: false, reads, beforePause: () => {} };
    const pause = new DrainPause(systemClock, { many: 3, few: 1 }, { arrivals, shortest: PAUSE, longest: PAUSE });
    const run = async () => {
      while (!stop.signal.aborted) {
        reads.push(systemClock.monotonic());
        const read = state.waiting;
        state.waiting = 0;
        const { sockets, isWaiting } = state;
        state.beforePause();
        await pause.sleep({ read, sockets, isWaiting }, stop.signal);
      }
    };
    loops.push(run());
    return { socket, ...state, state };
  };
  const signal = () => process.emit(ARRIVAL_SIGNAL);
  /** Something arrives, and is announced if that was requested. */
  const arrive = ({ state, socket }: ReturnType<typeof loop>) => {
    state.waiting += 1;
    if (socket.isAnnounced) signal();
  };
  const readsWithin = async ({ reads }: ReturnType<typeof loop>, length: number) => {
    const before = reads.length;
    await time.tickAsync(length);
    return reads.length - before;
  };

  it('reads four times per second as long as data arrives', async () => {
    const busy = loop();
    let reads = 0;
    for (let round = 0; round < 25; round += 1) {
      arrive(busy);
      reads += await readsWithin(busy, 400);
    }
    assert.ok(reads >= 38 && reads <= 42, `${reads} reads in 10 s`);
  });

  it('pauses for 500 ms while little data arrives, and for 50 ms under load', async () => {
    const pause = new DrainPause(systemClock, { many: 3, few: 1 }, { arrivals });
    const pauseAfter = async (read: number) => {
      const before = systemClock.monotonic();
      let isOver = false;
      const sleep = pause.sleep({ read, sockets: [], isWaiting: true }, stop.signal).then(() => (isOver = true));
      while (!isOver) await time.tickAsync(1);
      await sleep;
      return systemClock.monotonic() - before;
    };
    const lastOf = async (pauses: number, read: number) => {
      for (let count = 1; count < pauses; count += 1) await pauseAfter(read);
      return Math.round((await pauseAfter(read)) / 10) * 10;
    };
    assert.equal(await lastOf(6, 0), 500);
    assert.equal(await lastOf(3, 2), 500);
    assert.equal(await lastOf(6, 4), 50);
    assert.equal(await lastOf(3, 3), 50);
  });

  it('reads every two seconds without data, and 50 ms after the first arrival', async () => {
    const quiet = loop();
    await time.tickAsync(5_000);
    assert.equal(quiet.socket.isAnnounced, true);
    assert.ok((await readsWithin(quiet, 10_000)) <= 5);
    await time.tickAsync(300); // not at a beat
    const arrived = systemClock.monotonic();
    arrive(quiet);
    await time.tickAsync(1);
    assert.equal(quiet.socket.isAnnounced, false, 'no signal for each of many');
    await time.tickAsync(200);
    assert.equal((quiet.reads.find((at) => at > arrived) ?? 0) - arrived, 50);
    assert.ok((await readsWithin(quiet, 500)) >= 2);
  });

  it('reads once more after it requested announcements, for data that arrived before', async () => {
    const quiet = loop();
    while (!quiet.socket.isAnnounced) await time.tickAsync(1);
    const [before, last] = quiet.reads.slice(-2);
    assert.ok((last ?? 0) - (before ?? 0) <= 1);
  });

  it('continues to read often while read data waits for more', async () => {
    const quiet = loop();
    quiet.state.isWaiting = true;
    assert.ok((await readsWithin(quiet, 5_000)) >= 19);
    assert.equal(quiet.socket.isAnnounced, false);
  });

  it('wakes every loop of the process, since one needs data that another reads', async () => {
    const [one, other] = [loop(), loop()];
    await time.tickAsync(5_300);
    arrive(one);
    const before = other.reads.length;
    await time.tickAsync(60);
    assert.equal(other.reads.length, before + 1);
  });

  it('does not miss data that arrives between a read and the pause', async () => {
    const quiet = loop();
    await time.tickAsync(5_000);
    let arrivedAt = Number.POSITIVE_INFINITY;
    quiet.state.beforePause = () => {
      quiet.state.beforePause = () => {};
      arrivedAt = systemClock.monotonic();
      arrive(quiet);
    };
    await time.tickAsync(4_000);
    const next = quiet.reads.find((at) => at > arrivedAt) ?? Number.POSITIVE_INFINITY;
    assert.ok(next - arrivedAt <= 1.5 * PAUSE, `read after ${next - arrivedAt} ms`);
  });

  it('reads often if arrivals cannot be announced', async () => {
    const socket = new FakeSocket();
    socket.works = false;
    const deaf = loop(socket);
    await time.tickAsync(5_000);
    assert.ok((await readsWithin(deaf, 5_000)) >= 19);
  });

  it('reads often once data has arrived without an announcement', async () => {
    const deaf = loop();
    await time.tickAsync(5_000);
    deaf.state.waiting = 1; // and no signal
    await time.tickAsync(10_000);
    assert.equal(arrivals.areSilent, true);
    assert.ok((await readsWithin(deaf, 5_000)) >= 19);
  });

  it('accepts a signal that is handled only after the read', async () => {
    const quiet = loop();
    await time.tickAsync(5_000);
    const before = quiet.reads.length;
    quiet.state.waiting = 1;
    while (quiet.reads.length === before) await time.tickAsync(1);
    signal();
    await time.tickAsync(10_000);
    assert.equal(arrivals.areSilent, false);
    assert.ok((await readsWithin(quiet, 5_000)) <= 5);
  });

  it('requests announcements for new sockets that replace the first', async () => {
    const changed = loop();
    await time.tickAsync(5_000);
    const next = new FakeSocket();
    changed.state.sockets = [next];
    await time.tickAsync(5_000);
    assert.deepEqual([changed.socket.isAnnounced, next.isAnnounced], [false, true]);
  });

  it('ends immediately when the loop stops', async () => {
    loop();
    await time.tickAsync(5_300);
    stop.abort();
    await Promise.all(loops);
  });
});
