import assert from 'node:assert/strict';
import { NETLINK_SOCK_DIAG, openNetlink } from '../../../../src/agent/linux/native/netlink/socket.ts';
import { assemble, drop, ifEquals, keep, lengthOf, load } from '../../../../src/agent/linux/native/socket-filter.ts';
import { runFilter } from '../processes/connector/run-filter.ts';
import { askForListeners } from './netlink/question.ts';

/** Whether any of the answers to a question comes through. */
function answersWith(filter: Buffer | undefined): boolean {
  const socket = openNetlink(NETLINK_SOCK_DIAG, filter === undefined ? {} : { filter });
  try {
    askForListeners(socket);
    return socket.receive() !== undefined;
  } finally {
    socket.close();
  }
}

describe('assemble', () => {
  const wantsSequence = (sequence: number) => assemble([load(8), ifEquals(sequence, 1, 0), drop, keep]);

  it('builds a filter that keeps the selected packets and drops the rest', () => {
    const datagram = Buffer.alloc(16);
    datagram.writeUInt32LE(7, 8);
    assert.equal(runFilter(wantsSequence(7), datagram), 0xffff_ffff);
    assert.equal(runFilter(wantsSequence(8), datagram), 0);
    assert.equal(runFilter(wantsSequence(7), datagram.subarray(0, 11)), 0);
  });

  it('builds a filter that the kernel applies', () => {
    assert.equal(answersWith(undefined), true);
    assert.equal(answersWith(wantsSequence(1)), true);
    assert.equal(answersWith(wantsSequence(2)), false);
  });

  it('builds a filter that can replace another one', () => {
    const socket = openNetlink(NETLINK_SOCK_DIAG, { filter: assemble([drop]) });
    try {
      assert.equal(socket.filter(assemble([keep])), true);
      askForListeners(socket);
      assert.notEqual(socket.receive(), undefined);
    } finally {
      socket.close();
    }
  });

  it('builds a filter that the kernel rejects if it has no end; the earlier one stays', () => {
    const socket = openNetlink(NETLINK_SOCK_DIAG);
    assert.equal(socket.filter(assemble([load(0)])), false);
    socket.close();
    assert.equal(socket.filter(assemble([keep])), false);
  });

  it('returns a filter whose length is known', () => assert.equal(lengthOf(assemble([drop, keep])), 2));

  for (const [what, program] of Object.entries({
    'nothing at all': [],
    'a jump over more than 255': [ifEquals(1, 256, 0), keep],
    'more than 4,096 instructions': Array.from({ length: 4_097 }, () => keep),
  })) {
    it(`rejects ${what}`, () => assert.throws(() => assemble(program), RangeError));
  }
});
