import type { Clock } from '../base/clock.ts';

/** What can be made to go wrong. Those on acknowledgements and resets concern telemetry only. */
export const FAULTS = {
  dropAcknowledgements: 'Messages are taken, but their PUBACK is never sent.',
  ignoreMessages: 'Messages are neither taken nor acknowledged.',
  delayAcknowledgements: 'Messages are taken at once, their PUBACK comes "ms" later.',
  closeOnText: 'A message that contains "text" closes the connection, and is not taken.',
  throttleMessages: 'More than "perMinute" messages a minute close the connection, as error 429002 does.',
  quotaExceeded:
    'Messages and twin requests close the connection, and are not taken; with "twinSays", the twin answers 403002.',
  resetOnPublish: 'The connection is reset at a message, which is not taken.',
  resetOnConnect: 'The connection is reset in place of a CONNACK.',
  refuseConnections: 'CONNACK 5, not authorized.',
  serverUnavailable: 'CONNACK 3, server unavailable.',
  twinStatus: 'Twin requests are answered with "status"; with "emptyBody", without saying why.',
  twinSilence: 'Twin requests are never answered, and change nothing.',
  desiredSilence: 'A change of desired properties is not told to the module.',
  twinGarbage: 'Twin requests are answered with 200 and a body that is not JSON.',
} as const;

export type FaultKind = keyof typeof FAULTS;

/** A fault to inject. With neither `count` nor `durationMs` it lasts until cleared. */
export interface Fault {
  readonly kind: FaultKind;
  /** Happens so many times. */
  readonly count?: number;
  /** Ends after so long. */
  readonly durationMs?: number;
  /** Of `delayAcknowledgements`. Default 1000. */
  readonly ms?: number;
  /** Of `twinStatus`. Default 500. */
  readonly status?: number;
  /** Of `twinStatus`. */
  readonly emptyBody?: boolean;
  /** Of `closeOnText`. */
  readonly text?: string;
  /** Of `throttleMessages`. Default 60. */
  readonly perMinute?: number;
  /** Of `quotaExceeded`. */
  readonly twinSays?: boolean;
}

/** A fault in force, and how often it has struck. */
export type ActiveFault = Fault & { readonly hits: number };

/** The faults in force: at most one of each kind, the newest. */
export class Faults {
  readonly #active = new Map<FaultKind, { fault: Fault; since: number; hits: number }>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws RangeError when a field is not what it should be */
  inject(fault: Fault): void {
    if (!Object.hasOwn(FAULTS, fault.kind))
      throw new RangeError(`"${fault.kind}" is no fault; there are ${Object.keys(FAULTS).join(', ')}`);
    for (const name of ['count', 'durationMs', 'ms', 'status', 'perMinute'] as const) {
      const value: unknown = fault[name];
      if (value !== undefined && !(Number.isSafeInteger(value) && (value as number) >= 0))
        throw new RangeError(`"${name}" must be a whole number, 0 or more`);
    }
    if (fault.kind === 'closeOnText' && !(typeof fault.text === 'string' && fault.text !== ''))
      throw new RangeError('"text" must say what the messages contain');
    this.#active.set(fault.kind, { fault: { ...fault }, since: this.#clock.monotonic(), hits: 0 });
  }

  /** Ends one kind of fault, or all. */
  clear(kind?: FaultKind): void {
    if (kind === undefined) this.#active.clear();
    else this.#active.delete(kind);
  }

  active(): ActiveFault[] {
    for (const kind of this.#active.keys()) this.#inForce(kind);
    return [...this.#active.values()].map(({ fault, hits }) => ({ ...fault, hits }));
  }

  /** Lets a fault strike, if it is in force and `applies`: counts it, and tells its details. */
  strike(kind: FaultKind, applies: (fault: Fault) => boolean = () => true): Fault | undefined {
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
