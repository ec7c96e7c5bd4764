import mqttPacket from 'mqtt-packet';

/** The peer sent a packet that a hub never sends to a module. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation';
}

/**
 * Limit for a PUBLISH, in bytes. More than the largest twin (32 KB per section, with a time for every property), the 128 KiB
 * of a direct method and the 256 KiB of a message.
 */
export const LARGEST_PUBLISH = 1024 * 1024;
/** Limit for any other packet, in bytes. The longest is SUBACK, with a byte per topic. */
const LARGEST_OTHER = 128;
const FIRST_CAPACITY = 4 * 1024;

const PUBLISH = 3;
/** Packet types of an MQTT 3.1.1 server: CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, PINGRESP. */
const SERVER_TYPES = new Set([2, PUBLISH, 4, 5, 6, 7, 9, 11, 13]);

/**
 * Passes only whole packets to the parser. MQTT.js's parser keeps every chunk of an unfinished packet, even of one byte, as
 * an object of its own, up to the 256 MiB that MQTT allows.
 *
 * - A packet is refused by the length in its header, before any of it is buffered.
 * - An unfinished packet is kept in one buffer, at most twice as large as the bytes received (at least 4 KiB).
 * - QoS 2 is refused: MQTT.js keeps such messages until the server releases them, and a module subscribes to none.
 */
export class PacketGuard {
  readonly #pass: (packets: Buffer) => void;
  /** The unfinished packet; its first `#length` bytes are valid. */
  #kept = Buffer.alloc(0);
  #length = 0;
  /** First byte of the current header; -1 before it is read. */
  #first = -1;
  /** The packet's length field, as far as decoded. */
  #announced = 0;
  #scale = 1;
  /** Bytes of the current packet still to be received; undefined while the header is read. */
  #missing: number | undefined;
  #broken = false;

  /** @param pass called with one or more whole packets */
  constructor(pass: (packets: Buffer) => void) {
    this.#pass = pass;
  }

  /** @throws {ProtocolViolation} once; later chunks are ignored */
  push(chunk: Buffer): void {
    if (this.#broken) return;
    let whole = 0;
    try {
      for (let at = 0; at < chunk.length; ) {
        at = this.#missing === undefined ? this.#readHeader(chunk, at) : this.#skip(chunk, at);
        if (this.#missing !== 0) continue;
        whole = at;
        this.#begin();
      }
    } catch (violation) {
      this.#broken = true;
      this.#kept = Buffer.alloc(0);
      throw violation;
    }
    if (whole > 0) {
      this.#pass(this.#length === 0 ? chunk.subarray(0, whole) : this.#complete(chunk.subarray(0, whole)));
    }
    if (whole < chunk.length) this.#keep(chunk.subarray(whole));
  }

  #begin(): void {
    this.#first = -1;
    this.#announced = 0;
    this.#scale = 1;
    this.#missing = undefined;
  }

  #readHeader(chunk: Buffer, at: number): number {
    const byte = chunk[at] ?? 0;
    if (this.#first < 0) {
      const type = byte >> 4;
      if (!SERVER_TYPES.has(type)) throw new ProtocolViolation(`it sent a packet of type ${type}`);
      if (type === PUBLISH && (byte & 0b0100) !== 0) throw new ProtocolViolation('it sent a message with QoS 2');
      this.#first = byte;
      return at + 1;
    }
    this.#announced += (byte & 0x7f) * this.#scale;
    this.#scale *= 0x80;
    const most = this.#first >> 4 === PUBLISH ? LARGEST_PUBLISH : LARGEST_OTHER;
    if (this.#announced > most) {
      throw new ProtocolViolation(`it announced a packet of at least ${this.#announced} bytes; the limit is ${most}`);
    }
    if ((byte & 0x80) === 0) this.#missing = this.#announced;
    else if (this.#scale === 0x80 ** 4) throw new ProtocolViolation('it sent a packet whose length field is malformed');
    return at + 1;
  }

  #skip(chunk: Buffer, at: number): number {
    const bytes = Math.min(this.#missing ?? 0, chunk.length - at);
    this.#missing = (this.#missing ?? 0) - bytes;
    return at + bytes;
  }

  #keep(piece: Buffer): void {
    const length = this.#length + piece.length;
    if (length > this.#kept.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_CAPACITY, length, 2 * this.#length));
      this.#kept.copy(larger, 0, 0, this.#length);
      this.#kept = larger;
    }
    piece.copy(this.#kept, this.#length);
    this.#length = length;
  }

  #complete(rest: Buffer): Buffer {
    const packets = Buffer.concat([this.#kept.subarray(0, this.#length), rest]);
    this.#kept = Buffer.alloc(0);
    this.#length = 0;
    return packets;
  }
}

/** The parser factory of mqtt-packet. MQTT.js calls it through the module object for each connection, so it can be replaced. */
type MakeParser = (options?: object) => {
  parse(chunk: Buffer): number;
  emit(event: 'error', error: Error): boolean;
};

/** Puts a guard before every parser that MQTT.js creates after this call. */
export function guardParsers(): void {
  const library = mqttPacket as unknown as { parser: MakeParser };
  const make = library.parser.bind(library);
  library.parser = (options) => {
    const parser = make(options);
    const parse = parser.parse.bind(parser);
    const guard = new PacketGuard(parse);
    parser.parse = (chunk) => {
      try {
        guard.push(chunk);
      } catch (violation) {
        parser.emit('error', violation as Error);
      }
      return 0; // MQTT.js ignores the number of bytes left
    };
    return parser;
  };
}
