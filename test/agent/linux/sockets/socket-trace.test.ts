import assert from 'node:assert/strict';
import { ListeningSockets } from '../../../../src/agent/linux/sockets/listening-sockets.ts';
import { FakeSockDiag, inetDiag } from './inet-diag.ts';

const { signal } = new AbortController();
const listener = (inode: number, localPort = 22) => inetDiag({ inode, localPort });
/** Bound and not connected. */
const bound = (inode: number, localPort = 53) => inetDiag({ state: 7, inode, localPort });

describe('the trace of listening sockets', () => {
  let kernel: FakeSockDiag;
  let sockets: ListeningSockets;
  const look = () => sockets.trace(signal);

  beforeEach(() => {
    kernel = new FakeSockDiag();
    kernel.tcp.push(listener(1));
    kernel.udp.push(bound(10));
    sockets = new ListeningSockets({ open: () => kernel });
  });

  it('stays the same as long as the same sockets are open', async () => {
    await look();
    const settled = await look();
    assert.equal(await look(), settled);
    assert.ok(kernel.isClosed);
    kernel.tcp.push(inetDiag({ inode: 2, state: 1, remotePort: 9 }));
    assert.equal(await look(), settled, 'a connection');
  });

  it('changes immediately when a TCP socket listens, closes or is replaced at the same port', async () => {
    await look();
    const seen = [await look()];
    const isNew = async () => {
      const trace = await look();
      assert.ok(trace !== undefined && !seen.includes(trace));
      seen.push(trace);
    };
    kernel.tcp.push(listener(2, 8080));
    await isNew();
    kernel.tcp.splice(1, 1, listener(3, 8080));
    await isNew();
    kernel.tcp.splice(1, 1, listener(3, 8081));
    await isNew();
    kernel.tcp.shift();
    await isNew();
  });

  it('changes for a UDP socket once a second read has found it, not for single queries', async () => {
    await look();
    const before = await look();
    for (let query = 100; query < 110; query += 1) {
      kernel.udp.splice(1, 1, bound(query, 2_000 + query));
      assert.equal(await look(), before);
    }
    const lasting = await look();
    assert.notEqual(lasting, before);
    kernel.udp.splice(1, 1);
    assert.equal(await look(), before);
  });

  it('changes immediately in a flood of too many UDP sockets to remember', async () => {
    for (let inode = 1_000; inode < 11_000; inode += 1) kernel.udp.push(bound(inode, inode));
    await look();
    const before = await look();
    kernel.udp.push(bound(20_000, 20_000));
    assert.notEqual(await look(), before);
  });

  it('is unknown if the kernel lacks sock_diag', async () => {
    kernel.errno = 2;
    assert.equal(await look(), undefined);
    assert.ok(kernel.isClosed);
  });
});
