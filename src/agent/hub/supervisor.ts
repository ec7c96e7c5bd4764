import { type Clock, isPlausible, momentOf, wallOffset } from '../../core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../core/base/duration.ts';
import { AgentError, toAgentError } from '../../core/base/errors.ts';
import { withEither } from '../../core/base/waiting.ts';
import { HubFailure, type HubStatus } from '../../core/contract/hub.ts';
import { ReconnectBackoff } from './reconnect-backoff.ts';

/** The part of `Session` that the supervisor needs. */
export interface Connection {
  /** Resolves when the connection has ended, with the reason. */
  readonly lost: Promise<HubFailure>;
  /** Drops the connection if the hub has been silent for too long. */
  checkPulse(): void;
  /** Resolves when no direct method is running. A running one may need the connection. */
  answered(): Promise<void>;
  /** Resolves when no request to the hub is pending, whatever direct methods are running. */
  idle(): Promise<void>;
  close(): Promise<void>;
}

export interface SupervisorOptions<P, C> {
  /** Makes what a connection needs, such as a token, or rejects with a HubFailure; at once when the signal aborts. */
  readonly prepare: (signal: AbortSignal) => Promise<P>;
  /** Connects and subscribes, or rejects with a HubFailure; at once when the signal aborts. */
  readonly open: (prepared: P, signal: AbortSignal) => Promise<C>;
  /** Called when `open` failed. @returns what differs in the next attempt, if that makes an immediate retry useful */
  readonly nextHasOther: (prepared: P, failure: HubFailure) => 'credential' | 'transport' | undefined;
  /**
   * Age at which a connection is replaced at the latest: before its token expires, or to try the other transport. `undefined`:
   * it may last.
   */
  readonly renewAfter: (connection: C) => Duration | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  /** Called when `state` or `error` changed. */
  readonly onChange: () => void;
  /** Called when connecting or a renewal failed, or a connection ended. */
  readonly onFailure: (failure: HubFailure) => void;
  readonly onConnected: (connection: C) => void;
  /** Called when a connection counts as stable. */
  readonly onStable: () => void;
}

/** A connection this old counts as stable: the back-off starts from its first delay again. */
const STABLE_AFTER = minutes(1);
const PULSE = seconds(30);
/** Longer than any method's limit; the token stays valid for much longer. */
const ANSWER_LIMIT = minutes(1);
const CHECK_CLOCK_EVERY = seconds(5);
/** If the wall clock was set by at least this much, the agent reconnects: during a pause at once. */
const CLOCK_STEP = minutes(1);
/** A connection is replaced at random within this time after the clock was set: NTP may set those of a fleet together. */
const STEP_SPREAD = minutes(1);
/** Minimum delay after a failed renewal while the connection is open. */
const RENEW_AGAIN = minutes(1);

/**
 * Maintains one connection: connects, waits for its loss, backs off, reconnects. A connection is replaced before its token
 * expires, when the credential changed or the clock was set, or to try the other transport: the new one is opened first, and
 * the old one is kept if that fails. Requests wait for the new connection.
 */
export class Supervisor<P, C extends Connection> {
  readonly #options: SupervisorOptions<P, C>;
  readonly #backoff: ReconnectBackoff;
  #connection: C | undefined;
  #state: HubStatus['state'] = 'connecting';
  #error: AgentError | undefined;
  /** Resolves when the replacement has connected or failed. */
  #replacement: Promise<void> | undefined;
  #endReplacement: () => void = () => {};
  /** Ends the current pause, or begins a renewal. */
  #wake = new AbortController();

