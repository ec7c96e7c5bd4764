import assert from 'node:assert/strict';
import { openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeU32 } from '../../../../src/linux/native/byte-order.ts';
import { NLM_F_REQUEST } from '../../../../src/linux/native/netlink/message.ts';
import { NETLINK_SOCK_DIAG, NetlinkSocket, openNetlink } from '../../../../src/linux/native/netlink/socket.ts';
import { suiteFolder } from '../../../support/folders.ts';

const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_DUMP = 0x300;
const NLMSG_HEADER_BYTES = 16;

describe('A netlink socket', () => {
  const folder = suiteFolder();
  let socket: NetlinkSocket;

  beforeEach(() => {
    socket = openNetlink(NETLINK_SOCK_DIAG);
  });
  afterEach(() => socket.close());

  /** The kernel answers at once, if only by the message that ends the list. */
  const ask = () => {
    const request = Buffer.alloc(56); // struct inet_diag_req_v2
    request[0] = 2; // AF_INET
    request[1] = 6; // IPPROTO_TCP
    writeU32(request, 4, 1 << 10); // listening ones
    return socket.send(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, request);
  };

  it('has nothing to read at first', () => {
    assert.equal(socket.receive(), undefined);
    assert.equal(socket.overruns, 0);
  });

  it('reads datagrams until there are no more', () => {
    const sequence = ask();
    let read = 0;
    for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive()) {
      assert.equal(datagram.readUInt32LE(8), sequence);
      read += 1;
    }
    assert.ok(read > 0);
  });

  it('takes what fits of a datagram that is longer', () => {
    ask();
    assert.equal(socket.read(Buffer.alloc(NLMSG_HEADER_BYTES)), NLMSG_HEADER_BYTES);
  });

  it('says why nothing can be read once it is closed', () => {
    socket.close();
    assert.throws(() => socket.receive(), { code: 'EBADF' });
  });

  it('reads a descriptor from which recv(2) cannot', () => {
    const path = join(folder, 'no-socket');
    writeFileSync(path, 'as is');
    const file = new NetlinkSocket(openSync(path, 'r'));
    assert.equal(file.receive()?.toString(), 'as is');
    file.close();
  });
});
