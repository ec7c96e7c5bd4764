import assert from 'node:assert/strict';
import fc from 'fast-check';
import { encodeMessage, errnoIn, messagesOf } from '../../../../../src/agent/linux/native/netlink/message.ts';
import { fuzzRuns } from '../../../../fuzz.ts';

describe('decodeMessages', () => {
  // Two of a dump: 17 bytes with three of padding, and NLMSG_DONE.
  const datagram = Buffer.concat([encodeMessage(20, 2, 5, Buffer.from('x')), encodeMessage(3, 2, 5, Buffer.alloc(4))]);

  it('decodes a header, the payload and padding', () => {
    assert.equal(datagram.toString('hex', 0, 20), '110000001400020005000000' + '00000000' + '78000000');
  });

  it('decodes several messages in a row', () => {
    assert.deepEqual(
      [...messagesOf(datagram)].map(({ type, flags, sequence, payload }) => [type, flags, sequence, payload.length]),
      [
        [20, 2, 5, 1],
        [3, 2, 5, 4],
      ],
    );
  });

  it('stops at an impossible length', () => {
    for (const length of [0, 15, 41, 0xffff_ffff]) {
      const broken = Buffer.from(datagram);
      broken.writeUInt32LE(length, 20);
      assert.equal([...messagesOf(broken)].length, 1, String(length));
    }
    assert.equal([...messagesOf(datagram.subarray(0, 15))].length, 0);
  });

  it("returns the kernel's error", () => {
    const refusal = Buffer.alloc(20);
    refusal.writeInt32LE(-17);
    assert.equal(errnoIn(refusal), 17);
    assert.equal(errnoIn(Buffer.alloc(20)), 0);
    assert.equal(errnoIn(Buffer.alloc(3)), undefined);
  });

  it('never throws, and always terminates', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        for (const { payload } of messagesOf(Buffer.from(bytes))) assert.ok(payload.length <= 84);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});
