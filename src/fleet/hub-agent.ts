import { setMaxListeners } from 'node:events';
import { Agent, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../core/base/duration.ts';
import { addressOf } from '../core/network/address.ts';
import type { Network } from '../core/network/network.ts';

/** Maximum number of parallel requests, and so of connections: the hub would only throttle more. */
export const AT_ONCE = 5;

/** Idle time of a connection, beyond its request's time limit, after which it is closed within twice this time. */
const SILENCE: Duration = seconds(30);

const HTTPS_PORT = 443;

export interface HubAgentOptions {
  /** Opens the connections: names, proxy, TLS, time limits. */
  readonly network: Network;
  /** `host:port` to connect to instead; the certificate must still be for the hub's name. */
  readonly gateway?: string | undefined;
  readonly clock: Clock;
  readonly silence?: Duration;
}

/**
 * Connects the SDK to the hub as the agent connects. Closes connections that the hub leaves without an answer: the SDK sets
 * timeouts but never acts on them.
 */
export class HubAgent extends Agent {
  readonly #network: Network;
  readonly #gateway: string | undefined;
  readonly #clock: Clock;
  readonly #silence: Duration;
  readonly #closed = new AbortController();

  constructor({ network, gateway, clock, silence = SILENCE }: HubAgentOptions) {
    super({ keepAlive: true });
    setMaxListeners(0, this.#closed.signal); // one per opening connection; Node warns above 10
    this.#network = network;
    this.#gateway = gateway;
    this.#clock = clock;
    this.#silence = silence;
  }

  override createConnection(
    { host, port }: RequestOptions,
    connected: (error: Error | null, stream?: Duplex) => void,
  ): undefined {
    void this.#connect(host ?? '', Number(port ?? HTTPS_PORT)).then((socket) => connected(null, socket), connected);
  }

  async #connect(serverName: string, port: number): Promise<TLSSocket> {
    const address = this.#gateway === undefined ? { host: serverName, port } : addressOf(this.#gateway, HTTPS_PORT);
    const socket = await this.#network.connect({ ...address, serverName }, this.#closed.signal);
    void endWhenSilent(socket, this.#silence, this.#clock);
    return socket;
  }

  /** Closes all connections, including those being opened. */
  override destroy(): void {
    this.#closed.abort();
    super.destroy();
  }
}

/**
 * Closes a connection without traffic for `silence`, beyond the timeout that the SDK has set for its request. A direct
 * method's timeout is also the hub's, whose answer that the device did not respond arrives a moment later.
 */
async function endWhenSilent(socket: TLSSocket, silence: Duration, clock: Clock): Promise<void> {
  const closed = new AbortController();
  socket.once('close', () => closed.abort());
  for (let before = -1; !closed.signal.aborted; ) {
    const passed = socket.bytesRead + socket.bytesWritten;
    if (passed === before) socket.destroy(Object.assign(new Error('the hub does not answer'), { code: 'ETIMEDOUT' }));
    before = passed;
    await clock.sleep(milliseconds(silence + (socket.timeout ?? 0)), closed.signal);
  }
}
