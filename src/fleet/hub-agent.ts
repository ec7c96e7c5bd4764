import { setMaxListeners } from 'node:events';
import { Agent, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../core/base/duration.ts';
import { addressOf } from '../core/network/address.ts';
import type { Network } from '../core/network/network.ts';

/** How many requests are made at once, and so how many connections: more are only throttled by the hub. */
export const AT_ONCE = 5;

/** How long a connection may be silent, beyond what its request allows; it is ended within twice this time. */
const SILENCE: Duration = seconds(30);

const HTTPS_PORT = 443;

export interface HubAgentOptions {
  /** Opens the connections: names, proxy, TLS, time limits. */
  readonly network: Network;
  /** `host:port` to connect to instead; the hub's name is still what the certificate must be for. */
  readonly gateway?: string | undefined;
  readonly clock: Clock;
  readonly silence?: Duration;
}

/**
 * Connects the SDK to the hub, in the agent's way. Adds what the SDK lacks: an end for connections that the hub leaves
 * without an answer (the SDK sets time-outs but never acts on them).
 */
export class HubAgent extends Agent {
  readonly #network: Network;
  readonly #gateway: string | undefined;
  readonly #clock: Clock;
  readonly #silence: Duration;
  readonly #closed = new AbortController();

  constructor({ network, gateway, clock, silence = SILENCE }: HubAgentOptions) {
    super({ keepAlive: true });
    setMaxListeners(0, this.#closed.signal); // one for each connection that is being opened; Node warns above 10
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

  /** Closes all connections, those that are being opened included. */
  override destroy(): void {
    this.#closed.abort();
    super.destroy();
  }
}

/**
 * Ends a connection over which nothing has passed for `silence`, beyond the time-out that the SDK has set for its request:
 * a direct method's is the hub's own, too, whose answer that the device was silent comes a moment later.
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
