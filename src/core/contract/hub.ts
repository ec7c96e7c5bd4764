import type { Duration } from '../base/duration.ts';
import type { AgentError } from '../base/errors.ts';
import type { Message } from './message.ts';

/**
 * Why a request must be retried; the cause determines the delay (contract §6). `quota`: the hub accepts no more
 * messages until the next UTC day, or until it is given more units. `absent`: the module does not exist yet. `local`: a
 * service on this device, such as IoT Edge, does not answer yet.
 */
export type RetryCause = 'network' | 'throttled' | 'quota' | 'credentials' | 'absent' | 'local';

/**
 * The outcome of a request to the hub, including a timeout. Only hub/ decides what an answer means.
 * `refused`: the same request would be refused again.
 */
export type Answer<T> =
  | { readonly status: 'accepted'; readonly value: T }
  | Retry
  | { readonly status: 'refused'; readonly error: AgentError };

/** The same request may succeed later. */
export interface Retry {
  readonly status: 'retry';
  readonly retryCause: RetryCause;
  /** Minimum delay before the next attempt. */
  readonly after?: Duration;
  readonly error: AgentError;
  /**
   * The request was sent, but the connection closed or the time limit passed before it was acknowledged. It may have
   * arrived, and may even be the reason why the hub closed the connection.
   */
  readonly unanswered?: true;
}

/** A connection, an operation or a credential failed; `retryCause` says whether a retry can succeed. */
export class HubFailure extends Error {
  override readonly name = 'HubFailure';
  readonly error: AgentError;
  /** `undefined` if a retry would also be refused. */
  readonly retryCause: RetryCause | undefined;
  /** Minimum delay before the next attempt, when the other side asked for one. */
  readonly after: Duration | undefined;

  constructor(error: AgentError, retryCause: RetryCause | undefined, { after }: { after?: Duration } = {}) {
    super(error.message);
    this.error = error;
    this.retryCause = retryCause;
    this.after = after;
  }

  get answer(): Answer<never> {
    const { error, after } = this;
    if (this.retryCause === undefined) return { status: 'refused', error };
    return { status: 'retry', retryCause: this.retryCause, error, ...(after === undefined ? {} : { after }) };
  }
}

/** One section of a twin. `$version` is incremented with every change. */
export interface TwinSection {
  readonly $version: number;
  readonly [name: string]: unknown;
}

/** The whole module twin, as far as the module sees it. */
export interface TwinDocument {
  readonly desired: TwinSection;
  readonly reported: TwinSection;
}

/** `mqtt`: over TLS on port 8883. `mqttWebSocket`: on port 443. */
export type Transport = 'mqtt' | 'mqttWebSocket';

/** The state of the connection. */
export interface HubStatus {
  /** `refused`: the hub answers, but refuses this identity. */
  readonly state: 'connecting' | 'connected' | 'refused' | 'stopped';
  /** Why the agent is not connected. */
  readonly error?: AgentError;
  readonly credential: {
    readonly kind: string;
    readonly expiresAt?: Date;
    /** The hub that the agent is, or was last, connected to. */
    readonly hub?: string;
    readonly transport?: Transport;
    /** `host:port` of the proxy between the agent and the hub. */
    readonly proxy?: string;
    /** Which of several credentials was used last: `primary`, `secondary`, … */
    readonly source?: string;
    /** Why the credential can't be used or renewed; the connection may still be open. */
    readonly error?: AgentError;
    /** Whether it expires soon or has expired without having been renewed; absent while no expiry date is known. */
    readonly expiresSoon?: boolean;
  };
}

/**
 * `connected`: connected and subscribed; listeners must read the twin, since changes may have been missed. `desired`:
 * desired properties changed; the twin must be read, since the change itself is not passed on. `status`: HubStatus
 * changed. `quotaRenewed`: the hub has accepted a request, after it had answered one with `quota`.
 */
export type HubSignal = 'connected' | 'desired' | 'status' | 'quotaRenewed';

/**
 * The module's connection to its hub. It connects by itself, and reconnects without limit.
 *
 * No method rejects, and each settles within a bounded time whatever the network does.
 */
export interface HubClient {
  /** Sends one message and waits for the hub's acknowledgement. Returns `retry` immediately while not connected. */
  send(message: Message): Promise<Answer<void>>;
  /** Reads the whole twin. */
  readTwin(): Promise<Answer<TwinDocument>>;
  /**
   * Merges `patch` into the reported properties (RFC 7396: `null` removes). Returns the new version, if the hub sends
   * it.
   */
  report(patch: Readonly<Record<string, unknown>>): Promise<Answer<number | undefined>>;
  status(): HubStatus;
  on(event: HubSignal, listener: () => void): void;
}
