import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../../core/base/clock.ts';
import { milliseconds } from '../../core/base/duration.ts';
import { messageOf } from '../../core/base/errors.ts';
import { guarded } from '../guarded.ts';
import { pathParameters } from '../path-parameters.ts';
import type { ServiceFault, ServiceFaults } from './faults.ts';
import type { RequestLog, RequestRecord } from './request-log.ts';

const LARGEST_BODY = 64 * 1024;

/** A request to one of the service's paths. */
export interface ServiceRequest {
  readonly method: string;
  /** The values of the path's `{…}` parts, decoded, in order. */
  readonly parameters: readonly string[];
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** The JSON of the body; `undefined` if there is none. */
  readonly body: unknown;
  readonly socket: Socket;
}

export interface ServiceAnswer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** The reason for a refusal, for the log. */
  readonly reason?: string;
}

export interface ServiceRoute {
  readonly method: 'GET' | 'PUT' | 'POST';
  /** `/modules/{name}/sign`: a part in braces stands for any one segment. */
  readonly path: string;
  readonly operation: string;
  /** The identity that a request is for, from the path's parameters and the body. */
  readonly subject?: (parameters: readonly string[], body: unknown) => string | undefined;
  readonly run: (request: ServiceRequest) => ServiceAnswer | Promise<ServiceAnswer>;
}

/** The properties of one service. */
export interface HttpServiceOptions {
  readonly transport: RequestRecord['transport'];
  readonly routes: readonly ServiceRoute[];
  readonly faults: ServiceFaults;
  readonly requests: RequestLog;
  readonly clock: Clock;
  /** The body of an error in this service's format. */
  readonly errorBody: (status: number, message: string) => unknown;
}

/** An HTTP server with a service's routes. It does not listen; sockets are passed to it by `emit('connection', socket)`. */
export function createHttpService(options: HttpServiceOptions): Server {
  const { faults, clock, errorBody } = options;
  const serve = guarded(async (request, response) => {
    const [pathname = '', search] = (request.url ?? '').split('?'); // URL would throw for a path like //
    const candidates = options.routes.flatMap((route) => {
      const parameters = pathParameters(route.path, pathname);
      return parameters === undefined ? [] : [{ route, parameters }];
    });
    const found = candidates.find(({ route }) => route.method === request.method);
    const operation = found?.route.operation ?? 'unknown';
    const fault = faults.trigger(operation, options.transport);
    const body = await readJson(request).catch((error: unknown) => (error instanceof Error ? error : new Error()));
    const subject = found?.route.subject?.(found.parameters, body);
    const record = (outcome: Pick<RequestRecord, 'status' | 'reason'>) =>
      options.requests.add({
        transport: options.transport,
        operation,
        path: pathname,
        ...(subject === undefined ? {} : { subject }),
        ...outcome,
        ...(fault === undefined ? {} : { fault: fault.kind }),
      });
    if (fault !== undefined && fault.kind !== 'slow') {
      const status = sendFault(fault, response, errorBody);
      return record(status === undefined ? {} : { status });
    }
    if (fault !== undefined) await clock.sleep(milliseconds(fault.ms ?? 1_000));
    const answer = await answerTo();
    send(response, answer);
    record({ status: answer.status, ...(answer.reason === undefined ? {} : { reason: answer.reason }) });

    async function answerTo(): Promise<ServiceAnswer> {
      const refuse = (status: number, message: string) => ({
        status,
        body: errorBody(status, message),
        reason: message,
      });
      if (candidates.length === 0) return refuse(404, `${pathname} does not exist`);
      if (found === undefined) return refuse(405, `${request.method} is not allowed`);
      if (body instanceof Error) return refuse(400, messageOf(body));
      const { method = '', headers, socket } = request;
      try {
        return await found.route.run({
          method,
          parameters: found.parameters,
          query: new URLSearchParams(search),
          headers,
          body,
          socket,
        });
      } catch (error) {
        return refuse(500, messageOf(error));
      }
    }
  });
  return createServer(serve);
}

/** @returns the status that was sent, if any */
function sendFault(
  fault: ServiceFault,
  response: ServerResponse,
  errorBody: HttpServiceOptions['errorBody'],
): number | undefined {
  const { kind, status = 503, retryAfterSeconds, message = 'by a fault' } = fault;
  if (kind === 'status') {
    const headers = retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) };
    send(response, { status, body: errorBody(status, message), headers });
    return status;
  }
  if (kind === 'garbage') {
    response.writeHead(200, { 'content-type': 'text/html' }).end(GARBAGE);
    return 200;
  }
  if (kind === 'reset') reset(response.socket);
  return undefined;
}

/** The answer of a captive portal or a broken proxy. */
export const GARBAGE = '<html><body>Welcome to the hotel</body></html>';

/** A Unix socket can't be reset. */
function reset(socket: Socket | null): void {
  const { _parent } = (socket ?? {}) as { _parent?: Socket | null };
  const tcp = _parent ?? socket; // the socket below a TLS stream; only that can be reset
  if (tcp?.remoteAddress === undefined) tcp?.destroy();
  else tcp.resetAndDestroy();
}

function send(response: ServerResponse, { status, body, headers }: ServiceAnswer): void {
  const text = body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, {
    ...(body === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' }),
    'content-length': Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}

/** @throws Error if the body is too large or not JSON */
async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_BODY) throw new Error(`the body is larger than ${LARGEST_BODY} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString().trim();
  return text === '' ? undefined : JSON.parse(text);
}

/** A value of a JSON object, if that is a string. */
export function text(body: unknown, ...path: readonly string[]): string | undefined {
  let value = body;
  for (const name of path) value = (value as Record<string, unknown> | null | undefined)?.[name];
  return typeof value === 'string' ? value : undefined;
}
