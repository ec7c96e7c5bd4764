import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { messageOf } from '../core/base/errors.ts';

/**
 * A listener that answers each request by `serve`. If that fails, the request is answered 500, or its connection is closed
 * if the answer was already started. The rejection of an async listener would terminate the process.
 */
export const guarded =
  (serve: (request: IncomingMessage, response: ServerResponse) => Promise<unknown>): RequestListener =>
  (request, response) => {
    serve(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(500, { 'content-type': 'text/plain', connection: 'close' }).end(`${messageOf(error)}\n`);
    });
  };
