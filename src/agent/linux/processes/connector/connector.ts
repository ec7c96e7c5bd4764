import { randomInt } from 'node:crypto';
import { AgentError, errnoOf, messageOf } from '../../../../core/base/errors.ts';
import { systemError } from '../../audit/audit-errors.ts';
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

/** Holds about 20,000 events; a machine with two cores makes at most 2,500 of one kind per second. */
const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;
/** An event has 76 bytes. */
const LONGEST_DATAGRAM_BYTES = 512;
/** Datagrams in which the answer is looked for: more than the buffer holds. Without a filter, any user can send more. */
const MAX_DATAGRAMS_BEFORE_ANSWER = 65_536;

/** Makes a filter, see socket-filter.ts, that also passes the answer of this number, if one is given. */
export type FilterFor = (answer?: number) => Buffer;

/**
 * A listener on the kernel's process connector, which reports every process of the machine, of all users.
 *
 * The kernel drops what `filter` rejects, where it supports filters; so the reader must still check what it gets. Kernels
 * from 6.6 on also have an event mask. It is not used: a listener with a mask gets no answer by which it could tell whether
 * it is registered, and it costs the same.
 */
export class ProcessConnector {
  readonly #socket: NetlinkSocket;
  readonly #buffer = Buffer.allocUnsafeSlow(LONGEST_DATAGRAM_BYTES);
  readonly #view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, this.#buffer.length);
  /** The socket's dropped datagrams at the last query; `undefined` when it is not known. */
  #dropped: number | undefined;
  #overruns: number;
  #open = true;

  private constructor(socket: NetlinkSocket, acknowledgement: number) {
    this.#socket = socket;
    this.#listen(acknowledgement);
    this.#dropped = droppedDatagrams(socket.fd);
    this.#overruns = socket.overruns;
  }

  /**
   * Starts listening. Earlier events are not delivered.
   *
   * @param open for tests
   * @throws AgentError SOCKET_UNAVAILABLE
   */
  static open(filterFor: FilterFor, open: typeof openNetlink = openNetlink): ProcessConnector {
    const acknowledgement = randomInt(2 ** 32);
    const filter = filterFor(answerTo(acknowledgement));
    let socket: NetlinkSocket | undefined;
    try {
      socket = open(NETLINK_CONNECTOR, { groups: GROUPS, receiveBufferBytes: RECEIVE_BUFFER_BYTES, filter });
      const connector = new ProcessConnector(socket, acknowledgement);
      socket.filter(filterFor());
      return connector;
    } catch (error) {
      socket?.close();
      throw unavailable(error);
    }
  }

  /**
   * Reads the next datagram, if there is one.
   *
   * @returns whether there was one; not every datagram is an event
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

  /** Replaces the filter. */
  filter(program: Buffer): void {
    this.#socket.filter(program);
  }

  /** See NetlinkSocket. */
  announceArrivals(isOn: boolean): boolean {
    return this.#socket.announceArrivals(isOn);
  }

  /** How often the kernel reported that it dropped events. */
  get overruns(): number {
    return this.#socket.overruns;
  }

  /**
   * Number of events dropped since the last call; a lower bound where droppedDatagrams has no answer. Call it when the socket
   * was just drained: the kernel drops events until then.
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
      // Before 6.6 the kernel only counts listeners: without this it would continue to make events.
      this.#request(IGNORE, randomInt(2 ** 32));
    } catch {
      // Ignored: the socket is closed in any case.
    }
    this.#socket.close();
  }

  /**
   * Requests events without waiting for the answer: the kernel sends it as another event when it has accepted the request. It
   * sends none to a process in a PID or user namespace, whose requests it ignores.
   */
  #listen(acknowledgement: number): void {
    // Frees queue space for the answer.
    for (let left = MAX_DATAGRAMS_BEFORE_ANSWER; left > 0 && this.read(() => {}); left -= 1);
    this.#request(LISTEN, acknowledgement);
    const expected = answerTo(acknowledgement);
    let errno: number | undefined;
    const find = (event: ProcessEvent) => {
      if (event.what === NONE && event.acknowledgement === expected) errno = event.errno;
    };
    for (let left = MAX_DATAGRAMS_BEFORE_ANSWER; errno === undefined; left -= 1)
      if (left === 0 || !this.read(find)) throw noAnswerError();
    if (errno !== 0) throw systemError(errno, 'listening to the process connector');
  }

  #request(operation: typeof LISTEN | typeof IGNORE, acknowledgement: number): void {
    this.#socket.send(MESSAGE_TYPE, 0, encodeRequest(operation, acknowledgement));
  }
}

/** The number of the kernel's answer to a request; nothing else identifies it. */
const answerTo = (acknowledgement: number): number => (acknowledgement + 1) >>> 0;

const NO_SUPPORT = 'Use a kernel with CONFIG_CONNECTOR=y and CONFIG_PROC_EVENTS=y.';
const NOT_ALLOWED = 'Grant CAP_NET_ADMIN, which kernels before 6.6 require.';
const REMEDIES: Readonly<Record<string, string>> = {
  EPERM: NOT_ALLOWED,
  EACCES: NOT_ALLOWED,
  EPROTONOSUPPORT: NO_SUPPORT,
  ECONNREFUSED: "Run it in the host's network namespace (podman: --net=host).",
};

const noAnswerError = () =>
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
