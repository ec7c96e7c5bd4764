import assert from 'node:assert/strict';
import type { WaitingSocket } from '../../../../src/agent/linux/sockets/sock-diag.ts';
import { SocketSelection } from '../../../../src/agent/linux/sockets/socket-selection.ts';

const socket = (localAddress: string, userId: number, localPort = 1): WaitingSocket => ({
  protocol: 'udp',
  localAddress,
  localPort,
  userId,
  inode: localPort,
});

describe('SocketSelection', () => {
  it('keeps all sockets on a machine without a flood', () => {
    const kept = new SocketSelection();
    for (let port = 1; port <= 10_000; port += 1) kept.add(socket('127.0.0.1', 1000, port));
    kept.add(socket('0.0.0.0', 1000));
    assert.deepEqual([kept.outside.length, kept.loopback.length, kept.leftOut], [1, 10_000, 0]);
  });

  it("counts omitted sockets, and keeps other users' sockets however many one user has", () => {
    const kept = new SocketSelection();
    for (let port = 0; port < 100_000; port += 1) kept.add(socket('127.0.0.1', 1000, port));
    kept.add(socket('127.0.0.1', 0));
    kept.add(socket('0.0.0.0', 1000));
    assert.equal(kept.outside.length, 1);
    assert.equal(kept.loopback.at(-1)?.userId, 0);
    assert.equal(kept.leftOut + kept.loopback.length + 1, 100_002);
  });

  it('drops loopback sockets before those reachable from outside', () => {
    const kept = new SocketSelection();
    for (let n = 0; n < 60_000; n += 1) kept.add(socket('::1', n));
    for (let n = 0; n < 60_000; n += 1) kept.add(socket('::', n));
    assert.deepEqual([kept.outside.length, kept.loopback.length, kept.leftOut], [50_000, 0, 70_000]);
  });

  describe('on a flooded machine', () => {
    /** Kept sockets of sshd and of a service of user 33, before and after the flood: the kernel lists in no fixed order. */
    const otherSockets = (flood: (kept: SocketSelection) => void) => {
      const kept = new SocketSelection();
      const add = (root: number, service: number) => {
        for (const address of ['0.0.0.0', '127.0.0.1']) {
          kept.add(socket(address, 0, root));
          kept.add(socket(address, 33, service));
        }
      };
      add(22, 4_444);
      flood(kept);
      add(23, 4_445);
      const ports = (all: readonly WaitingSocket[]) =>
        all.flatMap(({ userId, localPort }) => (userId === 0 || userId === 33 ? [localPort] : []));
      const count = kept.outside.length + kept.loopback.length;
      return {
        count,
        leftOut: kept.leftOut,
        outside: ports(kept.outside).sort(),
        loopback: ports(kept.loopback).sort(),
      };
    };
    const ports = [22, 23, 4_444, 4_445];
    const all = (leftOut: number) => ({ count: 50_000, leftOut, outside: ports, loopback: ports });

    it("keeps other users' ports, regardless of the flooder's subordinate ids", () => {
      const flood = (kept: SocketSelection) => {
        for (const userId of [1_000, 100_001, 100_002, 170_003])
          for (let port = 0; port < 16_700; port += 1) kept.add(socket('0.0.0.0', userId, port));
      };
      assert.deepEqual(otherSockets(flood), all(4 * 16_700 + 8 - 50_000));
    });

    it('keeps them if each of 65,536 subordinate ids has few', () => {
      for (const each of [1, 4]) {
        const flood = (kept: SocketSelection) => {
          for (let port = 0; port < 16_000; port += 1) kept.add(socket('::', 1_000, port));
          for (let userId = 132_768; userId < 198_304; userId += 1)
            for (let port = 0; port < each; port += 1) kept.add(socket('::', userId, port));
        };
        assert.deepEqual(otherSockets(flood), all(each * 65_536 + 16_008 - 50_000));
      }
    });

    it('keeps them if several users flood together', () => {
      const flood = (kept: SocketSelection) => {
        for (let userId = 1_000; userId < 1_010; userId += 1)
          for (let port = 0; port < 10_000; port += 1) kept.add(socket(port % 2 === 0 ? '::' : '::1', userId, port));
      };
      assert.deepEqual(otherSockets(flood), all(50_008));
    });

    it("keeps root's sockets if there are more users than sockets to keep", () => {
      const kept = new SocketSelection();
      for (let userId = 1; userId < 60_000; userId += 1) kept.add(socket('::', userId));
      kept.add(socket('0.0.0.0', 0, 22));
      assert.ok(kept.outside.some(({ localPort }) => localPort === 22));
      assert.deepEqual([kept.outside.length, kept.leftOut], [50_000, 10_000]);
    });

    it('keeps no more sockets of root than of otherSockets beyond a share', () => {
      const kept = new SocketSelection();
      for (let port = 0; port < 20_000; port += 1) kept.add(socket('::', 0, port));
      for (let userId = 1; userId < 60_000; userId += 1) kept.add(socket('::', userId));
      const ofRoot = kept.outside.filter(({ userId }) => userId === 0).length;
      assert.ok(ofRoot >= 1_000 && ofRoot < 5_000, String(ofRoot));
    });
  });
});
