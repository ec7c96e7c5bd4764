import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { systemClock, TimeLimitError } from './clock.ts';
import { seconds } from './duration.ts';
import { AgentError, errnoOf, messageOf } from './errors.ts';
import { makeFolder } from './paths.ts';

/* The agent's local interface: HTTP over a Unix socket that only its owner and root may open, see unix(7). `curl
 * --unix-socket PATH http://vakt/status` works too. */

/**
 * Length of sun_path without its terminating zero, see unix(7). Node truncates a longer path, which names another file.
 */
const LONGEST_PATH = 107;

/** Time limit for an answer. A working agent answers immediately. */
const LIMIT = seconds(5);

/** In characters. Root's command must not trust the answer: any process of the agent's user could send it. */
const LONGEST_ANSWER = 8 * 1024 * 1024;

/** Answers one path. Returns what to send as JSON, or `undefined` if it streams to the response itself. */
export type Handler = (query: URLSearchParams, response: ServerResponse) => unknown;

/**
 * Serves `handlers` at `path`. A socket that a crashed agent left there is replaced; any other file is an error.
 *
 * @returns a function that stops serving and removes the socket file
 * @throws {AgentError} AGENT_RUNNING when another agent answers there, CONFIG_INVALID when the path is too long for a
 *   socket; otherwise the system's error
 */
export async function serveControlSocket(
  path: string,
  handlers: Readonly<Record<string, Handler>>,
): Promise<() => Promise<void>> {
  refuseLongPath(path);
  if (await answers(path)) {
    const remedy = 'Stop the other agent first, or give this one a controlSocket and a stateDirectory of its own.';
    throw new AgentError('AGENT_RUNNING', `another agent already runs and answers at ${path}`, remedy);
  }
  makeFolder(dirname(path), 0o755);
  removeSocket(path);
  const server = createServer((message, response) => {
    const [path = '', query = ''] = (message.url ?? '').split('?', 2);
    const handler = message.method === 'GET' && Object.hasOwn(handlers, path) ? handlers[path] : undefined;
    if (handler === undefined) return answer(response, 404, { error: 'not found', paths: Object.keys(handlers) });
    try {
      const body = handler(new URLSearchParams(query), response);
      if (body !== undefined) answer(response, 200, body);
    } catch (error) {
      answer(response, 500, { error: messageOf(error) });
    }
    return undefined;
  });
  server.maxConnections = 32;
  await listen(server, path);
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
}

interface Question {
  /** Called with each line of a streamed answer. Without it, the whole answer is returned as JSON. */
  readonly onLine?: (line: string) => void;
  /** Called when the agent begins to stream. If it returns a promise, no line is read before that resolves. */
  readonly onOpen?: () => unknown;
  /** Ends a stream, which then resolves; makes any other question reject with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * Asks a running agent. It must answer, or begin to stream, within 5 s.
 *
 * @throws {AgentError} AGENT_NOT_RUNNING if no agent answers or it exits before it has answered, AGENT_ACCESS_DENIED if
 *   this user may not connect, CONFIG_INVALID if the path is too long for a socket; another Error if the agent answers
 *   with an error
 */
export async function askControlSocket(path: string, what: string, question: Question = {}): Promise<unknown> {
  const { onLine, onOpen, signal } = question;
  refuseLongPath(path);
  // Connections are not reused: the next request may be for another agent at the same path.
  const asked = request({ socketPath: path, path: what, agent: false, signal });
  asked.on('error', () => {}); // may still be emitted after this function has returned
  const inTime = <T>(work: Promise<T>) => systemClock.within(LIMIT, what, work);
  try {
    const response = await inTime(head(asked));
    if (response.statusCode !== 200) {
      throw new Error(`the agent answers ${what} with ${(await inTime(wholeOf(response))).trim()}`);
    }
    if (onLine === undefined) return JSON.parse(await inTime(wholeOf(response)));
    await onOpen?.();
    await eachLine(response, onLine);
    return undefined;
  } catch (error) {
    if (!signal?.aborted) throw noAnswer(path, error);
    if (onLine === undefined) throw signal.reason;
    return undefined;
  } finally {
    asked.destroy();
  }
}

/** Whether a request failed because no agent listens; after any other failure an agent may be running. */
export const isNoAgentListening = (error: unknown): boolean =>
  error instanceof AgentError && error.id === 'AGENT_NOT_RUNNING' && isNoListenerError(error.cause);

const isNoListenerError = (error: unknown) => ['ENOENT', 'ECONNREFUSED'].includes(errnoOf(error) ?? '');

const head = (asked: ClientRequest) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    asked.once('response', resolve);
    asked.once('error', reject);
    asked.end();
  });

