import type { Clock } from '../core/base/clock.ts';
import { isCount } from '../core/base/values.ts';

/** The kinds of faults. Faults on acknowledgements and resets apply to telemetry only. */
export const FAULTS = {
  dropAcknowledgements: 'Messages are accepted, but their PUBACK is never sent.',
  ignoreMessages: 'Messages are neither accepted nor acknowledged.',
  delayAcknowledgements: 'Messages are accepted immediately; their PUBACK is sent "ms" later.',
  closeOnText: 'A message that contains "text" closes the connection and is not accepted.',
  throttleMessages: 'More than "perMinute" messages per minute close the connection, as error 429002 does.',
  quotaExceeded:
    'Messages and twin requests close the connection and are not accepted; with "twinSays", twin requests are answered 403002.',
  resetOnPublish: 'The connection is reset at a message, which is not accepted.',
  resetOnConnect: 'The connection is reset instead of a CONNACK.',
  refuseConnections: 'CONNACK 5, not authorized.',
  serverUnavailable: 'CONNACK 3, server unavailable.',
  twinStatus: 'Twin requests are answered with "status" and an error body, or an empty one with "emptyBody".',
  twinSilence: 'Twin requests are never answered, and change nothing.',
  desiredSilence: 'The module is not notified of changed desired properties.',
  twinGarbage: 'Twin requests are answered with 200 and a body that is not JSON.',
  mqttSilence: 'TCP connections to the MQTT port are accepted, and nothing is answered.',
  webSocketSilence: 'TCP connections to the WebSocket port are accepted, and nothing is answered.',
  restStatus:
    'REST requests (with "text", those whose path contains it) are answered with "status" and, with "retryAfter", a Retry-After header.',
  throttleRest:
    'More than "perSecond" REST requests per second are answered 429, with "retryAfter" in a Retry-After header.',
  restSilence: 'REST requests are never answered.',
  restDelay: 'REST requests are answered "ms" later.',
  restGarbage: 'REST requests are answered with 200 and HTML.',
} as const;

/** 1xx is not a final answer, and Node rejects statuses that HTTP does not define. */
const [MIN_STATUS, MAX_STATUS] = [200, 599];

export type FaultKind = keyof typeof FAULTS;

/** A fault to inject. Without `count` and `durationMs` it is active until cleared. */
export interface Fault {
  readonly kind: FaultKind;
  /** Number of times that it applies. */
  readonly count?: number;
  /** Duration in milliseconds. */
  readonly durationMs?: number;
  /** `delayAcknowledgements`, `restDelay`: the delay in milliseconds. Default 1000. */
  readonly ms?: number;
  /** `twinStatus`, `restStatus`: the status to answer. Default 500. */
  readonly status?: number;
  /** `throttleRest`: requests allowed per second. Default 10. */
  readonly perSecond?: number;
  /** `restStatus`, `throttleRest`: the value of the Retry-After header, in seconds. `throttleRest`: default 1. */
  readonly retryAfter?: number;
  /** `twinStatus`: answer without a body. */
  readonly emptyBody?: boolean;
  /** `closeOnText`: the string to search for. `restStatus`: only requests with this string in path or query. */
  readonly text?: string;
  /** `throttleMessages`: messages allowed per minute. Default 60. */
  readonly perMinute?: number;
  /** `quotaExceeded`: answer twin requests with 403002 instead of closing the connection. */
  readonly twinSays?: boolean;
}

/** An active fault, and how often it has applied. */
export type ActiveFault = Fault & { readonly hits: number };

/** The active faults; at most one of each kind, the newest. */
export class Faults {
  readonly #active = new Map<FaultKind, { fault: Fault; since: number; hits: number }>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws RangeError if a field is invalid */
  inject(fault: Fault): void {
    if (!Object.hasOwn(FAULTS, fault.kind))
      throw new RangeError(`"${fault.kind}" is not a kind of fault; kinds: ${Object.keys(FAULTS).join(', ')}`);
    for (const name of ['count', 'durationMs', 'ms', 'status', 'retryAfter', 'perMinute', 'perSecond'] as const) {
      const value: unknown = fault[name];
      if (value !== undefined && !isCount(value)) throw new RangeError(`"${name}" must be a whole number, 0 or more`);
    }
    if (fault.status !== undefined && (fault.status < MIN_STATUS || fault.status > MAX_STATUS))
      throw new RangeError(`"status" must be from ${MIN_STATUS} to ${MAX_STATUS}`);
    if (fault.kind === 'closeOnText' && !(typeof fault.text === 'string' && fault.text !== ''))
      throw new RangeError('"text" must be a string that is not empty');
    this.#active.set(fault.kind, { fault: { ...fault }, since: this.#clock.monotonic(), hits: 0 });
  }

  /** Clears one kind of fault, or all. */
  clear(kind?: FaultKind): void {
    if (kind === undefined) this.#active.clear();
    else this.#active.delete(kind);
  }

  active(): ActiveFault[] {
    for (const kind of this.#active.keys()) this.#inForce(kind);
    return [...this.#active.values()].map(({ fault, hits }) => ({ ...fault, hits }));
  }

  /** Counts one application of a fault, if it is active and `applies`. @returns the fault, or `undefined` */
  trigger(kind: FaultKind, applies: (fault: Fault) => boolean = () => true): Fault | undefined {
    const entry = this.#inForce(kind);
    if (entry === undefined || !applies(entry.fault)) return undefined;
    entry.hits++;
    return entry.fault;
  }

  #inForce(kind: FaultKind) {
    const entry = this.#active.get(kind);
    if (entry === undefined) return undefined;
    const { count = Number.POSITIVE_INFINITY, durationMs = Number.POSITIVE_INFINITY } = entry.fault;
    if (entry.hits < count && this.#clock.monotonic() - entry.since < durationMs) return entry;
    this.#active.delete(kind);
    return undefined;
  }
}
