import { type Clock, isPlausible } from '../../core/base/clock.ts';
import { type Duration, days, milliseconds } from '../../core/base/duration.ts';
import { HubFailure, type Transport } from '../../core/contract/hub.ts';
import { type Address, addressOf, bracketed, hostAndPort } from '../../core/network/address.ts';
import type { Target } from '../../core/network/network.ts';
import { ProxyError } from '../../core/network/tunnel.ts';
import type { ModuleAddress, Presentation } from '../identity/identity.ts';
import type { StateFolder } from '../state/state-folder.ts';

/** `hub.transport` of the local file. */
export type TransportSetting = 'auto' | Transport;

export const PORTS: Readonly<Record<Transport, number>> = { mqtt: 8883, mqttWebSocket: 443 };

/** Failed connections in a row after which the other port is tried, too. */
const FAILURES_BEFORE_OTHER = 3;
/** How long port 443 is used before 8883 is tried again. */
const TRY_MQTT_EVERY = days(1);
const FILE = 'transport.json';

/**
 * Chooses between MQTT on port 8883 and MQTT over WebSocket on port 443 (contract §1). With `auto`, 8883 is used; after
 * every three failures to reach it in a row, 443 is tried once. So an outage of the whole network leads back to 8883. The
 * one that worked is remembered in a file; 8883 is tried again daily.
 */
export class TransportChoice {
  readonly #setting: TransportSetting;
  readonly #state: StateFolder | undefined;
  readonly #clock: Clock;
  /** The one that worked last. */
  #preferred: Transport;
  /** How often the preferred one could not be reached, in a row. */
  #failures = 0;
  /** Whether the other one has its turn. */
  #isOthersTurn = false;
  /** When 443 worked first, or 8883 last failed, by the wall clock, since the agent may restart in between. */
  #since: Date;

  /**
   * @param options.state where the choice is remembered; `undefined`: not at all
   * @param options.first what `auto` begins with, when nothing is remembered; default: `mqtt`
   */
  constructor(options: {
    setting: TransportSetting;
    state: StateFolder | undefined;
    first?: Transport | undefined;
    clock: Clock;
  }) {
    const { setting, state, first = 'mqtt', clock } = options;
    this.#setting = setting;
    this.#state = state;
    this.#clock = clock;
    this.#since = clock.now();
    this.#preferred = setting === 'auto' ? (this.#remembered() ?? first) : setting;
  }

