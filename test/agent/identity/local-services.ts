import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { Identity, IdentityContext, Presentation, Step } from '../../../src/agent/identity/identity.ts';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds } from '../../../src/core/base/duration.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { HubFailure } from '../../../src/core/contract/hub.ts';
import { Network } from '../../../src/core/network/network.ts';

/** As the system's clock, with time limits that are twenty times shorter. */
export const HASTY: Clock = {
  ...systemClock,
  within: (limit, what, work) => systemClock.within(milliseconds(limit / 20), what, work),
};

export const contextWith = (changes: Partial<IdentityContext> = {}): IdentityContext => ({
  hub: {},
  network: new Network({ environment: {}, clock: systemClock }),
  clock: systemClock,
  log: createLog({ level: 'silent' }),
  environment: {},
  state: undefined,
  mayCreate: false,
  ...changes,
});

export async function present(
  identity: Identity,
  signal = new AbortController().signal,
): Promise<Presentation & { steps: readonly Step[] }> {
  const steps: Step[] = [];
  return { ...(await identity.present({ signal, onStep: (step) => steps.push(step) })), steps };
}

/** The failure of a presentation. Its message and remedy must fit into a log line. */
export async function failureOf(identity: Identity): Promise<HubFailure> {
  try {
    await present(identity);
  } catch (failure) {
    assert.ok(failure instanceof HubFailure, String(failure));
    assertIsFit(failure);
    return failure;
  }
  assert.fail('the presentation was made');
}

export function assertIsFit({ error: { message, remedy } }: HubFailure): void {
  assert.match(message, /^[^\p{Cc}\u2028\u202e]{10,900}$/u);
  assert.ok(remedy.length > 10);
}

/** Accepts each connection, and handles it as configured. */
export class Listener {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(onConnection: (socket: Socket) => void) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
      onConnection(socket);
      socket.resume(); // else it would not notice the end of the connection
    });
  }

  static async open(path: string, onConnection: (socket: Socket) => void): Promise<Listener> {
    const listener = new Listener(onConnection);
    await new Promise<void>((resolve, reject) => {
      listener.#server.on('error', reject);
      listener.#server.listen(path, resolve);
    });
    return listener;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Answers each request with these bytes, whatever it asks for. */
export const answering = (path: string, answer: (path: string) => string | Buffer): Promise<Listener> =>
  Listener.open(path, (socket) => {
    socket.once('data', (request) => {
      socket.end(answer(/^\w+ (\S+)/.exec(request.toString())?.[1] ?? ''));
    });
  });

export const httpAnswer = (body: string, status = 200): string =>
  `HTTP/1.1 ${status} X\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

/** A socket whose server has ended without removing it. */
export async function abandonSocket(path: string): Promise<void> {
  const listener = await Listener.open(`${path}.x`, () => {});
  renameSync(`${path}.x`, path);
  await listener.close();
}
