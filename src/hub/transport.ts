import type { Clock } from '../base/clock.ts';
import { days } from '../base/duration.ts';
import type { StateFolder } from '../base/state-folder.ts';
import type { Transport } from '../contract/hub.ts';
import type { HubFailure } from '../contract/hub-failure.ts';
import { type Address, addressOf } from '../network/address.ts';

/** `hub.transport` of the local file. */
export type TransportSetting = 'auto' | Transport;

export const PORTS: Readonly<Record<Transport, number>> = { mqtt: 8883, mqttWebSocket: 443 };

/** Failed connections in a row after which the other port is tried, too. */
const FAILURES_BEFORE_OTHER = 3;
/** How long port 443 is used before 8883 is tried again. */
const TRY_MQTT_EVERY = days(1);
const FILE = 'transport.json';

/**
 * Chooses between MQTT on port 8883 and MQTT over WebSocket on port 443 (contract §1). With `auto`, 8883 is used; when it
 * could not be reached three times in a row, each further failure is followed by an attempt on 443. So an outage of the
 * whole network leads back to 8883. The one that worked is remembered in a file; 8883 is tried again daily.
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
  /** When 443 worked first, or 8883 was last tried in vain; by the wall clock, since restarts are in between. */
  #since: Date;

  /** @param options.state where the choice is remembered; `undefined`: not at all */
  constructor(options: { setting: TransportSetting; state: StateFolder | undefined; clock: Clock }) {
    const { setting, state, clock } = options;
    this.#setting = setting;
    this.#state = state;
    this.#clock = clock;
    this.#since = clock.now();
    this.#preferred = setting === 'auto' ? this.#remembered() : setting;
  }

  /** For the next connection. */
  next(): Transport {
    if (this.#isTrialDue()) return 'mqtt';
    return this.#isOthersTurn ? otherThan(this.#preferred) : this.#preferred;
  }

  /**
   * Where to connect to.
   *
   * @param text `host` or `host:port`; with `auto`, a port is that of MQTT, and the way around it is port 443
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

  /** @returns whether the next connection uses the other transport, and is worth an attempt at once */
  failed(transport: Transport, failure: HubFailure): boolean {
    if (this.#setting !== 'auto') return false;
    if (!isUnreachable(failure)) {
      this.#failures = 0; // the hub was reached
      return false;
    }
    if (this.#isOthersTurn) {
      this.#isOthersTurn = false;
      return false;
    }
    if (transport !== this.#preferred) {
      this.#since = this.#clock.now(); // the daily trial
      this.#remember();
      return true;
    }
    this.#failures += 1;
    this.#isOthersTurn = this.#failures >= FAILURES_BEFORE_OTHER;
    return this.#isOthersTurn;
  }

  #isTrialDue(): boolean {
    if (this.#setting !== 'auto' || this.#preferred === 'mqtt' || this.#isOthersTurn) return false;
    const age = this.#clock.now().getTime() - this.#since.getTime();
    return age >= TRY_MQTT_EVERY || age < 0;
  }

  #remembered(): Transport {
    const { transport, since } = {
      ...(this.#state?.read(FILE) as { transport?: unknown; since?: unknown } | undefined),
    };
    const date = new Date(String(since));
    if (transport !== 'mqttWebSocket' || Number.isNaN(date.getTime())) return 'mqtt';
    this.#since = date;
    return 'mqttWebSocket';
  }

  #remember(): void {
    if (this.#setting !== 'auto') return;
    this.#state?.write(FILE, { transport: this.#preferred, since: this.#since.toISOString() });
  }
}

const otherThan = (transport: Transport): Transport => (transport === 'mqtt' ? 'mqttWebSocket' : 'mqtt');

/** No answer that could be the hub's: the port is closed, filtered, or a proxy does not let it pass. */
const isUnreachable = ({ error: { id } }: HubFailure): boolean =>
  ['HUB_UNREACHABLE', 'HUB_SILENT', 'PROXY_REFUSED', 'TLS_FAILED'].includes(id);
