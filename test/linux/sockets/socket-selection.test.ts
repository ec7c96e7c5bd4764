import assert from 'node:assert/strict';
import type { WaitingSocket } from '../../../src/linux/sockets/sock-diag.ts';
import { SocketSelection } from '../../../src/linux/sockets/socket-selection.ts';

const socket = (localAddress: string, userId: number, localPort = 1): WaitingSocket => ({
  protocol: 'udp',
  localAddress,
  localPort,
  userId,
  inode: localPort,
});

describe('SocketSelection', () => {
  it('keeps all there are on a machine that nobody floods', () => {
    const kept = new SocketSelection();
    for (let port = 1; port <= 10_000; port += 1) kept.add(socket('127.0.0.1', 1000, port));
    kept.add(socket('0.0.0.0', 1000));
    assert.deepEqual([kept.outside.length, kept.loopback.length, kept.leftOut], [1, 10_000, 0]);
  });

  it('counts what it does not keep, and keeps those of others whatever one user has', () => {
    const kept = new SocketSelection();
    for (let port = 0; port < 100_000; port += 1) kept.add(socket('127.0.0.1', 1000, port));
    kept.add(socket('127.0.0.1', 0));
    kept.add(socket('0.0.0.0', 1000));
    assert.equal(kept.outside.length, 1);
    assert.equal(kept.loopback.at(-1)?.userId, 0);
    assert.equal(kept.leftOut + kept.loopback.length + 1, 100_002);
  });

  it('gives up loopback for what can be reached from outside', () => {
    const kept = new SocketSelection();
    for (let n = 0; n < 60_000; n += 1) kept.add(socket('::1', n));
    for (let n = 0; n < 60_000; n += 1) kept.add(socket('::', n));
    assert.deepEqual([kept.outside.length, kept.loopback.length, kept.leftOut], [50_000, 0, 70_000]);
  });
});
