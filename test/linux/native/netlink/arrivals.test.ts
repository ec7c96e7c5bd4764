import assert from 'node:assert/strict';
import { once } from 'node:events';
import { systemClock } from '../../../../src/base/clock.ts';
import { seconds } from '../../../../src/base/duration.ts';
import { writeU32 } from '../../../../src/linux/native/byte-order.ts';
import { NLM_F_REQUEST } from '../../../../src/linux/native/netlink/message.ts';
import {
  ARRIVAL_SIGNAL,
  NETLINK_SOCK_DIAG,
  NetlinkSocket,
  openNetlink,
} from '../../../../src/linux/native/netlink/socket.ts';

/** SOCK_DIAG_BY_FAMILY for all sockets of a family that is always there, and needs no capability: see sock_diag(7). */
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_DUMP = 0x300;

describe('A netlink socket whose arrivals are announced', () => {
  let socket: NetlinkSocket;
  let signals: number;
  const count = () => {
    signals += 1;
  };

  beforeEach(() => {
    signals = 0;
    process.on(ARRIVAL_SIGNAL, count);
    socket = openNetlink(NETLINK_SOCK_DIAG);
  });
  afterEach(() => {
    socket.close();
    process.off(ARRIVAL_SIGNAL, count);
  });

  const ask = () => {
    const request = Buffer.alloc(56); // struct inet_diag_req_v2
    request[0] = 2; // AF_INET
    request[1] = 6; // IPPROTO_TCP
    writeU32(request, 4, 1 << 10); // listening ones
    socket.send(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, request);
  };
  const empty = () => {
    let read = 0;
    while (socket.receive() !== undefined) read += 1;
    return read;
  };

  it('sends a signal to this process when something arrives', async () => {
    assert.equal(socket.announceArrivals(true), true);
    const announced = once(process, ARRIVAL_SIGNAL);
    ask();
    await systemClock.within(seconds(30), 'the signal', announced);
    assert.ok(empty() > 0);
  });

  it('sends none after that was ended', async () => {
    socket.announceArrivals(true);
    socket.announceArrivals(false);
    ask();
    assert.ok(empty() > 0);
    const own = once(process, ARRIVAL_SIGNAL);
    process.kill(process.pid, ARRIVAL_SIGNAL);
    await systemClock.within(seconds(30), "the test's own signal", own);
    assert.equal(signals, 1);
  });

  it('stays readable without waiting', () => {
    socket.announceArrivals(true);
    socket.announceArrivals(false);
    assert.equal(socket.receive(), undefined);
  });

  it('announces nothing when it is closed, or belongs to a service manager as well', () => {
    socket.close();
    assert.equal(socket.announceArrivals(true), false);
    const inherited = new NetlinkSocket(0, () => {});
    assert.equal(inherited.announceArrivals(true), false);
  });
});
