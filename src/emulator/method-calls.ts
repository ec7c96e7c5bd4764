import { randomUUID } from 'node:crypto';
import { type Clock, TimeLimitError } from '../core/base/clock.ts';
import { type Duration, seconds } from '../core/base/duration.ts';
import { messageOf } from '../core/base/errors.ts';
import type { Connection } from './connection.ts';
import { HubError } from './hub-error.ts';
import { METHOD_CALLS, methodCallTopic } from './topics.ts';

/** A module's answer. */
export interface MethodResult {
  readonly status: number;
  readonly payload: unknown;
}

/** A call that could not be made or was not answered, with the status and error code that a hub returns to the caller. */
export class MethodError extends HubError {
  override readonly name = 'MethodError';
}

/** For requests and answers, in bytes of JSON. */
const LARGEST_PAYLOAD = 128 * 1024;
const MIN_LIMIT = seconds(5);
const MAX_LIMIT = seconds(300);

/** A pending call. */
interface Call {
  readonly connection: Connection;
  readonly answer: (result: MethodResult) => void;
  readonly fail: (error: MethodError) => void;
}

/**
 * Calls direct methods, and matches answers to pending calls.
 * Source: "Understand and invoke direct methods from IoT Hub".
 */
export class MethodCalls {
  readonly #clock: Clock;
  readonly #calls = new Map<string, Call>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * @param connection the module's; `undefined` if it is not connected
   * @param limit response time-out, from 5 to 300 s
   * @throws MethodError
   */
  async call(
    connection: Connection | undefined,
    { name, payload, limit }: { name: string; payload: unknown; limit: Duration },
  ): Promise<MethodResult> {
    if (limit < MIN_LIMIT || limit > MAX_LIMIT)
      throw new MethodError(400, 400004, 'The response time-out must be from 5 to 300 s.');
    const body = payload === undefined ? '' : JSON.stringify(payload);
    if (Buffer.byteLength(body) > LARGEST_PAYLOAD) throw new MethodError(413, 413001, 'The payload is too large.');
    if (connection === undefined || !connection.isSubscribedTo(METHOD_CALLS))
      throw new MethodError(404, 404103, 'The module is not connected, or has not subscribed to direct methods.');
    const requestId = randomUUID();
    const answered = new Promise<MethodResult>((answer, fail) => {
      this.#calls.set(requestId, { connection, answer, fail });
    });
    const onDisconnect = () =>
      this.#calls.get(requestId)?.fail(new MethodError(404, 404104, 'The module disconnected.'));
    connection.closed.signal.addEventListener('abort', onDisconnect, { once: true });
    connection.send(METHOD_CALLS, methodCallTopic(name, requestId), body);
    try {
      return await this.#clock.within(limit, `the direct method ${name}`, answered);
    } catch (error) {
      if (error instanceof TimeLimitError) throw new MethodError(504, 504101, 'The module did not answer in time.');
      throw error;
    } finally {
      connection.closed.signal.removeEventListener('abort', onDisconnect);
      this.#calls.delete(requestId);
    }
  }

  /** Completes a pending call. Late answers, and answers from another connection, are ignored. */
  answered(connection: Connection, requestId: string, status: number, body: string): void {
    const call = this.#calls.get(requestId);
    if (call?.connection !== connection) return;
    try {
      if (Buffer.byteLength(body) > LARGEST_PAYLOAD) throw new RangeError(`it is larger than ${LARGEST_PAYLOAD} bytes`);
      call.answer({ status, payload: body === '' ? null : JSON.parse(body) });
    } catch (error) {
      call.fail(new MethodError(502, 502000, `The module's answer is invalid: ${messageOf(error)}`));
    }
  }
}
