import { type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from 'node:http';
import type { Socket } from 'node:net';
import { untilAborted } from './limited.ts';

export interface HttpRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** In bytes. The largest expected body is a bundle of all authorities, 220 KB. */
const LARGEST_BODY = 1024 * 1024;
const LARGEST_HEAD = 16 * 1024;

/**
 * Sends one request over a connection, which is destroyed afterwards, and when `signal` aborts. Redirects are not
 * followed.
 *
 * @param host for the header of this name
 * @throws the system's or the HTTP parser's error
 */
export async function exchange(
  socket: Socket,
  host: string,
  { method, path, headers, body }: HttpRequest,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  try {
    return await untilAborted<HttpAnswer>(signal, (resolve, reject) => {
      const request = requestHttp({
        createConnection: () => socket,
        method,
        path,
        headers: { host, connection: 'close', ...headers },
        maxHeaderSize: LARGEST_HEAD,
      });
      request.on('error', reject);
      // Without a listener, Node closes the connection silently when it is answered with an upgrade.
      const close = () => reject(new Error('the connection was closed instead of an answer'));
      request.on('close', close);
      request.on('response', (response) => {
        request.off('close', close); // it comes before the end of the body has been read
        void readBody(response).then(resolve, reject);
      });
      request.end(body);
    });
  } finally {
    socket.on('error', () => {}).destroy();
  }
}

async function readBody(response: IncomingMessage): Promise<HttpAnswer> {
  const { statusCode: status = 0, headers } = response;
  if (status < 200) throw new Error(`the answer has the status ${status}`); // the parser takes a bare 101 for the last one
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > LARGEST_BODY) throw new Error(`the answer is larger than ${LARGEST_BODY} bytes`);
    chunks.push(chunk);
  }
  return { status, headers, body: Buffer.concat(chunks).toString('utf8') };
}
