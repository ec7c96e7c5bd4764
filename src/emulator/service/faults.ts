import type { Clock } from '../../core/base/clock.ts';
import { isCount } from '../../core/base/values.ts';

/** How requests reach a service. */
export type ServiceTransport = 'https' | 'http' | 'unix' | 'mqtt' | 'mqttWebSocket';

/** The faults that a service can have. */
const SERVICE_FAULTS = {
  silence: 'The request is never answered, and changes nothing.',
  status: 'The request is answered with "status" (503) and the service\'s error body, and changes nothing.',
  garbage: 'The request is answered with 200 and HTML.',
  slow: 'The request is answered "ms" (1000) later.',
  reset: 'The connection is reset (TCP RST); with MQTT and Unix sockets it is closed.',
} as const;

export type ServiceFaultKind = keyof typeof SERVICE_FAULTS;

/** A fault to inject. Without `count` and `durationMs` it is active until cleared. */
export interface ServiceFault {
  readonly kind: ServiceFaultKind;
  /** Applies only to this operation, such as `register` or `sign`. Default: all. */
  readonly operation?: string;
  /** Applies only to requests over this transport. Default: all. */
  readonly transport?: ServiceTransport;
  /** Number of times that it applies. */
  readonly count?: number;
  /** Duration in milliseconds. */
  readonly durationMs?: number;
  /** `slow`: the delay in milliseconds. Default 1000. */
  readonly ms?: number;
  /** `status`: the HTTP status. Default 503. */
  readonly status?: number;
  /** `status`: the value of Retry-After, in seconds. Default: no such header. */
  readonly retryAfterSeconds?: number;
  /** `status`: the message in the error body. */
  readonly message?: string;
}

/** An active fault, and how often it has applied. */
export type ActiveServiceFault = ServiceFault & { readonly hits: number };

interface Entry {
  readonly fault: ServiceFault;
  readonly since: number;
  hits: number;
}

/** The active faults of a service. If several apply to a request, the oldest takes effect. */
export class ServiceFaults {
  #active: Entry[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws RangeError if a field is invalid */
  inject(fault: ServiceFault): void {
    if (!Object.hasOwn(SERVICE_FAULTS, fault.kind))
      throw new RangeError(`"${fault.kind}" is not a kind of fault; kinds: ${Object.keys(SERVICE_FAULTS).join(', ')}`);
    for (const name of ['count', 'durationMs', 'ms', 'status', 'retryAfterSeconds'] as const) {
      const value: unknown = fault[name];
      if (value !== undefined && !isCount(value)) throw new RangeError(`"${name}" must be a whole number, 0 or more`);
    }
    if (fault.status !== undefined && (fault.status < 200 || fault.status > 599))
      throw new RangeError('"status" must be from 200 to 599');
    this.#active.push({ fault: { ...fault }, since: this.#clock.monotonic(), hits: 0 });
  }

  clear(): void {
    this.#active = [];
  }

  active(): ActiveServiceFault[] {
    this.#expire();
    return this.#active.map(({ fault, hits }) => ({ ...fault, hits }));
  }

  /** Counts one application of a fault, if one is active for this request. @returns the fault, or `undefined` */
  trigger(operation: string, transport: ServiceTransport): ServiceFault | undefined {
    this.#expire();
    const applies = ({ fault }: Entry) =>
      (fault.operation ?? operation) === operation && (fault.transport ?? transport) === transport;
    const entry = this.#active.find(applies);
    if (entry !== undefined) entry.hits++;
    return entry?.fault;
  }

  #expire(): void {
    const now = this.#clock.monotonic();
    this.#active = this.#active.filter(({ fault, since, hits }) => {
      const { count = Number.POSITIVE_INFINITY, durationMs = Number.POSITIVE_INFINITY } = fault;
      return hits < count && now - since < durationMs;
    });
  }
}
