import assert from 'node:assert/strict';
import { ClosedSockets } from '../../../../../src/agent/linux/sockets/connections/closed-sockets.ts';
import { milliseconds } from '../../../../../src/core/base/duration.ts';
import { processorTime } from '../../../../harness/processor-time.ts';

const NOW = milliseconds(0);
const PEER = { address: '192.0.2.7', port: 443 };

/** A socket closed `ago` milliseconds ago. */
const closed = (ago: number, port: number, address = '192.0.2.2') => ({
  local: { address, port },
  remote: PEER,
  inode: 0,
  keptFor: 60_000 - ago,
  isClosed: true,
});

describe('ClosedSockets', () => {
  const of = (...sockets: readonly ReturnType<typeof closed>[]) => {
    const all = new ClosedSockets();
    for (const socket of sockets) all.add(socket, NOW);
    return all;
  };

  for (const [what, sockets, age, expected] of [
    ['the one with that peer', of(closed(100, 1)), 200, { address: '192.0.2.2', port: 1 }],
    ['it, though the clocks have a grain', of(closed(100, 1)), 85, { address: '192.0.2.2', port: 1 }],
    ['it, and none closed before', of(closed(100, 1), closed(900, 2)), 200, { address: '192.0.2.2', port: 1 }],
    ['none that was closed before', of(closed(100, 1)), 50, {}],
    ['what several have in common', of(closed(100, 1), closed(100, 2)), 200, { address: '192.0.2.2' }],
    ['nothing where they have nothing in common', of(closed(100, 1), closed(100, 1, '192.0.2.3')), 200, {}],
    [
      'the address of very many, and no port',
      of(...Array.from({ length: 100 }, (_, index) => closed(1_000 - 10 * index, index))),
      385,
      { address: '192.0.2.2' },
    ],
  ] as const) {
    it(`finds ${what}`, () => assert.deepEqual(sockets.endOf(PEER, milliseconds(-age)), expected));
  }

  it('finds no socket with another peer', () => {
    const sockets = of(closed(100, 1));
    assert.deepEqual(sockets.endOf({ ...PEER, port: 80 }, milliseconds(-200)), {});
    assert.equal(sockets.has({ ...PEER, port: 80 }, milliseconds(-200)), false);
  });

  it('detects an earlier closed socket, for any local end and any number of sockets', () => {
    const sockets = of(closed(100, 1), closed(100, 1, '192.0.2.3'));
    assert.deepEqual([sockets.has(PEER, milliseconds(-200)), sockets.has(PEER, milliseconds(-50))], [true, false]);
    const many = of(...Array.from({ length: 100 }, (_, port) => closed(900, port)), closed(100, 1_000));
    assert.equal(many.has(PEER, milliseconds(-200)), true);
  });

  it('stores any number of sockets', () => {
    const sockets = new ClosedSockets();
    for (let port = 0; port < 200_000; port += 1) sockets.add(closed(100, port), NOW);
    const used = processorTime();
    for (let times = 0; times < 10_000; times += 1) {
      assert.deepEqual(sockets.endOf(PEER, milliseconds(-200)), { address: '192.0.2.2' });
    }
    assert.ok(used() < 3_000, `${used()} ms`);
  });
});
