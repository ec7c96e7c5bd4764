import { randomInt } from 'node:crypto';
import { AgentError, errnoOf, messageOf } from '../../../base/errors.ts';
import { systemError } from '../../audit/errno.ts';
import { droppedDatagrams } from '../../native/netlink/known-sockets.ts';
import { NETLINK_CONNECTOR, type NetlinkSocket, openNetlink } from '../../native/netlink/socket.ts';
import {
  decodeEvent,
  encodeRequest,
  GROUPS,
  IGNORE,
  LISTEN,
  MESSAGE_TYPE,
  NONE,
  type ProcessEvent,
} from './messages.ts';

/** Holds some 10,000 events, of which a machine with two cores makes at most 2,500 of a kind in a second. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
/** An event has 76 bytes. */
const LONGEST_DATAGRAM_BYTES = 512;

/**
 * A listener of the kernel's process connector: every process of the machine, whoever runs it.
 *
 * The kernel throws away what `filter` doesn't keep, where it can be told to; so whoever reads must still look at what it
 * gets. Kernels from 6.6 on have an event mask to the same effect. It is not used: a listener that sets one gets no
 * answer any more by which it could tell whether it is heard, and none of the two costs less.
 */
export class ProcessConnector {
  readonly #socket: NetlinkSocket;
  readonly #buffer = Buffer.allocUnsafeSlow(LONGEST_DATAGRAM_BYTES);
  readonly #view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, this.#buffer.length);
  /** As it was when it was last asked for; `undefined` when nobody says. */
  #dropped: number | undefined;
  #overruns: number;
  #open = true;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
    this.#listen();
    this.#dropped = droppedDatagrams(socket.fd);
    this.#overruns = socket.overruns;
  }

  /**
   * Starts to listen. What happened before isn't given out.
   *
   * @param filter see socket-filter.ts; it must let answers through
   * @param open for tests
   * @throws AgentError SOCKET_UNAVAILABLE
   */
  static open(filter: Buffer, open: typeof openNetlink = openNetlink): ProcessConnector {
    let socket: NetlinkSocket | undefined;
    try {
      socket = open(NETLINK_CONNECTOR, { groups: GROUPS, receiveBufferBytes: RECEIVE_BUFFER_BYTES, filter });
      return new ProcessConnector(socket);
    } catch (error) {
      socket?.close();
      throw unavailable(error);
    }
  }

  /**
   * Takes the next datagram, if any waits.
   *
   * @returns whether there was one; not each is an event
   * @throws AgentError SOCKET_UNAVAILABLE
   */
  read(take: (event: ProcessEvent) => void): boolean {
    let length: number | undefined;
    try {
      length = this.#socket.read(this.#buffer);
    } catch (error) {
      throw unavailable(error);
    }
    if (length === undefined) return false;
    const event = decodeEvent(this.#view, length);
    if (event !== undefined) take(event);
    return true;
  }

  /** Puts another filter in the place of the first. */
  filter(program: Buffer): void {
    this.#socket.filter(program);
  }

  /** How often the kernel said that it had to throw events away. */
  get overruns(): number {
    return this.#socket.overruns;
  }

  /**
   * How many events it threw away since this was last asked; without /proc, at least how many. To be asked when the
   * socket has just been drained: until then it goes on throwing away.
   */
  takeDropped(): number {
    const overruns = this.overruns - this.#overruns;
    this.#overruns = this.overruns;
    const dropped = droppedDatagrams(this.#socket.fd);
    const since = dropped === undefined || this.#dropped === undefined ? 0 : (dropped - this.#dropped) >>> 0;
    this.#dropped = dropped;
    return Math.max(since, overruns);
  }

  /** Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    try {
      // Before 6.6 the kernel only counts listeners: without this it would go on making events for nobody.
      this.#request(IGNORE);
    } catch {
      // Nothing to be done: it is closed all the same.
    }
    this.#socket.close();
  }

  /**
   * Asks for the events, and waits for no answer: the kernel has given it, as one more event, when it has taken the
   * request. It gives none to those whom it doesn't heed, in a pid or user namespace.
   */
  #listen(): void {
    while (this.read(() => {})); // A full queue would have no room for the answer.
    const expected = (this.#request(LISTEN) + 1) >>> 0;
    let errno: number | undefined;
    const find = (event: ProcessEvent) => {
      if (event.what === NONE && event.acknowledgement === expected) errno = event.errno;
    };
    while (errno === undefined) if (!this.read(find)) throw unheard();
    if (errno !== 0) throw systemError(errno, 'listening to the process connector');
  }

  /** @returns what the answer is to be known by */
  #request(operation: typeof LISTEN | typeof IGNORE): number {
    const acknowledgement = randomInt(2 ** 32);
    this.#socket.send(MESSAGE_TYPE, 0, encodeRequest(operation, acknowledgement));
    return acknowledgement;
  }
}

const NO_SUPPORT = 'Use a kernel with CONFIG_CONNECTOR=y and CONFIG_PROC_EVENTS=y.';
const NOT_ALLOWED = 'Grant CAP_NET_ADMIN, which kernels before 6.6 require.';
const REMEDIES: Readonly<Record<string, string>> = {
  EPERM: NOT_ALLOWED,
  EACCES: NOT_ALLOWED,
  EPROTONOSUPPORT: NO_SUPPORT,
  ECONNREFUSED: "Run it in the host's network namespace (podman: --net=host).",
};

const unheard = () =>
  new AgentError(
    'SOCKET_UNAVAILABLE',
    "The kernel's process connector doesn't answer.",
    `Run it in the host's pid and user namespaces (podman: --pid=host), on a kernel with CONFIG_PROC_EVENTS=y.`,
  );

function unavailable(error: unknown): AgentError {
  const refusal = error instanceof AgentError ? error.cause : error;
  const remedy = REMEDIES[errnoOf(refusal) ?? ''];
  if (remedy === undefined && error instanceof AgentError) return error; // it says more: koffi has no binary, for one
  const what = `The kernel's process connector is not available (${messageOf(refusal)}).`;
  return new AgentError('SOCKET_UNAVAILABLE', what, remedy ?? 'Look up the error in errno(3).', { cause: error });
}
