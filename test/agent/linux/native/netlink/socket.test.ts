import assert from 'node:assert/strict';
import { once } from 'node:events';
import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messagesOf } from '../../../../../src/agent/linux/native/netlink/message.ts';
import {
  ARRIVAL_SIGNAL,
  NETLINK_SOCK_DIAG,
  NetlinkSocket,
  openNetlink,
} from '../../../../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../../../../src/core/base/clock.ts';
import { seconds } from '../../../../../src/core/base/duration.ts';
import { AgentError } from '../../../../../src/core/base/errors.ts';
import { suiteFolder } from '../../../../harness/folders.ts';
import { askForListeners } from './question.ts';

const NETLINK_ROUTE = 0;
const NLMSG_HEADER_BYTES = 16;

describe('NetlinkSocket', () => {
  const folder = suiteFolder();
  let socket: NetlinkSocket;

  beforeEach(() => {
    socket = openNetlink(NETLINK_SOCK_DIAG);
  });
  afterEach(() => socket.close());

  const empty = () => {
    let read = 0;
    while (socket.receive() !== undefined) read += 1;
    return read;
  };

  it('returns undefined if no datagram is waiting', () => {
    assert.equal(socket.receive(), undefined);
    assert.equal(socket.overruns, 0);
  });

  it('reads datagrams until none is left', () => {
    const sequence = askForListeners(socket);
    let read = 0;
    for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive()) {
      assert.equal(datagram.readUInt32LE(8), sequence);
      read += 1;
    }
    assert.ok(read > 0);
  });

  it('sends a request and receives its acknowledgement', () => {
    const route = openNetlink(NETLINK_ROUTE);
    const sequence = route.send(18, 5, Buffer.alloc(16)); // RTM_GETLINK with no such interface
    const [answer] = [...messagesOf(route.receive() ?? Buffer.alloc(0))];
    assert.equal(answer?.sequence, sequence);
    route.close();
  });

  it('reads the first bytes of a datagram longer than the buffer', () => {
    askForListeners(socket);
    assert.equal(socket.read(Buffer.alloc(NLMSG_HEADER_BYTES)), NLMSG_HEADER_BYTES);
  });

  it('accepts a second close, and names the reason on later reads', () => {
    socket.close();
    socket.close();
    assert.throws(() => socket.receive(), { code: 'EBADF' });
  });

  it('reads a descriptor on which recv(2) fails', () => {
    const path = join(folder, 'no-socket');
    writeFileSync(path, 'as is');
    const file = new NetlinkSocket(openSync(path, 'r'));
    assert.equal(file.receive()?.toString(), 'as is');
    file.close();
  });

  it('rejects an unknown protocol with a remedy', () => {
    assert.throws(
      () => openNetlink(31),
      (error) => error instanceof AgentError && error.id === 'SOCKET_UNAVAILABLE' && error.remedy !== '',
    );
  });

  describe('with announced arrivals', () => {
    let signals: number;
    const count = () => {
      signals += 1;
    };

    beforeEach(() => {
      signals = 0;
      process.on(ARRIVAL_SIGNAL, count);
    });
    afterEach(() => process.off(ARRIVAL_SIGNAL, count));

    it('sends a signal to this process when data arrives', async () => {
      assert.equal(socket.announceArrivals(true), true);
      const announced = once(process, ARRIVAL_SIGNAL);
      askForListeners(socket);
      await systemClock.within(seconds(30), 'the signal', announced);
      assert.ok(empty() > 0);
    });

    it('sends no signal after announcements were stopped', async () => {
      socket.announceArrivals(true);
      socket.announceArrivals(false);
      askForListeners(socket);
      assert.ok(empty() > 0);
      const own = once(process, ARRIVAL_SIGNAL);
      process.kill(process.pid, ARRIVAL_SIGNAL);
      await systemClock.within(seconds(30), "the test's own signal", own);
      assert.equal(signals, 1);
    });

    it('remains readable without blocking', () => {
      socket.announceArrivals(true);
      socket.announceArrivals(false);
      assert.equal(socket.receive(), undefined);
    });

    it('announces nothing if it is closed or shared with a service manager', () => {
      socket.close();
      assert.equal(socket.announceArrivals(true), false);
      const inherited = new NetlinkSocket(0, () => {});
      assert.equal(inherited.announceArrivals(true), false);
    });
  });
});
