import type { Duration } from '../base/duration.ts';
import type { AgentError } from '../base/errors.ts';
import type { Message } from './message.ts';

/**
 * Why something has to be tried again; each is waited for in its own way (contract §6). `quota`: the hub takes nothing
 * more until the next UTC day.
 */
export type RetryCause = 'network' | 'throttled' | 'quota' | 'credentials';

/**
 * What the hub's answer, or its silence, comes to. Decided in hub/ and nowhere else; the loops only obey.
 * `retry`: the same again, later. `refused`: the same again would be refused again.
 */
export type Answer<T> =
  | { readonly status: 'accepted'; readonly value: T }
  | Retry
  | { readonly status: 'refused'; readonly error: AgentError };

/** Try the same again, later. */
export interface Retry {
  readonly status: 'retry';
  readonly because: RetryCause;
  /** Not before so long. */
  readonly after?: Duration;
  readonly error: AgentError;
  /**
   * It was on its way when the connection ended, or was not acknowledged in time. So it may have arrived, and it may
   * even be what ended the connection.
   */
  readonly unanswered?: true;
}

/** One section of a twin. `$version` counts up with every change. */
export interface TwinSection {
  readonly $version: number;
  readonly [name: string]: unknown;
}

/** The whole module twin, as far as the module sees it. */
export interface TwinDocument {
  readonly desired: TwinSection;
  readonly reported: TwinSection;
}

/** How the connection stands. */
export interface HubStatus {
  /** `refused`: the hub answers but does not let this identity in. */
  readonly state: 'connecting' | 'connected' | 'refused' | 'stopped';
  /** What keeps it from being connected. */
  readonly error?: AgentError;
  readonly credential: {
    readonly kind: string;
    readonly expiresAt?: Date;
    /** Whether it ends soon, or has ended, and nothing has renewed it; absent while no end is known. */
    readonly expiresSoon?: boolean;
  };
}

/**
 * The module's connection to its hub. It connects by itself, for ever, and again after every loss.
 *
 * No method rejects, and each settles within a bounded time whatever the network does.
 */
export interface HubClient {
  /** Sends one message and waits for the hub's acknowledgement. At once `retry` while not connected. */
  send(message: Message): Promise<Answer<void>>;
  /** Reads the whole twin. */
  readTwin(): Promise<Answer<TwinDocument>>;
  /** Merges `patch` into the reported properties (RFC 7396: `null` removes). Answers with the new version, where told. */
  report(patch: Readonly<Record<string, unknown>>): Promise<Answer<number | undefined>>;
  status(): HubStatus;
  /**
   * `connected`: (re)connected and subscribed, what was missed must be read again. `desired`: desired properties
   * changed; a signal only, the change itself is never passed on. `status`: HubStatus changed.
   */
  on(event: 'connected' | 'desired' | 'status', listener: () => void): void;
}
