import type { Clock } from '../base/clock.ts';
import { days } from '../base/duration.ts';
import type { StateFolder } from '../base/state-folder.ts';
import type { Transport } from '../contract/hub.ts';
import type { HubFailure } from '../contract/hub-failure.ts';

/** `hub.transport` of the local file. */
export type TransportSetting = 'auto' | Transport;

export const PORTS: Readonly<Record<Transport, number>> = { mqtt: 8883, mqttWebSocket: 443 };

/** Failed connections in a row after which the other port is tried. */
const FAILURES_BEFORE_OTHER = 3;
/** How long port 443 is used before 8883 is tried again. */
const TRY_MQTT_EVERY = days(1);
const FILE = 'transport.json';

/**
 * Chooses between MQTT on port 8883 and MQTT over WebSocket on port 443 (contract §1). With `auto`, 8883 is used until it
 * could not be reached three times in a row. What worked is remembered in a file; 8883 is tried again daily.
 */
export class TransportChoice {
  readonly #setting: TransportSetting;
  readonly #state: StateFolder | undefined;
  readonly #clock: Clock;
  #current: Transport;
  #failures = 0;
  /** When 443 was chosen, or 8883 was last tried in vain; by the wall clock, since restarts are in between. */
  #since: Date;

  /** @param options.state where the choice is remembered; `undefined`: not at all */
  constructor(options: { setting: TransportSetting; state: StateFolder | undefined; clock: Clock }) {
    const { setting, state, clock } = options;
    this.#setting = setting;
    this.#state = state;
    this.#clock = clock;
    this.#since = clock.now();
    this.#current = setting === 'auto' ? this.#remembered() : setting;
  }

  /** For the next connection. */
  next(): Transport {
    return this.#isTrialDue() ? 'mqtt' : this.#current;
  }

  /** The hub accepted a connection. */
  connected(transport: Transport): void {
    this.#failures = 0;
    if (transport === this.#current) return;
    this.#current = transport;
    this.#since = this.#clock.now();
    this.#remember();
  }

  /** @returns whether the next connection uses the other transport, and is worth an attempt at once */
  failed(transport: Transport, failure: HubFailure): boolean {
    if (this.#setting !== 'auto' || !isUnreachable(failure)) return false;
    if (transport !== this.#current) {
      this.#since = this.#clock.now(); // the daily trial
      this.#remember();
      return true;
    }
    this.#failures += 1;
    if (this.#failures < FAILURES_BEFORE_OTHER) return false;
    this.#failures = 0;
    this.#current = transport === 'mqtt' ? 'mqttWebSocket' : 'mqtt';
    this.#since = this.#clock.now();
    return true;
  }

  #isTrialDue(): boolean {
    if (this.#setting !== 'auto' || this.#current === 'mqtt') return false;
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
    this.#state?.write(FILE, { transport: this.#current, since: this.#since.toISOString() });
  }
}

/** No answer that could be the hub's: the port is closed, filtered, or a proxy does not let it pass. */
const isUnreachable = ({ error: { id } }: HubFailure): boolean =>
  ['HUB_UNREACHABLE', 'HUB_SILENT', 'PROXY_REFUSED', 'TLS_FAILED'].includes(id);
