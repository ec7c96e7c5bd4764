import mqttPacket from 'mqtt-packet';

/** What came is nothing that a hub says to a module. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation';
}

/**
 * Of a PUBLISH, in bytes: above the largest twin that a hub can send (32 KB a section, with a time for every property), and
 * above the 128 KiB of a direct method and the 256 KiB of a message.
 */
export const LARGEST_PUBLISH = 1024 * 1024;
/** Of an acknowledgement; the longest is of a subscription, a byte for each topic. */
const LARGEST_OTHER = 128;
const FIRST_CAPACITY = 4 * 1024;

const PUBLISH = 3;
/** What a server may send in MQTT 3.1.1, by number: CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, PINGRESP. */
const SERVER_TYPES = new Set([2, PUBLISH, 4, 5, 6, 7, 9, 11, 13]);

/**
 * Stands before the parser, and hands whole packets to it. The parser keeps every piece of a packet until the last has
 * come, up to the 256 MiB that MQTT allows, and a piece of one byte as an object of its own.
 *
 * - A packet is refused by the length that it announces, before any of it is kept.
 * - What is kept is one buffer, never larger than twice what has come of it.
 * - Delivery "exactly once" (QoS 2) is refused: MQTT.js keeps such messages until the server releases them, and a module
 *   subscribes to none.
 */
export class PacketGuard {
  readonly #pass: (packets: Buffer) => void;
  /** Of the packet that is coming: what has come, of which `#length` bytes count. */
  #kept = Buffer.alloc(0);
  #length = 0;
  /** Of its header, the first byte; -1 before that. */
  #first = -1;
  /** Of its length, what has been read so far. */
  #announced = 0;
  #scale = 1;
  /** Bytes that are still to come; undefined while the header is read. */
  #missing: number | undefined;
  #broken = false;

  /** @param pass gets one or more whole packets */
  constructor(pass: (packets: Buffer) => void) {
    this.#pass = pass;
  }

  /** @throws {ProtocolViolation} once; afterwards nothing is taken any more */
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
      throw new ProtocolViolation(`it announced a packet of ${this.#announced} bytes or more; ${most} are allowed`);
    }
    if ((byte & 0x80) === 0) this.#missing = this.#announced;
    else if (this.#scale === 0x80 ** 4) throw new ProtocolViolation('it announced a packet without a length');
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

/** What MQTT.js makes parsers with; it asks the module for it at each connection. */
type MakeParser = (options?: object) => {
  parse(chunk: Buffer): number;
  emit(event: 'error', error: Error): boolean;
};

/** Puts a guard before every parser that MQTT.js makes from now on. */
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
      return 0; // nobody asks how much is left
    };
    return parser;
  };
}