  constructor(options: SupervisorOptions<P, C>) {
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

  /** Call this when the credential has changed: connects with it at once, regardless of earlier refusals. */
  credentialChanged(): void {
    this.#backoff.accepted();
    this.#wake.abort();
  }

  /** Resolves when `signal` aborts and the connection is closed. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const offset = this.#offset();
      const made = await this.#connect(signal);
      if (made instanceof HubFailure) {
        await this.#backOff(made, offset, signal);
        continue;
      }
      const failure = await this.#keep(made, signal);
      // A clock that was set while the connection was open must not skip the delay after its end.
      if (failure !== undefined) await this.#backOff(failure, this.#offset(), signal);
    }
    this.#endReplacement();
    this.#setState('stopped', undefined);
  }

  /**
   * @param ready is awaited before the connection is opened; an error that it throws ends the attempt
   * @param hurry ends the wait for the limit of attempts per minute
   * @returns the connection, or why there is none
   */
  async #connect(
    signal: AbortSignal,
    ready: () => Promise<void> = async () => {},
    hurry: AbortSignal = signal,
  ): Promise<C | HubFailure> {
    const { prepare, open } = this.#options;
    for (let tries = 1; ; tries += 1) {
      await this.#keepPace(hurry);
      this.#wake = new AbortController();
      this.#backoff.attempt(this.#options.clock.monotonic());
      let prepared: P;
      try {
        prepared = await prepare(signal);
        await ready();
      } catch (thrown) {
        const failure = failureOf(thrown);
        if (failure.retryCause === 'local')
          this.#backoff.forget(); // the hub was not asked
        else this.#backoff.ended(this.#options.clock.monotonic());
        return failure;
      }
      try {
        const connection = await open(prepared, signal);
        this.#backoff.ended(this.#options.clock.monotonic());
        return connection;
      } catch (thrown) {
        this.#backoff.ended(this.#options.clock.monotonic());
        const failure = failureOf(thrown);
        if (!this.#shouldRetryAtOnce(prepared, failure, tries, signal)) return failure;
        this.#options.onFailure(failure);
        this.#backoff.failed(failure.retryCause);
      }
    }
  }

  #shouldRetryAtOnce(prepared: P, failure: HubFailure, tries: number, signal: AbortSignal): boolean {
    if (signal.aborted) return false;
    const other = this.#options.nextHasOther(prepared, failure);
    if (other === undefined || tries >= MAX_TRIES_AT_ONCE) return false;
    const cause = other === 'credential' ? failure.retryCause : undefined; // a hub was not asked for another transport
    return this.#backoff.mayRetryAtOnce(cause, this.#options.clock.monotonic());
  }

