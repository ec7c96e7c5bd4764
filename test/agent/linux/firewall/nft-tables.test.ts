import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decodeTable, listNftTables, nftGeneration } from '../../../../src/agent/linux/firewall/nft-tables.ts';
import { writeU16, writeU32 } from '../../../../src/agent/linux/native/byte-order.ts';
import { encodeMessage, NLMSG_DONE, NLMSG_ERROR } from '../../../../src/agent/linux/native/netlink/message.ts';
import { NetlinkSocket } from '../../../../src/agent/linux/native/netlink/socket.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { NLM_F_MULTI } from '../sockets/inet-diag.ts';

const NEWTABLE = 10 << 8;

/** A struct nlattr with its value. */
function attribute(type: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc((4 + value.length + 3) & ~3);
  writeU16(bytes, 0, 4 + value.length);
  writeU16(bytes, 2, type);
  value.copy(bytes, 4);
  return bytes;
}
const table = (family: number, name: string) =>
  Buffer.concat([
    Buffer.from([family, 0, 0, 0]),
    attribute(2, Buffer.alloc(4)),
    attribute(1, Buffer.from(`${name}\0`)),
  ]);
const done = encodeMessage(NLMSG_DONE, NLM_F_MULTI, 1, Buffer.alloc(4));
const refusal = (errno: number) => {
  const payload = Buffer.alloc(20);
  writeU32(payload, 0, -errno);
  return encodeMessage(NLMSG_ERROR, 0, 1, payload);
};

/** Gives datagrams instead of the kernel. */
class Replay extends NetlinkSocket {
  readonly #datagrams: Buffer[];

  constructor(...datagrams: Buffer[]) {
    super(-1);
    this.#datagrams = datagrams;
  }
  override send = () => 1;
  override receive = () => this.#datagrams.shift();
  override close = () => {};
}

describe('nftGeneration', () => {
  const generation = (payload: Buffer) => encodeMessage((10 << 8) | 15, 0, 1, payload);
  const number = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };

  it('returns the number of the ruleset', () => {
    const payload = Buffer.concat([Buffer.alloc(4), attribute(2, number(7)), attribute(1, number(70_000))]);
    assert.equal(nftGeneration(new Replay(generation(payload))), 70_000);
  });

  it('returns 0 if the kernel has no nftables', () => {
    for (const errno of [2, 22, 95]) assert.equal(nftGeneration(new Replay(refusal(errno))), 0);
  });

  it('throws on a refusal, a missing answer or a broken one', () => {
    assert.throws(() => nftGeneration(new Replay(refusal(1))), { code: 'EPERM' });
    assert.throws(() => nftGeneration(new Replay()), { code: 'EAGAIN' });
    const short = generation(Buffer.concat([Buffer.alloc(4), attribute(1, Buffer.alloc(2))]));
    assert.throws(() => nftGeneration(new Replay(short)), { code: 'EAGAIN' });
  });
});

describe('listNftTables', () => {
  it('names every table with its family', () => {
    const tables = [table(1, 'filter'), table(2, 'nat'), table(10, 'six'), table(7, 'br'), table(99, 'new')];
    const datagram = Buffer.concat(tables.map((payload) => encodeMessage(NEWTABLE, NLM_F_MULTI, 1, payload)));
    const foreign = encodeMessage(NEWTABLE, NLM_F_MULTI, 7, table(2, 'foreign'));
    assert.deepEqual(listNftTables(new Replay(datagram, Buffer.concat([foreign, done]))), [
      'inet filter',
      'ip nat',
      'ip6 six',
      'bridge br',
      '99 new',
    ]);
  });

  it('returns no tables if the kernel has no nftables', () => {
    for (const errno of [2, 22, 95]) assert.deepEqual(listNftTables(new Replay(refusal(errno))), []);
  });

  it("reports the kernel's refusal, and does not wait for an answer that never arrives", () => {
    assert.throws(() => listNftTables(new Replay(refusal(1))), { code: 'EPERM' });
    const failed = Buffer.alloc(4);
    writeU32(failed, 0, -12);
    const end = encodeMessage(NLMSG_DONE, NLM_F_MULTI, 1, failed);
    assert.throws(() => listNftTables(new Replay(end)), { code: 'ENOMEM' });
    assert.throws(() => listNftTables(new Replay()), { code: 'EAGAIN' });
  });

  it('accepts any datagrams', () => {
    const bytes = fc.uint8Array({ maxLength: 100 });
    const message = fc
      .tuple(fc.constantFrom(NEWTABLE, NLMSG_ERROR, 5), bytes)
      .map(([type, payload]) => encodeMessage(type, NLM_F_MULTI, 1, Buffer.from(payload)));
    fc.assert(
      fc.property(fc.array(fc.oneof(bytes, message), { maxLength: 5 }), (datagrams) => {
        const replay = new Replay(...datagrams.map((datagram) => Buffer.from(datagram)), done);
        try {
          assert.ok(listNftTables(replay).length <= 5);
        } catch (error) {
          assert.match(String((error as { code?: unknown }).code), /^E[A-Z]+$|^Unknown system error/);
        }
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });

  it('accepts any message', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (payload) => {
        const name = decodeTable(Buffer.from(payload));
        assert.ok(name === undefined || name.length <= 100);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});
