import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AgentError } from '../../../../src/base/errors.ts';
import { encodeMessage, errnoIn, messagesOf } from '../../../../src/linux/native/netlink/message.ts';
import { openNetlink } from '../../../../src/linux/native/netlink/socket.ts';

describe('netlink messages', () => {
  // Two of a dump: 17 bytes with three of padding, and NLMSG_DONE.
  const datagram = Buffer.concat([encodeMessage(20, 2, 5, Buffer.from('x')), encodeMessage(3, 2, 5, Buffer.alloc(4))]);

  it('are a header, the payload, and padding', () => {
    assert.equal(datagram.toString('hex', 0, 20), '110000001400020005000000' + '00000000' + '78000000');
  });

  it('are read one after another', () => {
    assert.deepEqual(
      [...messagesOf(datagram)].map(({ type, flags, sequence, payload }) => [type, flags, sequence, payload.length]),
      [
        [20, 2, 5, 1],
        [3, 2, 5, 4],
      ],
    );
  });

  it('end where a length is impossible', () => {
    for (const length of [0, 15, 41, 0xffff_ffff]) {
      const broken = Buffer.from(datagram);
      broken.writeUInt32LE(length, 20);
      assert.equal([...messagesOf(broken)].length, 1, String(length));
    }
    assert.equal([...messagesOf(datagram.subarray(0, 15))].length, 0);
  });

  it('say what the kernel refused', () => {
    const refusal = Buffer.alloc(20);
    refusal.writeInt32LE(-17);
    assert.equal(errnoIn(refusal), 17);
    assert.equal(errnoIn(Buffer.alloc(20)), 0);
    assert.equal(errnoIn(Buffer.alloc(3)), undefined);
  });

  it('never throw, and never end in a loop', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        for (const { payload } of messagesOf(Buffer.from(bytes))) assert.ok(payload.length <= 84);
      }),
      { numRuns: 10_000 },
    );
  });
});

describe('a netlink socket', () => {
  it('asks and answers without waiting', () => {
    const socket = openNetlink(0); // NETLINK_ROUTE, for everybody
    try {
      assert.equal(socket.receive(), undefined);
      const sequence = socket.send(18, 5, Buffer.alloc(16)); // RTM_GETLINK with no such interface, acknowledged
      const [answer] = [...messagesOf(socket.receive() ?? Buffer.alloc(0))];
      assert.equal(answer?.sequence, sequence);
      assert.equal(socket.overruns, 0);
    } finally {
      socket.close();
      socket.close();
    }
  });

  it('that the kernel does not know is an error with a remedy', () => {
    assert.throws(
      () => openNetlink(31),
      (error) => error instanceof AgentError && error.id === 'SOCKET_UNAVAILABLE' && error.remedy !== '',
    );
  });
});
