import { type Clock, TimeLimitError } from '../../../core/base/clock.ts';
import { type Duration, seconds } from '../../../core/base/duration.ts';
import { errnoOf, messageOf } from '../../../core/base/errors.ts';
import { printable } from '../../../core/base/text.ts';
import { type Address, hostAndPort } from '../../../core/network/address.ts';
import { dial } from '../../../core/network/dial.ts';
import { exchange, type HttpAnswer, type HttpRequest } from '../../../core/network/http.ts';
import { limited } from '../../../core/network/limited.ts';
import { Names } from '../../../core/network/names.ts';
import { requestUnix } from '../../../core/network/unix-socket.ts';

/** Where a service of this device listens. */
export type LocalService = { readonly socketPath: string } | { readonly address: Address };

export interface AskOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /**
   * For connecting and the answer together; default 5 s. A service that was silent is asked again 5 s later, and the agent
   * must be connected 15 s after it has come back (contract §1).
   */
  readonly limit?: Duration;
}

/** A local service did not answer, or not as such a service does. */
export class LocalServiceError extends Error {
  override readonly name = 'LocalServiceError';
  /** `absent`: nothing listens. `forbidden`: this process may not open the socket. `broken`: it answered, or closed. */
  readonly kind: 'absent' | 'forbidden' | 'silent' | 'broken';

  constructor(kind: LocalServiceError['kind'], message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.kind = kind;
  }
}

/** A local service answered with another status than 200. */
export class LocalRefusal extends Error {
  override readonly name = 'LocalRefusal';
  readonly status: number;

  /** @param message is of one line, and contains the service's own words */
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }

  /** Whether the service can't answer at present; otherwise it doesn't do what it was asked for. */
  get isTemporary(): boolean {
    return this.status < 400 || this.status >= 500 || this.status === 408 || this.status === 429;
  }
}

const DEFAULT_LIMIT = seconds(5);

/** Shared by all requests: while a resolver does not answer, lookups every 5 s would occupy all of libuv's threads. */
const names = new Names();

/**
 * Asks a service of this device, which speaks HTTP and JSON.
 *
 * @param request without `body`: the service is only asked for something
 * @returns the JSON value of an answer with status 200; it must be checked
 * @throws LocalRefusal, LocalServiceError, the reason of the signal. No message contains the request or the value.
 */
export async function askLocal(
  service: LocalService,
  { path, body }: { readonly path: string; readonly body?: object },
  options: AskOptions,
): Promise<unknown> {
  const request: HttpRequest =
    body === undefined
      ? { method: 'GET', path, headers: { accept: 'application/json' } }
      : { method: 'POST', path, ...jsonOf(body) };
  const answer = await answerOf(service, request, options);
  if (answer.status !== 200) throw refusalOf(answer);
  try {
    return JSON.parse(answer.body);
  } catch {
    throw notUnderstood(service); // the parser's message quotes the text, which may contain a secret
  }
}

/** For an answer that was read, and is not what was asked for. */
export const notUnderstood = (service: LocalService): LocalServiceError =>
  new LocalServiceError('broken', `${nameOf(service)} answered with something else than was asked for`);

/** As messages name it. */
export const nameOf = (service: LocalService): string =>
  'address' in service ? `http://${hostAndPort(service.address)}` : service.socketPath;

async function answerOf(
  service: LocalService,
  request: HttpRequest,
  { clock, signal, limit = DEFAULT_LIMIT }: AskOptions,
): Promise<HttpAnswer> {
  try {
    if ('socketPath' in service) return await requestUnix(service.socketPath, request, { clock, signal, limit });
    return await requestTcp(service.address, request, { clock, signal, limit });
  } catch (error) {
    signal.throwIfAborted();
    throw describe(service, error, limit);
  }
}

/** Never through a proxy: the service is on this device, or on the host of this container. */
const requestTcp = (
  { host, port }: Address,
  request: HttpRequest,
  { clock, signal, limit }: Required<AskOptions>,
): Promise<HttpAnswer> =>
  limited({ clock, limit, label: `asking ${hostAndPort({ host, port })}`, signal }, async (step) => {
    const addresses = await names.addressesOf(host, step);
    return exchange(await dial({ addresses, port, clock, signal: step }), hostAndPort({ host, port }), request, step);
  });

function describe(service: LocalService, cause: unknown, limit: Duration): LocalServiceError {
  const name = nameOf(service);
  const failure = (kind: LocalServiceError['kind'], what: string) =>
    new LocalServiceError(kind, `${name} ${what}`, { cause });
  if (cause instanceof TimeLimitError) return failure('silent', `did not answer within ${limit / 1_000} s`);
  switch (errnoOf(cause)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return failure('absent', 'does not exist');
    case 'ECONNREFUSED':
      return failure('absent', 'refuses connections: nothing listens there');
    case 'EACCES':
    case 'EPERM':
      return failure('forbidden', `may not be opened by user ${process.geteuid?.() ?? 'of this process'}`);
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return failure('absent', `can't be reached: ${errnoOf(cause)}`);
    default:
      return failure('broken', `does not answer as it should: ${oneLine(messageOf(cause))}`);
  }
}

/** Both services answer `{"message": "…"}`. */
function refusalOf({ status, body }: HttpAnswer): LocalRefusal {
  const words = messageIn(body);
  return new LocalRefusal(status, words === '' ? `status ${status}` : `status ${status}, ${words}`);
}

function messageIn(body: string): string {
  try {
    const { message } = Object(JSON.parse(body));
    return typeof message === 'string' ? oneLine(message) : '';
  } catch {
    return '';
  }
}

const MAX_LINE_CHARACTERS = 300;

/** For logs and terminals: the service's words may be an attacker's if the service is not what it should be. */
function oneLine(text: string): string {
  // Can be longer: it writes code points.
  const line = printable(text.slice(0, MAX_LINE_CHARACTERS).replace(/\s+/g, ' ')).trim();
  return text.length > MAX_LINE_CHARACTERS || line.length > MAX_LINE_CHARACTERS
    ? `${line.slice(0, MAX_LINE_CHARACTERS)}…`
    : line;
}

function jsonOf(body: object): Pick<HttpRequest, 'headers'> & { body: string } {
  const text = JSON.stringify(body);
  const length = String(Buffer.byteLength(text));
  return {
    headers: { accept: 'application/json', 'content-type': 'application/json', 'content-length': length },
    body: text,
  };
}