  /** For the next connection. */
  next(): Transport {
    if (this.#isOthersTurn) return otherThan(this.#preferred);
    return this.#untilTrial() === 0 ? 'mqtt' : this.#preferred;
  }

  /**
   * Where to connect to.
   *
   * @param text `host` or `host:port`; with `auto`, a port is MQTT's, and port 443 is the alternative
   */
  addressOf(text: string, transport: Transport): Address {
    const address = addressOf(text, PORTS[transport]);
    const isWayAround = this.#setting === 'auto' && transport === 'mqttWebSocket';
    return isWayAround ? { ...address, port: PORTS.mqttWebSocket } : address;
  }

  /** The hub accepted a connection. */
  connected(transport: Transport): void {
    this.#failures = 0;
    this.#isOthersTurn = false;
    if (transport === this.#preferred) return;
    this.#preferred = transport;
    this.#since = this.#clock.now();
    this.#remember();
  }

  /**
   * Connecting failed.
   *
   * @returns why the next connection uses the other transport, and is worth an attempt at once: because this one could not
   * be reached, or because it was only the daily trial of 8883
   */
  failed(transport: Transport, failure: HubFailure): 'unreachable' | 'trial' | undefined {
    if (this.#setting !== 'auto') return undefined;
    if (!isUnreachable(failure)) {
      if (isAnswer(failure)) this.#failures = 0;
      return undefined;
    }
    if (this.#isOthersTurn) {
      this.#isOthersTurn = false;
      this.#failures = 0; // not after each failure: both together may make six attempts a minute
      return undefined;
    }
    if (transport !== this.#preferred) {
      this.#since = this.#clock.now();
      this.#remember();
      return 'trial';
    }
    this.#failures += 1;
    this.#isOthersTurn = this.#failures >= FAILURES_BEFORE_OTHER;
    return this.#isOthersTurn ? 'unreachable' : undefined;
  }

  /**
   * What a failed connection means for the delay before the next attempt, and for the state. With `auto`, a proxy that does
   * not let port 8883 pass closes it like a firewall: 443 is the alternative. As a refusal of credentials, it would delay
   * the attempts by 443 by ten minutes each. Where 443 is refused as well, only a change by an operator helps.
   */
  classify(transport: Transport, failure: HubFailure): HubFailure {
    const isClosedPort = failure.error.id === 'PROXY_REFUSED' && isUnreachable(failure);
    if (this.#setting !== 'auto' || transport !== 'mqtt' || !isClosedPort) return failure;
    return new HubFailure(failure.error, 'network');
  }

  /**
   * How long a connection may last, so that 8883 is tried in time; `undefined` if unlimited. A connection by certificate would
   * never be replaced otherwise.
   */
  renewAfter(transport: Transport): Duration | undefined {
    return transport === 'mqttWebSocket' ? this.#untilTrial() : undefined;
  }

  /** Time until 8883 is tried again; `undefined` if it is in use or not allowed. */
  #untilTrial(): Duration | undefined {
    if (this.#setting !== 'auto' || this.#preferred === 'mqtt') return undefined;
    const now = this.#clock.now();
    const age = now.getTime() - this.#since.getTime();
    // A device without a battery for its clock starts in the past each time, and would try a silent port at each start.
    if (age < 0) return isPlausible(now) ? milliseconds(0) : TRY_MQTT_EVERY;
    return milliseconds(Math.max(0, TRY_MQTT_EVERY - age));
  }

  #remembered(): Transport | undefined {
    const { transport, since } = {
      ...(this.#state?.read(FILE) as { transport?: unknown; since?: unknown } | undefined),
    };
    const date = new Date(String(since));
    if (transport !== 'mqttWebSocket' || Number.isNaN(date.getTime())) return undefined;
    this.#since = date;
    return 'mqttWebSocket';
  }

  #remember(): void {
    if (this.#setting !== 'auto') return;
    this.#state?.write(FILE, { transport: this.#preferred, since: this.#since.toISOString() });
  }
}

export const otherThan = (transport: Transport): Transport => (transport === 'mqtt' ? 'mqttWebSocket' : 'mqtt');

/** No answer that could be the hub's: the port is closed, filtered, or a proxy does not let it pass. */
export const isUnreachable = ({ error }: HubFailure): boolean =>
  error.id === 'PROXY_REFUSED'
    ? !isPasswordWanted(error.cause)
    : ['HUB_UNREACHABLE', 'HUB_SILENT', 'TLS_FAILED'].includes(error.id);

/** A proxy that wants another password wants it for every port. */
const isPasswordWanted = (cause: unknown): boolean => cause instanceof ProxyError && cause.status === 407;

/** The hub itself answered, so its port can be reached. */
const isAnswer = ({ error: { id } }: HubFailure): boolean =>
  ['CREDENTIAL_REFUSED', 'MODULE_UNKNOWN', 'HUB_THROTTLED', 'HUB_QUOTA_EXCEEDED', 'HUB_TIER_UNSUPPORTED'].includes(id);

/** `host` or `host:port` that a module connects to. */
export const hostOf = ({ connectTo, hostName }: ModuleAddress): string => connectTo ?? hostName;

/** Whom a module trusts at an address, and the certificate that it shows there. */
export const targetOf = ({ module, proof }: Presentation, { host, port }: Address): Target => ({
  host,
  port,
  ...(module.trustedCa === undefined ? {} : { trustedCa: module.trustedCa }),
  ...(proof.kind === 'certificate' ? { certificate: proof.certificate, key: proof.key } : {}),
});

/** How messages name an address: with the port, unless that is 8883. */
export const nameOf = (address: Address): string =>
  address.port === PORTS.mqtt ? bracketed(address.host) : hostAndPort(address);
