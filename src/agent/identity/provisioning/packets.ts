/** In bytes. An answer of the service has 2 KB. */
const MAX_PACKET_BYTES = 64 * 1024;

const CONNACK = 2;
const PUBLISH = 3;
const PUBACK = 4;
const SUBACK = 9;
const PINGRESP = 13;

/**
 * Cuts a stream into whole MQTT packets (MQTT 3.1.1, 2.2). A packet that is too large, or of a type that the service has no
 * reason to send, is refused by its header, before any of it is kept: the parser of mqtt-packet has no limit.
 */
export class PacketCutter {
  #kept: Buffer = Buffer.alloc(0);

  /** @returns the packets that are complete now. @throws Error for a packet that the service never sends */
  push(chunk: Buffer): Buffer[] {
    this.#kept = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk]);
    const packets: Buffer[] = [];
    for (;;) {
      const length = lengthOf(this.#kept);
      if (length === undefined || this.#kept.length < length) return packets;
      packets.push(this.#kept.subarray(0, length));
      this.#kept = this.#kept.subarray(length);
    }
  }
}

/** The length of the packet that begins a buffer, header included; `undefined` while the header is incomplete. */
function lengthOf(buffer: Buffer): number | undefined {
  const [first] = buffer;
  if (first === undefined) return undefined;
  if (!isExpected(first)) throw new Error(`a packet that begins with ${first} arrived`);
  let length = 0;
  for (let at = 1; at <= 4; at++) {
    const byte = buffer[at];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * 0x80 ** (at - 1);
    if (length > MAX_PACKET_BYTES) throw new Error(`a packet of at least ${length} bytes arrived`);
    if ((byte & 0x80) === 0) return 1 + at + length;
  }
  throw new Error('a packet with a malformed length arrived');
}

function isExpected(first: number): boolean {
  const type = first >> 4;
  const flags = first & 0x0f;
  const isQos2 = (flags & 0b0100) !== 0;
  return type === PUBLISH ? !isQos2 : flags === 0 && [CONNACK, PUBACK, SUBACK, PINGRESP].includes(type);
}
