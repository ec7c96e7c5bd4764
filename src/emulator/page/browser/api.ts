import type { Refusal, StreamEvents, TwinCheck } from '../protocol.ts';

/* Requests to the page's server, each with the token of the address. The token is in the fragment, which browsers never
 * send. */

const token = location.hash.slice(1);
export const hasToken = token !== '';

/** The server refused a request, or could not be reached. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly check: TwinCheck | undefined;

  constructor(status: number, { error, check }: Refusal) {
    super(error);
    this.status = status;
    this.check = check;
  }
}

const headers = { authorization: `Bearer ${token}` };

/** @throws ApiError */
export async function call<T>(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<T> {
  const withBody = { headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(path, { method, ...(body === undefined ? { headers } : withBody) }).catch(
    () => undefined,
  );
  if (response === undefined) throw new ApiError(0, { error: 'The emulator does not answer; it may have exited.' });
  const answer: unknown = await response.json().catch(() => ({ error: `The answer ${response.status} is not JSON.` }));
  if (!response.ok) throw new ApiError(response.status, answer as Refusal);
  return answer as T;
}

/** A connection that is silent for longer than this counts as dead; the server sends something every 15 s. */
const SILENCE_MS = 40_000;
const PAUSE_MS = 2_000;
/** Maximum number of characters of one event of the stream. */
const LARGEST_EVENT = 16 * 1024 * 1024;

/** Receives the stream. */
export interface Listener {
  event<E extends keyof StreamEvents>(name: E, data: StreamEvents[E]): void;
  /** Number of the last received message: after a reconnect only later ones are sent. */
  last(): number;
  /** `refused`: the token is wrong; there is no retry. */
  state(state: 'live' | 'broken' | 'refused'): void;
}

/** Reads the stream forever and reconnects after each failure. EventSource can't be used, since it can't send the token. */
export async function listen(listener: Listener): Promise<void> {
  for (;;) {
    const status = await listenOnce(listener).catch(() => 0);
    if (status === 401 || status === 403) return listener.state('refused');
    listener.state('broken');
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

async function listenOnce(listener: Listener): Promise<number> {
  const abort = new AbortController();
  let silence = setTimeout(() => abort.abort(), SILENCE_MS);
  try {
    const response = await fetch(`/api/stream?after=${listener.last()}`, { headers, signal: abort.signal });
    if (!response.ok || response.body === null) return response.status;
    listener.state('live');
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return response.status;
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), SILENCE_MS);
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop() ?? '';
      if (rest.length > LARGEST_EVENT) throw new Error('an event of the stream is too large');
      for (const block of blocks) take(block, listener);
    }
  } finally {
    clearTimeout(silence);
    abort.abort();
  }
}

function take(block: string, listener: Listener): void {
  const [, name, data] = /^event: (\w+)\ndata: (.*)$/s.exec(block) ?? [];
  if (name !== undefined && data !== undefined) listener.event(name as keyof StreamEvents, JSON.parse(data));
}
