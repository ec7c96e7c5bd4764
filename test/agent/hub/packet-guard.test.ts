import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { LARGEST_PUBLISH, PacketGuard, ProtocolViolation } from '../../../src/agent/hub/packet-guard.ts';
import { fuzzRuns } from '../../fuzz.ts';

/** A packet header that announces `length` bytes. */
function announce(first: number, length: number): Buffer {
  const bytes = [first];
  let rest = length;
  do {
    bytes.push((rest % 0x80) + (rest >= 0x80 ? 0x80 : 0));
    rest = Math.floor(rest / 0x80);
  } while (rest > 0);
  return Buffer.from(bytes);
}
const generate = (packet: object) => mqttPacket.generate(packet as Packet);
const publish = (payload: Buffer, qos = 0) =>
  generate({ cmd: 'publish', topic: 't', payload, qos, messageId: 1, dup: false, retain: false });

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

describe('PacketGuard', () => {
  const passed = (chunks: readonly Buffer[]) => {
    const packets: Buffer[] = [];
    const guard = new PacketGuard((whole) => packets.push(Buffer.from(whole)));
    for (const chunk of chunks) guard.push(chunk);
    return packets;
  };
  const refused = (bytes: Buffer) => assert.throws(() => passed([bytes]), ProtocolViolation);

  it('passes on whole packets, however the input is split', () => {
    const packet = fc.oneof(
      fc.uint8Array({ maxLength: 20_000 }).map((bytes) => publish(Buffer.from(bytes))),
      fc.constant(publish(Buffer.alloc(300), 1)),
      fc.constantFrom(
        generate({ cmd: 'pingresp' }),
        generate({ cmd: 'puback', messageId: 7 }),
        generate({ cmd: 'suback', messageId: 7, granted: [0] }),
        generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }),
      ),
    );
    const cuts = fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(fc.array(packet, { minLength: 1, maxLength: 8 }), cuts, (packets, sizes) => {
        const stream = Buffer.concat(packets);
        const chunks: Buffer[] = [];
        for (let at = 0, n = 0; at < stream.length; n += 1) {
          const size = sizes[n % sizes.length] ?? 1;
          chunks.push(stream.subarray(at, at + size));
          at += size;
        }
        const endsOf = (parts: readonly Buffer[]) => {
          let end = 0;
          return parts.map(({ length }) => {
            end += length;
            return end;
          });
        };
        const out = passed(chunks);
        assert.deepEqual(Buffer.concat(out), stream);
        const ends = new Set(endsOf(packets));
        for (const end of endsOf(out)) assert.ok(ends.has(end), 'half a packet');
      }),
      { numRuns: fuzzRuns(2_000) },
    );
  });

  it('passes on the largest message, and refuses a larger one by what it announces', () => {
    const largest = Buffer.concat([announce(0x30, LARGEST_PUBLISH), Buffer.alloc(LARGEST_PUBLISH)]);
    assert.equal(Buffer.concat(passed([largest])).length, largest.length);
    refused(announce(0x30, LARGEST_PUBLISH + 1));
    refused(announce(0x30, 256 * 1024 * 1024 - 1));
    refused(announce(0x32, 256 * 1024 * 1024 - 1).subarray(0, 4)); // not even the whole length has come
  });

  for (const [what, bytes] of [
    ['an acknowledgement of a thousand bytes', announce(0x40, 1_000)],
    ['a length of five bytes', Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 0x01])],
    ['a length without end', Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80])],
    ['QoS 2, which would be kept until it is released', Buffer.from([0x34, 0x05])],
    ['QoS 3', Buffer.from([0x36, 0x05])],
    ['a CONNECT', generate({ cmd: 'connect', clientId: 'x', protocolId: 'MQTT', protocolVersion: 4 })],
    ['a SUBSCRIBE', Buffer.from([0x82, 0x00])],
    ['a DISCONNECT', Buffer.from([0xe0, 0x00])],
    ['a packet of type 0', Buffer.from([0x00, 0x00])],
    ['a packet of type 15', Buffer.from([0xf0, 0x00])],
  ] as const) {
    it(`refuses ${what}`, () => refused(bytes));
  }

  it('ignores all input after a refusal', () => {
    const packets: Buffer[] = [];
    const guard = new PacketGuard((whole) => packets.push(whole));
    assert.throws(() => guard.push(Buffer.from([0x00])), ProtocolViolation);
    guard.push(generate({ cmd: 'pingresp' }));
    assert.deepEqual(packets, []);
  });

  it('keeps an unfinished packet that comes byte by byte in little more than its bytes', () => {
    const guard = new PacketGuard(() => {});
    guard.push(announce(0x30, LARGEST_PUBLISH));
    const before = process.memoryUsage().arrayBuffers;
    const piece = Buffer.alloc(1);
    for (let byte = 0; byte < 300_000; byte += 1) guard.push(piece);
    const kept = process.memoryUsage().arrayBuffers - before;
    assert.ok(kept < 2 * 1024 * 1024, `${kept} bytes`); // including memory in use before, and garbage not collected yet
  });

  it('keeps of an unfinished packet at most twice what has come, whatever it announces', () => {
    const guard = new PacketGuard(() => {});
    const header = announce(0x30, LARGEST_PUBLISH);
    const piece = Buffer.alloc(20 * 1024);
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    guard.push(header);
    guard.push(piece);
    const kept = process.memoryUsage().arrayBuffers - before;
    assert.ok(kept < 64 * 1024, `${kept} bytes`);
  });
});
