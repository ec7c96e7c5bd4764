import { EventEmitter } from 'node:events';
import { createServer, type IncomingMessage, STATUS_CODES } from 'node:http';
import { connect, type Socket } from 'node:net';
import { type Clock, systemClock } from '../core/base/clock.ts';
import { minutes } from '../core/base/duration.ts';
import { hubNamesOf } from '../core/contract/hub-names.ts';
import { type Endpoint, Listener } from './listener.ts';
import { waitFor } from './waiting.ts';

/** How the proxy treats requests: `refuse` answers 403, `unavailable` 502, `garbage` something that is not HTTP. */
export type ProxyBehaviour = 'connect' | 'refuse' | 'unavailable' | 'silent' | 'close' | 'garbage';

/** A user name with its password. */
export interface ProxyUser {
  readonly name: string;
  readonly password: string;
}

export interface ProxyOptions extends Partial<Endpoint> {
  /** The required user. Default: none, anyone can use it without a password. */
  readonly user?: ProxyUser;
  /**
   * Replacements for targets (`host:port`): a port of the loopback interface, or another `host:port`. Other targets are
   * reached only on the loopback interface, so that no test leaves the machine.
   */
  readonly routes?: Readonly<Record<string, number | string>>;
  readonly clock?: Clock;
}

/** A request for a tunnel. Never contains a password. */
export interface ProxyRequest {
  readonly at: Date;
  /** The requested `host:port`. */
  readonly target: string;
  readonly userAgent?: string;
  /** The user name that the client sent. */
  readonly user?: string;
  /** 200 if the tunnel was opened; omitted if the request was not answered. */
  readonly status?: number;
}

/** Address to connect to. */
interface Target {
  readonly host: string;
  readonly port: number;
}

/** The properties of a hub that `routeTo` needs. */
interface Routed {
  readonly hostName: string;
  readonly port: number;
  readonly webSocketPort: number;
}

const REQUESTS_KEPT = 10_000;

/**
 * An HTTP proxy that opens tunnels by CONNECT (RFC 9110, 9.3.6), on the loopback interface. Emits `request`
 * (ProxyRequest).
 */
export class ProxyEmulator extends EventEmitter {
  /** Oldest first. */
  readonly requests: ProxyRequest[] = [];
  readonly #clock: Clock;
  readonly #routes: Map<string, number | string>;
  readonly #behaviours = new Map<string, ProxyBehaviour>();
  readonly #tunnels = new Set<Socket>();
  #user: ProxyUser | undefined;
  #listener: Listener | undefined;

  private constructor({ user, routes = {}, clock = systemClock }: ProxyOptions) {
    super();
    this.setMaxListeners(0);
    this.#user = user;
    this.#clock = clock;
    this.#routes = new Map(Object.entries(routes).map(([target, to]) => [target.toLowerCase(), to]));
  }

