import assert from 'node:assert/strict';
import { SocketTable } from '../../../../../src/agent/linux/sockets/connections/socket-table.ts';

describe('SocketTable', () => {
  it('returns the latest socket at a descriptor', () => {
    const table = new SocketTable();
    const first = table.made(1, 3, 'TCP');
    assert.equal(table.find(1, 3), first);
    assert.equal(table.at(1, 3), first);
    const second = table.made(1, 3, 'UDP');
    assert.equal(table.find(1, 3)?.protocol, 'UDP');
    assert.deepEqual([table.isCurrent(1, 3, first), table.isCurrent(1, 3, second)], [false, true]);
  });

  it('distinguishes processes and descriptors', () => {
    const table = new SocketTable();
    table.made(1, 3, 'TCP');
    assert.equal(table.find(2, 3), undefined);
    assert.equal(table.find(1, 4), undefined);
  });

  it('stores a socket whose creation was not seen', () => {
    const table = new SocketTable();
    table.at(1, 3).underWay = { address: '192.0.2.1', port: 1 };
    assert.equal(table.find(1, 3)?.underWay?.address, '192.0.2.1');
    assert.equal(table.find(1, 3)?.protocol, undefined);
  });

  it('returns the earlier socket of a descriptor', () => {
    const table = new SocketTable();
    table.made(1, 3, 'TCP').inode = 77;
    assert.equal(table.made(1, 3, 'TCP').inodeBefore, 77);
    assert.equal(table.made(1, 3, 'TCP').inodeBefore, undefined);
  });

  it('is bounded, drops the oldest entries, and draws no conclusion from dropped ones', () => {
    const table = new SocketTable();
    const oldest = table.made(1, 0, 'TCP');
    for (let fd = 1; fd <= 20_000; fd += 1) table.made(1, fd, 'TCP');
    const known = Array.from({ length: 20_001 }, (_, fd) => table.find(1, fd)).filter((socket) => socket !== undefined);
    assert.equal(known.length, 8_192);
    assert.equal(table.find(1, 0), undefined);
    assert.ok(table.isCurrent(1, 0, oldest));
  });

  it('returns which processes have created TCP sockets, as long as it stores one', () => {
    const table = new SocketTable();
    table.made(1, 3, 'TCP');
    table.made(1, 4, 'TCP');
    table.made(2, 3, 'UDP');
    assert.deepEqual([table.hasTcp(1), table.hasTcp(2)], [true, false]);
    table.made(1, 3, 'other');
    assert.ok(table.hasTcp(1));
    table.made(1, 4, undefined);
    assert.ok(!table.hasTcp(1));
    table.made(3, 3, 'TCP');
    for (let fd = 0; fd < 8_192; fd += 1) table.made(4, fd, 'UDP');
    assert.ok(!table.hasTcp(3));
  });
});