  /** Waits until the limit of attempts per minute allows another one, for whatever reason it is made. */
  async #keepPace(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const wait = this.#backoff.least(clock.monotonic());
    if (wait > 0) await clock.sleep(wait, signal);
  }

  async #backOff(failure: HubFailure, offset: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#options.onFailure(failure);
    this.#setState(
      failure.retryCause === 'credentials' || failure.retryCause === 'absent' ? 'refused' : 'connecting',
      failure.error,
    );
    await this.#pause(this.#delayAfter(failure), offset, signal);
  }

  /** Counts a failure. @returns the delay before the next attempt */
  #delayAfter({ retryCause, after }: HubFailure): Duration {
    this.#backoff.failed(retryCause);
    const wait = this.#backoff.next(retryCause, this.#options.clock.monotonic());
    return milliseconds(Math.max(wait, after ?? 0));
  }

  /** Holds a connection, and its replacements, until one ends. @returns why; `undefined` if the agent closed it */
  async #keep(first: C, signal: AbortSignal): Promise<HubFailure | undefined> {
    let connection = first;
    try {
      for (;;) {
        this.#connection = connection;
        this.#backoff.accepted();
        this.#setState('connected', undefined);
        this.#options.onConnected(connection);
        const end = await this.#watch(connection, signal);
        if (end instanceof HubFailure) return end;
        if (end === undefined) return undefined;
        connection = end.next;
      }
    } finally {
      this.#connection = undefined;
      this.#endReplacement();
    }
  }

  /** @returns why the connection ended, its replacement, or `undefined` if the agent closed it */
  async #watch(connection: C, signal: AbortSignal): Promise<HubFailure | { readonly next: C } | undefined> {
    const { clock, renewAfter, onStable, random } = this.#options;
    const since = clock.monotonic();
    const ended = new AbortController();
    const stop = () => ended.abort();
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    let failure: HubFailure | undefined;
    void connection.lost.then((why) => {
      failure = why;
      ended.abort();
    });
    let isStable = false;
    const age = () => clock.monotonic() - since;
    let renewAt = renewAfter(connection) ?? Number.POSITIVE_INFINITY;
    let offset = this.#offset();
    try {
      while (!ended.signal.aborted) {
        const wait = Math.max(0, Math.min(PULSE, renewAt - age()));
        await withEither([ended.signal, this.#wake.signal], (either) => clock.sleep(milliseconds(wait), either));
        if (ended.signal.aborted) break;
        connection.checkPulse();
        if (!isStable && age() >= STABLE_AFTER) {
          isStable = true;
          this.#backoff.stable();
          onStable();
        }
        if (this.#isSetSince(offset) && isPlausible(clock.now())) {
          // The token's end is a wall clock time, which is now nearer, or was computed by a wrong clock. A clock that is not
          // set would only make a token that the hub refuses.
          offset = this.#offset();
          if (Number.isFinite(renewAt)) renewAt = Math.min(renewAt, age() + STEP_SPREAD * random());
        }
        if (!this.#wake.signal.aborted && age() < renewAt) continue;
        const next = await this.#replace(connection, ended.signal, signal);
        if (!(next instanceof HubFailure)) return { next };
        if (next === OLD_ENDED || signal.aborted) break;
        this.#options.onFailure(next);
        renewAt = age() + Math.max(RENEW_AGAIN, this.#delayAfter(next));
      }
      if (failure !== undefined) return failure;
      await connection.close();
      return undefined;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /**
   * Opens a new connection while the old one is open, after its pending requests are answered. The hub closes the old one
   * when it accepts the new one.
   *
   * @returns the new connection, or why it failed: then the old one is kept, unless it has closed in the meantime
   */
  async #replace(old: C, oldEnded: AbortSignal, signal: AbortSignal): Promise<C | HubFailure> {
    try {
      const next = await this.#connect(signal, () => this.#hold(old, oldEnded), oldEnded);
      if (next instanceof HubFailure) return next;
      await old.close();
      this.#connection = next;
      return next;
    } finally {
      if (oldEnded.aborted && this.#connection === old) this.#connection = undefined;
      this.#endReplacement();
    }
  }

  /** Lets new requests wait for the next connection, and pending ones be answered. @throws OLD_ENDED */
  async #hold(old: C, oldEnded: AbortSignal): Promise<void> {
    await this.#letAnswer(old, oldEnded);
    this.#replacement ??= new Promise((resolve) => {
      this.#endReplacement = () => {
        this.#replacement = undefined;
        this.#endReplacement = () => {};
        resolve();
      };
    });
    await new Promise<void>((resolve) => {
      oldEnded.addEventListener('abort', () => resolve(), { once: true });
      if (oldEnded.aborted) resolve();
      void old.idle().then(resolve);
    });
    if (oldEnded.aborted) throw OLD_ENDED;
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
   * Waits, but ends early when the credential changes, and when the wall clock is set: a wrong clock is the most common
   * reason for refused credentials.
   *
   * @param offset wall clock offset before the attempt, so that a clock set during the attempt counts, too; or when the
   *   connection ended
   */
  async #pause(wait: Duration, offset: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const until = clock.monotonic() + wait;
    await withEither([signal, this.#wake.signal], async (end) => {
      while (!end.aborted && clock.monotonic() < until && !this.#isSetSince(offset)) {
        await clock.sleep(milliseconds(Math.min(until - clock.monotonic(), CHECK_CLOCK_EVERY)), end);
      }
    });
  }

  /** Offset of the wall clock from the monotonic clock. */
  #offset(): number {
    return wallOffset(momentOf(this.#options.clock));
  }

  /** Whether the wall clock was set, or the machine was suspended. */
  #isSetSince(offset: number): boolean {
    return Math.abs(this.#offset() - offset) >= CLOCK_STEP;
  }

  #setState(state: HubStatus['state'], error: AgentError | undefined): void {
    if (this.#state === state && this.#error?.id === error?.id && this.#error?.message === error?.message) return;
    this.#state = state;
    this.#error = error;
    this.#options.onChange();
  }
}

/** Attempts in a row without a delay: for example with a primary and a secondary key. */
const MAX_TRIES_AT_ONCE = 3;

/** There is nothing to replace any more. */
const OLD_ENDED = new HubFailure(
  new AgentError('INTERNAL', 'the connection ended before it was replaced', ''),
  'network',
);

const failureOf = (thrown: unknown): HubFailure =>
  thrown instanceof HubFailure ? thrown : new HubFailure(toAgentError(thrown), 'network');
