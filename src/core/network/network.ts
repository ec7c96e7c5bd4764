import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { seconds } from '../base/duration.ts';
import { messageOf } from '../base/errors.ts';
import { type Address, bracketed, hostAndPort } from './address.ts';
import { dial } from './dial.ts';
import { exchange, type HttpAnswer, type HttpRequest } from './http.ts';
import { limited } from './limited.ts';
import { type LookUp, Names } from './names.ts';
import { type ChosenProxy, ProxyChoice } from './proxy.ts';
import type { ProxyUrl } from './proxy-url.ts';
import { readTrustedCa, type Security, secure } from './secure.ts';
import { AGENT_SETTINGS, type SettingNames } from './setting-names.ts';
import { openTunnel, ProxyError } from './tunnel.ts';
import { openWebSocket } from './websocket.ts';

/** Where to connect to, whom to trust there, and who asks. */
export interface Target {
  /** A name or an IP address, without brackets. */
  readonly host: string;
  readonly port: number;
  /** The name that the server's certificate must be for; default: `host`. */
  readonly serverName?: string;
  /** PEM; instead of the configured authorities. */
  readonly trustedCa?: string;
  /** Client certificate with its chain, and key, PEM. */
  readonly certificate?: string;
  readonly key?: string;
}

export interface NetworkOptions {
  /** Setting `hub.trustedCaFile`: PEM file of trusted certificate authorities, instead of those that Node trusts. */
  readonly trustedCaFile?: string | undefined;
  /** Setting `hub.proxy`: URL `http://[user@]host:port`, instead of HTTPS_PROXY and NO_PROXY. */
  readonly proxy?: string | undefined;
  /** Setting `hub.proxyPasswordFile`. */
  readonly proxyPasswordFile?: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
  /** Names of these settings. Default: the agent's names. */
  readonly names?: SettingNames;
  readonly clock: Clock;
  /** Resolves names; default: the operating system. */
  readonly lookUp?: LookUp;
}

/** Steps of a connection, in this order. With a proxy, the first two are the proxy's. */
export type Waypoint =
  | { readonly at: 'addresses'; readonly of: Address; readonly addresses: readonly string[] }
  | { readonly at: 'connection'; readonly to: Address; readonly address: string }
  | { readonly at: 'tunnel'; readonly to: Address };

type OnWaypoint = (reached: Waypoint) => void;

interface How {
  readonly signal: AbortSignal;
  readonly onWaypoint?: OnWaypoint;
  readonly acceptsAny?: boolean;
}

/** For the name's lookup and TCP. `auto` must find a silent port 8883 three times within 95 s. */
const DIAL_LIMIT = seconds(20);
const CONNECT_LIMIT = seconds(15);
const TLS_LIMIT = seconds(15);
const WEB_SOCKET_LIMIT = seconds(15);
/** For all steps of a request together. */
const REQUEST_LIMIT = seconds(20);

/**
 * Connects to hosts: names, addresses, proxy, TLS. Every step has a time limit. When a step fails or `signal` aborts,
 * everything that was opened is destroyed.
 *
 * All methods reject with a ProxyError if the proxy is the cause, a TimeLimitError, an AgentError if a file is unusable
 * (SECRET_FILE_*, CA_FILE_UNUSABLE), the reason of `signal`, or else the error of the system or of TLS.
 */
export class Network {
  readonly #clock: Clock;
  readonly #names: Names;
  readonly #proxies: ProxyChoice;
  readonly #trustedCaFile: string | undefined;
  readonly #trustedCaSetting: string;

  /** @throws AgentError CA_FILE_UNUSABLE, SECRET_FILE_*; CONFIG_INVALID if the proxy's URL is */
  constructor({ trustedCaFile, clock, lookUp, names = AGENT_SETTINGS, ...proxy }: NetworkOptions) {
    this.#clock = clock;
    this.#names = new Names(lookUp);
    this.#proxies = new ProxyChoice({ ...proxy, names });
    this.#trustedCaFile = trustedCaFile;
    this.#trustedCaSetting = names.trustedCaFile;
    this.#authorities(); // reports a bad file at the start
  }

