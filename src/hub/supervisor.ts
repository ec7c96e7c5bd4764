import { type Clock, momentOf, wallOffset } from '../base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../base/duration.ts';
import { type AgentError, toAgentError } from '../base/errors.ts';
import type { HubStatus } from '../contract/hub.ts';
import { HubFailure } from './classify-error.ts';
import { ReconnectBackoff } from './reconnect-backoff.ts';

/** The part of `Session` that the supervisor needs. */
export interface Connection {
  /** Resolves when the connection has ended, with the reason. */
  readonly lost: Promise<HubFailure>;
  /** Drops the connection if the hub has been silent for too long. */
  checkPulse(): void;
  /** Resolves when no direct method is running. A running one may need the connection. */
  answered(): Promise<void>;
  /** Resolves when no request is pending. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

export interface SupervisorOptions<C> {
  /** Connects and subscribes, or rejects with a HubFailure; at once when the signal aborts. */
  readonly connect: (signal: AbortSignal) => Promise<C>;
  /** Age at which a connection is replaced, before its token expires. */
  readonly renewAfter: Duration;
  readonly clock: Clock;
  readonly random: () => number;
  /** Called when `state` or `error` changed. */
  readonly onChange: () => void;
  /** Called when connecting failed or a connection ended. */
  readonly onFailure: (error: AgentError) => void;
  readonly onConnected: (connection: C) => void;
  /** Called when a connection counts as stable. */
  readonly onStable: () => void;
}

/** A connection this old counts as stable: the back-off starts from its first delay again. */
const STABLE_AFTER = minutes(1);
const CHECK_INTERVAL = seconds(30);
/** Longer than any method's limit; the token stays valid for much longer. */
const ANSWER_LIMIT = minutes(1);
const CHECK_CLOCK_EVERY = seconds(5);
/** If the wall clock was set by at least this much, the agent reconnects at once. */
const CLOCK_STEP = minutes(1);

/**
 * Maintains one connection: connects, waits for its loss, backs off, reconnects. A connection is replaced before its token
 * expires, once no request is pending; requests made during the replacement wait for the new connection.
 */
export class Supervisor<C extends Connection> {
  readonly #options: SupervisorOptions<C>;
  readonly #backoff: ReconnectBackoff;
  #connection: C | undefined;
  #state: HubStatus['state'] = 'connecting';
  #error: AgentError | undefined;
  /** Resolves when the replacement has connected or failed. */
  #replacement: Promise<void> | undefined;
  #endReplacement: () => void = () => {};

  constructor(options: SupervisorOptions<C>) {
    this.#options = options;
    this.#backoff = new ReconnectBackoff(options.random);
  }

  get state(): HubStatus['state'] {
    return this.#state;
  }

  get error(): AgentError | undefined {
    return this.#error;
  }

  /** The current connection, if connected. While it is being replaced, waits for the next one. */
  async connection(): Promise<C | undefined> {
    await this.#replacement;
    return this.#connection;
  }

  /** Resolves when `signal` aborts and the connection is closed. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, onFailure } = this.#options;
    while (!signal.aborted) {
      const offset = wallOffset(momentOf(clock));
      const failure = await this.#once(signal);
      if (failure === undefined || signal.aborted) continue;
      onFailure(failure.error);
      this.#become(failure.because === 'credentials' ? 'refused' : 'connecting', failure.error);
      await this.#pause(this.#backoff.after(failure.because, clock.monotonic()), offset, signal);
    }
    this.#endReplacement();
    this.#become('stopped', undefined);
  }

  /** Connects once, until the connection ends. @returns the reason; `undefined` if the agent closed it */
  async #once(signal: AbortSignal): Promise<HubFailure | undefined> {
    const { clock, connect, onConnected } = this.#options;
    this.#backoff.attempt(clock.monotonic());
    try {
      this.#connection = await connect(signal);
    } catch (thrown) {
      return thrown instanceof HubFailure ? thrown : new HubFailure(toAgentError(thrown), 'network');
    } finally {
      this.#endReplacement();
    }
    this.#backoff.accepted();
    this.#become('connected', undefined);
    onConnected(this.#connection);
    try {
      return await this.#watch(this.#connection, signal);
    } finally {
      this.#connection = undefined;
    }
  }

  async #watch(connection: C, signal: AbortSignal): Promise<HubFailure | undefined> {
    const { clock, renewAfter, onStable } = this.#options;
    const since = clock.monotonic();
    const wake = new AbortController();
    const stop = () => wake.abort();
    signal.addEventListener('abort', stop);
    let failure: HubFailure | undefined;
    connection.lost.then((why) => {
      failure = why;
      wake.abort();
    });
    let isStable = false;
    const checkStable = () => {
      if (isStable || clock.monotonic() - since < STABLE_AFTER) return;
      isStable = true;
      this.#backoff.stable();
      onStable();
    };
    try {
      if (signal.aborted) stop();
      while (!wake.signal.aborted && clock.monotonic() - since < renewAfter) {
        await clock.sleep(CHECK_INTERVAL, wake.signal);
        connection.checkPulse();
        checkStable();
      }
      if (failure !== undefined) return failure;
      if (signal.aborted) await connection.close();
      else await this.#retire(connection, wake.signal);
      return undefined;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Closes a connection that is about to be replaced, after its pending requests are answered. */
  async #retire(connection: C, hurry: AbortSignal): Promise<void> {
    await this.#letAnswer(connection, hurry);
    this.#replacement = new Promise((resolve) => {
      this.#endReplacement = () => {
        this.#replacement = undefined;
        this.#endReplacement = () => {};
        resolve();
      };
    });
    await new Promise<void>((resolve) => {
      hurry.addEventListener('abort', () => resolve());
      connection.idle().then(resolve);
    });
    this.#become('connecting', undefined);
    await connection.close();
  }

  /** Must precede the replacement: a method that sends would wait for the next connection, which waits for the method. */
  async #letAnswer(connection: C, hurry: AbortSignal): Promise<void> {
    const enough = new AbortController();
    const stop = () => enough.abort();
    hurry.addEventListener('abort', stop, { once: true });
    if (hurry.aborted) stop();
    void connection.answered().then(stop);
    await this.#options.clock.sleep(ANSWER_LIMIT, enough.signal);
    hurry.removeEventListener('abort', stop);
  }

  /**
   * Waits, but ends early when the wall clock is set: a wrong clock is the most common reason for refused credentials.
   *
   * @param offset wall clock offset before the attempt, so that a clock set during the attempt counts, too
   */
  async #pause(wait: Duration, offset: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const until = clock.monotonic() + wait;
    const isSet = () => Math.abs(wallOffset(momentOf(clock)) - offset) >= CLOCK_STEP;
    while (!signal.aborted && clock.monotonic() < until && !isSet()) {
      await clock.sleep(milliseconds(Math.min(until - clock.monotonic(), CHECK_CLOCK_EVERY)), signal);
    }
  }

  #become(state: HubStatus['state'], error: AgentError | undefined): void {
    if (this.#state === state && this.#error?.id === error?.id) return;
    this.#state = state;
    this.#error = error;
    this.#options.onChange();
  }
}
