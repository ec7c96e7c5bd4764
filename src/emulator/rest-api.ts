import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../core/base/clock.ts';
import { type Duration, milliseconds } from '../core/base/duration.ts';
import { messageOf } from '../core/base/errors.ts';
import { certificatesOf } from './client-certificates.ts';
import type { Faults } from './faults.ts';
import type { Registry } from './registry.ts';
import { authorize, type Caller, type Policy } from './rest-authorize.ts';
import type { RestAnswer, RestModules } from './rest-call.ts';
import { type ErrorForm, RestError } from './rest-errors.ts';
import { routesOf } from './rest-routes.ts';

/** A request to the REST API, as answered. Never contains a key or a token. */
export interface RestRequest {
  readonly at: Date;
  readonly method: string;
  /** Path with its query. */
  readonly path: string;
  readonly userAgent?: string;
  /** Omitted if the request was not authorized. */
  readonly caller?: Caller;
  /** Omitted if a fault suppressed the answer. */
  readonly status?: number;
  /** The hub's six-digit code. */
  readonly errorCode?: number;
  /** The reason for an error. */
  readonly reason?: string;
}

/** The state and settings that decide about requests. */
export interface RestHub extends RestModules {
  readonly hostName: string;
  readonly registry: Registry;
  readonly policies: readonly Policy[];
  readonly bearerTokens: readonly string[];
  readonly faults: Faults;
  readonly clock: Clock;
  readonly skewTolerance: Duration;
  readonly errorForm: ErrorForm;
  /** Emits `restRequest`. */
  readonly events: EventEmitter;
}

/** Enough for a method's payload of 128 KiB, and for 100 devices. */
const LARGEST_BODY = 256 * 1024;
const REQUESTS_KEPT = 10_000;
const BASE = 'https://localhost';

/** The hub's REST API over HTTPS: devices, modules, twins, queries and direct methods. Source: "IoT Hub REST API". */
export class RestApi {
  /** Oldest first. */
  readonly requests: RestRequest[] = [];
  readonly #hub: RestHub;
  #second = { number: 0, requests: 0 };

  constructor(hub: RestHub) {
    this.#hub = hub;
  }

  /** Serves a request of an HTTPS server. Rejects if no answer can be sent. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { clock, errorForm, faults } = this.#hub;
    const { method = 'GET', url: path = '/', headers } = request;
    const userAgent = headers['user-agent'];
    const record = { at: clock.now(), method, path, ...(userAgent === undefined ? {} : { userAgent }) };
    if (faults.trigger('restSilence') !== undefined) return this.#note(record);
    const delay = faults.trigger('restDelay');
    if (delay !== undefined) await clock.sleep(milliseconds(delay.ms ?? 1_000));
    if (response.destroyed) return this.#note(record);
    if (faults.trigger('restGarbage') !== undefined) {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Service Unavailable</html>');
      return this.#note({ ...record, status: 200 });
    }
    const done: { caller?: Caller } = {};
    try {
      const {
        status,
        body,
        etag,
        headers: more,
      } = await this.#answer(request, (caller) => {
        done.caller = caller;
      });
      response.writeHead(status, { ...JSON_TYPE, ...more, ...(etag === undefined ? {} : { etag: `"${etag}"` }) });
      response.end(body === undefined ? undefined : JSON.stringify(body));
      this.#note({ ...record, ...done, status });
    } catch (cause) {
      const error = cause instanceof RestError ? cause : new RestError(500001, messageOf(cause));
      const { status, code: errorCode, message: reason } = error;
      const { retryAfter } = cause instanceof InjectedError ? cause : {};
      const after = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) };
      const close = request.complete ? {} : { connection: 'close' }; // the body was not read to its end
      response.writeHead(status, { ...JSON_TYPE, ...error.headers, ...after, ...close });
      response.end(JSON.stringify(error.body(errorForm, record.at)));
      this.#note({ ...record, ...done, status, errorCode, reason });
    }
  }

  async #answer(request: IncomingMessage, authorized: (caller: Caller) => void): Promise<RestAnswer> {
    const hub = this.#hub;
    const { method = 'GET', url: target = '/', headers, socket } = request;
    const fault = hub.faults.trigger('restStatus', ({ text = '' }) => target.includes(text));
    if (fault !== undefined) throw new InjectedError(fault);
    const throttle = hub.faults.trigger('throttleRest', ({ perSecond = 10 }) => this.#isAbove(perSecond));
    if (throttle !== undefined) throw new InjectedError({ status: 429, retryAfter: throttle.retryAfter ?? 1 });
    if (!URL.canParse(target, BASE)) throw new RestError(400004, `${target} is not a path.`); // such as //
    const url = new URL(target, BASE);
    const path = segmentsOf(url.pathname);
    const matches = routesOf(path);
    const [match] = matches;
    if (match === undefined) throw new RestError(404000, `The emulator has no ${url.pathname}.`);
    if (!/^\d{4}-\d\d-\d\d(?:-preview)?$/.test(url.searchParams.get('api-version') ?? ''))
      throw new RestError(400001, 'The query has no valid api-version.');
    const { route, parameters } = matches.find((each) => each.route.method === method) ?? match;
    const deviceId = route.isOpenToDevice === true ? parameters[0] : undefined;
    const certificates = certificatesOf(socket as TLSSocket);
    const claim = { authorization: headers.authorization, certificates, path, deviceId, right: route.right };
    authorized(authorize(claim, { ...hub, now: hub.clock.now() }));
    if (route.method !== method) throw new RestError(405000, `${url.pathname} does not support ${method}.`);
    const header = (name: string) => headers[name]?.toString();
    return route.run({ hub, parameters, query: url.searchParams, header, body: () => readJson(request) });
  }

  /** Counts requests per second. */
  #isAbove(perSecond: number): boolean {
    const second = Math.floor(this.#hub.clock.monotonic() / 1_000);
    if (second !== this.#second.number) this.#second = { number: second, requests: 0 };
    this.#second.requests += 1;
    return this.#second.requests > perSecond;
  }

  #note(record: RestRequest): void {
    this.requests.push(record);
    if (this.requests.length > REQUESTS_KEPT) this.requests.shift();
    this.#hub.events.emit('restRequest', record);
  }
}

const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' } as const;

/** An answer caused by a fault. */
class InjectedError extends RestError {
  readonly retryAfter: number | undefined;

  constructor({ status = 500, retryAfter }: { readonly status?: number; readonly retryAfter?: number }) {
    super(status * 1_000 + (status === 401 ? 3 : 1), 'injected by a fault');
    this.retryAfter = retryAfter;
  }
}

/** @throws RestError */
function segmentsOf(path: string): string[] {
  try {
    return path.split('/').slice(1).map(decodeURIComponent);
  } catch {
    throw new RestError(400004, 'The path is not percent-encoded UTF-8.');
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_BODY) throw new RestError(413001, `The body is larger than ${LARGEST_BODY} bytes.`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    throw new RestError(400012, `The body is not JSON: ${messageOf(error)}`);
  }
}