async function wholeOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += chunk;
    if (text.length > LONGEST_ANSWER) throw new Error('the answer of the agent is too long');
  }
  return text;
}

async function eachLine(response: IncomingMessage, onLine: (line: string) => void): Promise<void> {
  let rest = '';
  for await (const chunk of response.setEncoding('utf8')) {
    const lines = `${rest}${chunk}`.split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > LONGEST_ANSWER) throw new Error('the answer of the agent has a line that is too long');
    for (const line of lines) onLine(line);
  }
}

/** The answer is not one that this version understands. Any process of the agent's user could answer at the socket. */
export const notUnderstood = (path: string): AgentError =>
  new AgentError(
    'AGENT_NOT_RUNNING',
    `what answers at ${path} is not this version of the agent`,
    'Restart the agent after an update: systemctl restart vakt.',
  );

/** Turns the failure of a request into an AgentError; an error in the answer itself is passed on. */
function noAnswer(path: string, cause: unknown): unknown {
  if (cause instanceof AgentError) return cause; // of onOpen
  const failure = (message: string, remedy: string) => new AgentError('AGENT_NOT_RUNNING', message, remedy, { cause });
  if (cause instanceof TimeLimitError) {
    return failure(
      `the agent at ${path} does not answer`,
      'With the service, find the reason: journalctl -u vakt -n 50. Then run: systemctl restart vakt',
    );
  }
  if (cause instanceof SyntaxError) return notUnderstood(path); // not JSON
  const code = errnoOf(cause);
  if (code === undefined) return cause;
  if (code === 'ECONNRESET')
    return failure(`the agent at ${path} exited`, 'Run the command again when the agent is running.');
  if (code === 'EACCES') {
    const remedy = 'Run the command as root, or as the user that the agent runs as.';
    return new AgentError('AGENT_ACCESS_DENIED', `you may not ask the agent at ${path}`, remedy, { cause });
  }
  const remedy = 'Start it with "vakt run", or name its configuration with --config FILE.';
  return failure(`no agent answers at ${path}: ${code}`, remedy);
}

function refuseLongPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length <= LONGEST_PATH) return;
  const remedy = `Set controlSocket to a path of at most ${LONGEST_PATH} bytes.`;
  throw new AgentError('CONFIG_INVALID', `controlSocket has ${length} bytes, too many for a socket: ${path}`, remedy);
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

const listen = (server: Server, path: string) =>
  new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const mask = process.umask(0o177); // others must not be able to open it before chmod
    try {
      server.listen(path, () => {
        try {
          chmodSync(path, 0o600);
          resolve();
        } catch (error) {
          server.close();
          reject(error);
        }
      });
    } finally {
      process.umask(mask);
    }
  });

/** Whether a server accepts connections at `path`. Rejects when that is unclear: the file must not be replaced then. */
const answers = (path: string) =>
  new Promise<boolean>((resolve, reject) => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', (error) => {
      if (isNoListenerError(error)) resolve(false);
      else if (errnoOf(error) === 'EAGAIN')
        resolve(true); // a server listens, and its backlog is full
      else reject(error);
    });
  });

function removeSocket(path: string): void {
  try {
    if (!lstatSync(path).isSocket()) throw new Error(`${path} exists and is not a socket`);
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
