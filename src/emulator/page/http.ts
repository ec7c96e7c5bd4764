import type { IncomingMessage, ServerResponse } from 'node:http';
import { messageOf } from '../../core/base/errors.ts';
import { isPlainObject } from '../../core/base/values.ts';
import { MethodError } from '../method-calls.ts';
import { TwinError } from '../twin-limits.ts';
import type { Asset } from './assets.ts';
import { RequestError } from './guard.ts';
import type { Refusal } from './protocol.ts';
import { FaultyDesired } from './routes.ts';

/* Reads requests, and writes answers. */

/** A desired section has at most 32 KiB; as JSON it is longer. */
const LARGEST_BODY = 256 * 1024;

/** @throws RequestError 400 */
export function urlOf({ url = '/' }: IncomingMessage): URL {
  const base = 'http://localhost';
  if (!URL.canParse(url, base)) throw new RequestError(400, 'The URL is invalid.');
  return new URL(url, base);
}

/** @throws RequestError 405 for any method except GET */
export function sendAsset({ method }: IncomingMessage, response: ServerResponse, { type, content }: Asset): void {
  if (method !== 'GET') throw new RequestError(405, 'This can only be read.');
  response.writeHead(200, { 'content-type': type });
  response.end(content);
}

/** Answers with JSON. */
export function sendJson(request: IncomingMessage, response: ServerResponse, status: number, body: unknown): void {
  const close = request.complete ? {} : { connection: 'close' }; // the body was not read to its end
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...close });
  response.end(JSON.stringify(body));
}

/** Answers with the error and its status; an answer that has started can only be aborted. */
export function refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (response.headersSent) return void response.destroy();
  const check = error instanceof FaultyDesired ? { check: error.check } : {};
  sendJson(request, response, statusOf(error), { error: messageOf(error), ...check } satisfies Refusal);
}

function statusOf(error: unknown): number {
  if (error instanceof RequestError || error instanceof TwinError || error instanceof MethodError) return error.status;
  return error instanceof RangeError ? 400 : 500;
}

/** The body of a request, a JSON object. @throws RequestError */
export async function readJson(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? ''))
    throw new RequestError(415, 'The body must be of the type application/json.');
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_BODY) throw new RequestError(413, `The body is larger than ${LARGEST_BODY} bytes.`);
    chunks.push(chunk);
  }
  const body = parse(Buffer.concat(chunks).toString());
  if (!isPlainObject(body)) throw new RequestError(400, 'The body must be a JSON object.');
  return body;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RequestError(400, `The body is not JSON: ${messageOf(error)}`);
  }
}
