import { Agent } from 'node:https';
import { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { type Duration, seconds } from '../base/duration.ts';

/** How many requests are made at once: more are only throttled by the hub. */
export const AT_ONCE = 5;

/** How long a connection may be silent, beyond what its request allows. */
const SILENCE: Duration = seconds(30);

export interface HubAgentOptions {
  /** `host:port` to connect to instead; the hub's name is still what the certificate must be for. */
  readonly gateway?: string | undefined;
  /** PEM; trusted instead of the authorities that Node trusts. */
  readonly ca?: string | undefined;
  readonly clock: Clock;
  readonly silence?: Duration;
}

/**
 * Connects the SDK to the hub. Adds what the SDK lacks: a limit on connections, and an end for those that the hub leaves
 * without an answer (the SDK sets time-outs but never acts on them).
 */
export class HubAgent extends Agent {
  readonly #clock: Clock;
  readonly #silence: Duration;
  readonly #gateway: { readonly host: string; readonly port: number } | undefined;

  constructor({ gateway, ca, clock, silence = SILENCE }: HubAgentOptions) {
    super({ keepAlive: true, maxSockets: AT_ONCE, timeout: silence, ...(ca === undefined ? {} : { ca }) });
    this.#silence = silence;
    this.#clock = clock;
    const [host = '', port = '443'] = gateway?.split(/:(?=\d+$)/) ?? [];
    this.#gateway = gateway === undefined ? undefined : { host, port: Number(port) };
  }

  override createConnection(...[options, connected]: Parameters<Agent['createConnection']>) {
    const through = { ...options, ...this.#gateway, servername: options.host ?? '' };
    const stream = super.createConnection(through, connected);
    if (stream instanceof Socket) endWhenSilent(stream, this.#silence, this.#clock);
    return stream;
  }
}

/**
 * Ends a connection that stays silent after its time-out. A direct method's time-out is the hub's own, too: its answer that
 * the device was silent comes a moment later.
 */
function endWhenSilent(socket: Socket, silence: Duration, clock: Clock): void {
  const closed = new AbortController();
  socket.once('close', () => closed.abort());
  socket.on('timeout', async () => {
    const { bytesRead } = socket;
    await clock.sleep(silence, closed.signal);
    if (socket.bytesRead === bytesRead)
      socket.destroy(Object.assign(new Error('the hub does not answer'), { code: 'ETIMEDOUT' }));
  });
}