  /** The files that are read for each connection: of authorities, and of the proxy's password. */
  get files(): readonly string[] {
    return [this.#trustedCaFile, this.#proxies.passwordFile].filter((file) => file !== undefined);
  }

  /**
   * A verified TLS connection. The files of authorities and of the proxy's password are read again for each. The caller
   * owns the socket, and must listen to its errors at once.
   */
  async connect(target: Target, signal: AbortSignal): Promise<TLSSocket> {
    return this.#connect(target, { signal });
  }

  /**
   * Like `connect`, but accepts any server certificate; check the socket's `authorized`. For
   * `vakt check`, which reports the last step reached; secrets must not be sent over it.
   */
  async inspect(target: Target, signal: AbortSignal, onWaypoint: OnWaypoint = () => {}): Promise<TLSSocket> {
    return this.#connect(target, { signal, onWaypoint, acceptsAny: true });
  }

  /** One HTTPS request on a connection of its own; the answer is bounded. */
  request(target: Target, request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const { host, port } = target;
    const header = port === 443 ? bracketed(host) : hostAndPort(target);
    const what = `asking ${hostAndPort(target)}`;
    return limited({ clock: this.#clock, limit: REQUEST_LIMIT, label: what, signal }, async (step) =>
      exchange(await this.connect(target, step), header, request, step),
    );
  }

  /** MQTT over WebSocket. The caller owns the stream, and must listen to its errors at once; to destroy it closes all. */
  async webSocket(target: Target, signal: AbortSignal): Promise<Duplex> {
    const socket = await this.connect(target, signal);
    const what = `opening a WebSocket to ${hostAndPort(target)}`;
    const stream = await limited({ clock: this.#clock, limit: WEB_SOCKET_LIMIT, label: what, signal }, (step) =>
      openWebSocket(socket, target.host, step),
    );
    return unlessAborted(stream, signal);
  }

  /** The proxy through which a host is reached, as `host:port`, for status and messages. */
  proxyOf(host: string, port = 443): string | undefined {
    const proxy = this.#proxies.of({ host, port });
    return proxy && hostAndPort(proxy);
  }

  /**
   * The proxy for a host with its password, for a library that connects by itself; it must not be logged.
   *
   * @throws AgentError SECRET_FILE_*
   */
  proxyFor(host: string, port = 443): ProxyUrl | undefined {
    return this.#proxies.withPassword({ host, port });
  }

  #authorities(): string | undefined {
    return this.#trustedCaFile === undefined ? undefined : readTrustedCa(this.#trustedCaFile, this.#trustedCaSetting);
  }

  async #connect(target: Target, { signal, onWaypoint = () => {}, acceptsAny = false }: How): Promise<TLSSocket> {
    const { host, serverName = host, trustedCa = this.#authorities(), certificate, key } = target;
    const proxy = this.#proxies.of(target);
    const socket = await (proxy === undefined
      ? this.#dial(target, signal, onWaypoint)
      : this.#tunnel(proxy, target, signal, onWaypoint));
    const security = { host: serverName, trustedCa, certificate, key, acceptsAny };
    const secured = await this.#secure(socket, target, security, signal);
    return unlessAborted(secured, signal);
  }

  #dial(address: Address, signal: AbortSignal, onWaypoint: OnWaypoint): Promise<Socket> {
    const { host, port } = address;
    const clock = this.#clock;
    const what = `connecting to ${hostAndPort(address)}`;
    return limited({ clock, limit: DIAL_LIMIT, label: what, signal }, async (step) => {
      const addresses = await this.#names.addressesOf(host, step);
      onWaypoint({ at: 'addresses', of: { host, port }, addresses });
      const socket = await dial({ addresses, port, clock, signal: step });
      onWaypoint({ at: 'connection', to: { host, port }, address: socket.remoteAddress ?? 'an unknown address' });
      return socket;
    });
  }

  #secure(socket: Socket, address: Address, security: Security, signal: AbortSignal): Promise<TLSSocket> {
    const what = `the TLS handshake with ${hostAndPort(address)}`;
    return limited({ clock: this.#clock, limit: TLS_LIMIT, label: what, signal }, (step) =>
      secure(socket, security, step),
    );
  }

  /** Connects to a target's host and port through a proxy. */
  async #tunnel(
    proxy: ChosenProxy,
    { host, port }: Address,
    signal: AbortSignal,
    onWaypoint: OnWaypoint,
  ): Promise<Socket> {
    const trustedCa = proxy.secure ? this.#authorities() : undefined;
    const authorization = this.#proxies.authorization();
    const target = { host, port };
    const limit = { clock: this.#clock, limit: CONNECT_LIMIT, label: `CONNECT ${hostAndPort(target)}`, signal };
    try {
      const plain = await this.#dial(proxy, signal, onWaypoint);
      const socket = proxy.secure ? await this.#secure(plain, proxy, { host: proxy.host, trustedCa }, signal) : plain;
      await limited(limit, (step) => openTunnel(socket, { proxy, target, authorization, signal: step }));
      onWaypoint({ at: 'tunnel', to: target });
      return socket;
    } catch (cause) {
      if (signal.aborted || cause instanceof ProxyError) throw cause;
      const message = `the proxy ${hostAndPort(proxy)} can't be used: ${messageOf(cause)}`;
      throw new ProxyError(proxy, message, { cause });
    }
  }
}

/** A signal may abort after the last step has succeeded and before its caller is notified. */
function unlessAborted<T extends Duplex>(stream: T, signal: AbortSignal): T {
  if (signal.aborted) stream.on('error', () => {}).destroy();
  signal.throwIfAborted();
  return stream;
}
