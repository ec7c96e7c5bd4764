import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../core/base/errors.ts';
import { hasToken } from './access-token.ts';
import { ControlError, type ControlledHub } from './control-call.ts';
import { help, ROUTES } from './control-routes.ts';
import { guarded } from './guarded.ts';
import { HubError } from './hub-error.ts';
import { pathParameters } from './path-parameters.ts';

const LARGEST_BODY = 256 * 1024;
const BASE = 'http://localhost';

/**
 * The emulator's control API: HTTP and JSON, on the loopback interface only.
 *
 * Requests without the token are rejected, because every user of the machine can reach a loopback port. Requests with a
 * foreign Host or Origin are rejected, because a web page in a browser on this machine could use the API otherwise: through
 * a host name that resolves to 127.0.0.1 (DNS rebinding), or by a cross-site request.
 */
export class ControlApi {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @param port 0 selects a free one */
  static async open(port: number, hub: ControlledHub, token: string): Promise<ControlApi> {
    const serve = guarded(async (request, response) => {
      const [status, body] = await answer(request, hub, token).then(
        (value): [number, unknown] => [200, value ?? {}],
        (error: unknown): [number, unknown] => [statusOf(error), { error: messageOf(error) }],
      );
      const close = request.complete ? {} : { connection: 'close' }; // the body was not read to its end
      response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...close });
      response.end(`${JSON.stringify(body, null, 2)}\n`);
    });
    const server = createServer(serve);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening'); // rejects on 'error'
    return new ControlApi(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

async function answer(request: IncomingMessage, hub: ControlledHub, token: string): Promise<unknown> {
  const { host = '', origin, authorization } = request.headers;
  if (!isLoopback(`http://${host}`)) throw new ControlError(403, 'The Host header must be localhost or 127.0.0.1.');
  if (origin !== undefined && !isLoopback(origin))
    throw new ControlError(403, 'Requests from other sites are refused.');
  if (!hasToken(authorization, token))
    throw new ControlError(401, 'Send the header "Authorization: Bearer TOKEN" with the token in control.token.');
  const { url = '/' } = request;
  if (!URL.canParse(url, BASE)) throw new ControlError(400, `${url} is not a path.`); // such as //
  const { pathname, searchParams } = new URL(url, BASE);
  if (pathname === '/' && request.method === 'GET') return help();
  const matches = ROUTES.flatMap((route) => {
    const parameters = pathParameters(route.path, pathname);
    return parameters === undefined ? [] : [{ route, parameters }];
  });
  if (matches.length === 0) throw new ControlError(404, `${pathname} does not exist; GET / lists the routes.`);
  const found = matches.find(({ route }) => route.method === request.method);
  if (found === undefined) {
    const allowed = matches.map(({ route }) => route.method).join(', ');
    throw new ControlError(405, `${pathname} supports ${allowed}, not ${request.method}.`);
  }
  const { route, parameters } = found;
  return route.run({
    hub,
    parameters,
    query: searchParams,
    body: route.takesBody ? await readJson(request) : undefined,
  });
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_BODY) throw new ControlError(413, `The body is larger than ${LARGEST_BODY} bytes.`);
    chunks.push(chunk);
  }
  try {
    return size === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    throw new ControlError(400, `The body is not JSON: ${messageOf(error)}`);
  }
}

function statusOf(error: unknown): number {
  if (error instanceof ControlError || error instanceof HubError) return error.status;
  return error instanceof RangeError ? 400 : 500;
}

function isLoopback(url: string): boolean {
  if (!URL.canParse(url)) return false;
  return ['localhost', '127.0.0.1', '[::1]'].includes(new URL(url).hostname);
}
