import { readU32, writeU32 } from '../../../../src/agent/linux/native/byte-order.ts';
import { encodeMessage, NLMSG_DONE, NLMSG_ERROR } from '../../../../src/agent/linux/native/netlink/message.ts';
import { NetlinkSocket } from '../../../../src/agent/linux/native/netlink/socket.ts';

/** Flags of the messages of a dump: netlink(7). */
export const NLM_F_MULTI = 2;
/** Of errno.h. */
export const ENOENT = 2;

interface Answer {
  readonly family?: 2 | 10;
  readonly state?: number;
  readonly timer?: number;
  readonly localPort?: number;
  readonly remotePort?: number;
  /** In hexadecimal digits. */
  readonly local?: string;
  readonly remote?: string;
  readonly interfaceIndex?: number;
  readonly expires?: number;
  readonly userId?: number;
  readonly inode?: number;
}

/** A struct inet_diag_msg: by default, of a listener on port 22. */
export function inetDiag({
  family = 2,
  state = 10,
  timer = 0,
  localPort = 22,
  remotePort = 0,
  local = '00000000',
  remote = '00000000',
  interfaceIndex = 0,
  expires = 0,
  userId = 0,
  inode = 1234,
}: Answer = {}): Buffer {
  const bytes = Buffer.alloc(72);
  bytes[0] = family;
  bytes[1] = state;
  bytes[2] = timer;
  bytes.writeUInt16BE(localPort, 4);
  bytes.writeUInt16BE(remotePort, 6);
  bytes.write(local, 8, 'hex');
  bytes.write(remote, 24, 'hex');
  writeU32(bytes, 40, interfaceIndex);
  writeU32(bytes, 52, expires);
  writeU32(bytes, 64, userId);
  writeU32(bytes, 68, inode);
  return bytes;
}

/** The end of a dump, with the error that it failed with: by default, it is complete. */
export function done(errno = 0, sequence = 1): Buffer {
  const error = Buffer.alloc(4);
  writeU32(error, 0, -errno);
  return encodeMessage(NLMSG_DONE, NLM_F_MULTI, sequence, error);
}

/** Gives datagrams instead of the kernel. */
export class Replay extends NetlinkSocket {
  readonly #datagrams: Buffer[];

  constructor(...datagrams: Buffer[]) {
    super(-1, () => {});
    this.#datagrams = datagrams;
  }
  override send = () => 1;
  override receive = () => this.#datagrams.shift();
}

/** Answers requests as the kernel does, but that it chooses by family, protocol and states alone. */
export class FakeSockDiag extends NetlinkSocket {
  readonly tcp: Buffer[] = [];
  readonly udp: Buffer[] = [];
  readonly requests: Buffer[] = [];
  /** What the next request is refused with. */
  errno: number | undefined;
  /** Whether the kernel has no inet_diag for UDP. */
  isWithoutUdp = false;
  isClosed = false;
  #answers: Buffer[] = [];
  #count = 0;

  constructor() {
    super(-1, () => {
      this.isClosed = true;
    });
  }

  override send = (type: number, _flags: number, request: Buffer): number => {
    this.#count += 1;
    this.requests.push(Buffer.from(request));
    if (this.errno !== undefined) {
      const error = Buffer.alloc(20);
      writeU32(error, 0, -this.errno);
      this.#answers = [encodeMessage(NLMSG_ERROR, 0, this.#count, error)];
      return this.#count;
    }
    const isOldForm = type === 18;
    const [family, protocol] = [request[0], isOldForm ? 6 : request[1]];
    if (protocol === 17 && this.isWithoutUdp) {
      this.#answers = [done(ENOENT, this.#count)];
      return this.#count;
    }
    const states = readU32(request, isOldForm ? 52 : 4);
    const chosen = (protocol === 6 ? this.tcp : this.udp).filter(
      (socket) => (family === 0 || socket[0] === family) && ((states >> (socket[1] ?? 0)) & 1) === 1,
    );
    this.#answers = [
      ...chosen.map((socket) => encodeMessage(type, NLM_F_MULTI, this.#count, socket)),
      done(0, this.#count),
    ];
    return this.#count;
  };
  override receive = () => this.#answers.shift();
}