  static async start(options: ProxyOptions = {}): Promise<ProxyEmulator> {
    const proxy = new ProxyEmulator(options);
    const server = createServer((_request, response) => {
      response.writeHead(405, { allow: 'CONNECT' }).end();
    });
    server.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) =>
      proxy.#serve(request, socket, head),
    );
    server.on('clientError', (_error, socket) => socket.destroy());
    proxy.#listener = await Listener.open({ port: 0, ...options }, server);
    return proxy;
  }

  get port(): number {
    return this.#listener?.port ?? 0;
  }

  /** Number of open tunnels. */
  get tunnels(): number {
    return this.#tunnels.size;
  }

  /** Leads `host:port` to a port of this machine, or to another `host:port`. */
  route(target: string, to: number | string): void {
    this.#routes.set(target.toLowerCase(), to);
  }

  /** Leads port 8883 and 443 of each of the hub's names to an emulator. */
  routeTo({ hostName, port, webSocketPort }: Routed): void {
    for (const name of Object.values(hubNamesOf(hostName))) {
      this.route(`${name}:8883`, port);
      this.route(`${name}:443`, webSocketPort);
    }
  }

  /** Changes how requests are treated: all, those for one `host:port`, or for a port of any host, `*:8883`. */
  behave(behaviour: ProxyBehaviour, target = '*'): void {
    this.#behaviours.set(target.toLowerCase(), behaviour);
  }

  /** Changes the required user; without one, anyone can use the proxy. */
  setUser(user?: ProxyUser): void {
    this.#user = user;
  }

  /** Closes all tunnels. */
  closeTunnels(): void {
    for (const socket of this.#tunnels) socket.destroy();
  }

  /** Resolves with the first matching request, among those before and after the call. */
  waitForRequest(predicate: (request: ProxyRequest) => boolean, limit = minutes(1)): Promise<ProxyRequest> {
    return waitFor({ source: this, event: 'request', existing: this.requests, clock: this.#clock }, predicate, limit);
  }

  /** Closes the listener and every tunnel. */
  async offline(): Promise<void> {
    await this.#listener?.shut();
    this.closeTunnels();
  }

  /** Listens on the same port again. */
  async online(): Promise<void> {
    await this.#listener?.open();
  }

  async stop(): Promise<void> {
    await this.offline();
    await this.#listener?.close();
  }

  #serve({ url = '', headers }: IncomingMessage, client: Socket, head: Buffer): void {
    const target = url.toLowerCase();
    const { 'user-agent': userAgent, 'proxy-authorization': authorization } = headers;
    const sent = parseBasic(authorization);
    const record = {
      at: this.#clock.now(),
      target: url,
      ...(userAgent === undefined ? {} : { userAgent }),
      ...(sent === undefined ? {} : { user: sent.name }),
    };
    const answer = (status: number) => {
      this.#note({ ...record, status });
      refuse(client, status);
    };
    const verdict = this.#decide(target, sent);
    if (typeof verdict === 'number') answer(verdict);
    else if (typeof verdict === 'string') {
      this.#note(record);
      if (verdict !== 'silent') client.end(verdict === 'garbage' ? 'SSH-2.0-OpenSSH_9.9\r\n' : '');
    } else {
      const server = connect(verdict.port, verdict.host);
      const failed = () => answer(502);
      server.once('error', failed);
      server.once('connect', () => {
        server.off('error', failed);
        this.#note({ ...record, status: 200 });
        this.#tunnel(client, server, head);
      });
    }
  }

  /** @returns the address to connect to, the status of a refusal, or the action to take instead of answering */
  #decide(target: string, sent: ProxyUser | undefined): Target | number | 'silent' | 'close' | 'garbage' {
    const behaviour = this.#behaviourFor(target);
    if (behaviour === 'silent' || behaviour === 'close' || behaviour === 'garbage') return behaviour;
    const user = this.#user;
    if (user !== undefined && (sent?.name !== user.name || sent.password !== user.password)) return 407;
    if (behaviour === 'refuse') return 403;
    return (behaviour === 'unavailable' ? undefined : this.#resolve(target)) ?? 502;
  }

  #tunnel(client: Socket, server: Socket, head: Buffer): void {
    this.#tunnels.add(client);
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    server.write(head);
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.once('close', () => {
        this.#tunnels.delete(client);
        to.destroy();
      });
    }
  }

  #behaviourFor(target: string): ProxyBehaviour {
    const port = target.slice(target.lastIndexOf(':'));
    const found = [target, `*${port}`, '*'].find((key) => this.#behaviours.has(key));
    return (found === undefined ? undefined : this.#behaviours.get(found)) ?? 'connect';
  }

  /** @returns `undefined` if the target is neither routed nor on the loopback interface */
  #resolve(target: string): Target | undefined {
    const to = this.#routes.get(target);
    if (typeof to === 'number') return { host: '127.0.0.1', port: to };
    const [, host = '', port] = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(to ?? target) ?? [];
    if (!LOOPBACK.includes(host) || port === undefined) return undefined;
    return { host, port: Number(port) };
  }

  #note(record: ProxyRequest): void {
    this.requests.push(record);
    if (this.requests.length > REQUESTS_KEPT) this.requests.shift();
    this.emit('request', record);
  }
}

const LOOPBACK = ['localhost', '127.0.0.1', '::1'];

/** Reads `Basic …` (RFC 7617). */
function parseBasic(header: string | undefined): ProxyUser | undefined {
  const [, encoded] = /^Basic +(\S+)$/i.exec(header ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString();
  const colon = text.indexOf(':');
  return colon === -1 ? undefined : { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

function refuse(client: Socket, status: number): void {
  const challenge = status === 407 ? 'Proxy-Authenticate: Basic realm="Vakt emulator"\r\n' : '';
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${challenge}Connection: close\r\nContent-Length: 0\r\n\r\n`;
  client.end(head);
}
