import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { MqttClient } from 'mqtt';
import type { HubEmulator } from '../../../src/emulator/hub.ts';
import type { Page } from '../../../src/emulator/page/page.ts';
import type { StreamEvents } from '../../../src/emulator/page/protocol.ts';
import { bareClient, DEVICE, MODULE } from '../clients.ts';

export interface Ask {
  readonly method?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of the right one; empty: none. */
  readonly token?: string;
}

export const tokenOf = ({ address }: Page) => new URL(address).hash.slice(1);
export const portOf = ({ address }: Page) => Number(new URL(address).port);

/** Sends one request. A body that is a string is sent as it is. */
export async function open(page: Page, path: string, ask: Ask = {}): Promise<IncomingMessage> {
  const { method = 'GET', body, headers = {}, token = tokenOf(page) } = ask;
  const outgoing = request({
    host: '127.0.0.1',
    port: portOf(page),
    method,
    path,
    agent: false,
    headers: {
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
  });
  const answered = once(outgoing, 'response');
  outgoing.on('error', () => {}); // when the answer comes before the whole body is sent
  outgoing.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
  const [response] = (await answered) as [IncomingMessage];
  return response;
}

/** The same, with the whole answer; JSON is parsed. */
export async function ask(page: Page, path: string, how: Ask = {}) {
  const response = await open(page, path, how);
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  const isJson = response.headers['content-type']?.startsWith('application/json') ?? false;
  return { status: response.statusCode, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined };
}

/** Reads the stream of a page, as a browser does. */
export class Stream {
  readonly #events: { readonly name: string; readonly data: unknown }[] = [];
  readonly response: IncomingMessage;
  readonly #arrivals = new EventEmitter();

  private constructor(response: IncomingMessage) {
    this.response = response;
    let rest = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) this.#take(block);
    });
    response.on('error', () => {});
  }

  static async open(page: Page, query = ''): Promise<Stream> {
    const response = await open(page, `/api/stream${query}`);
    assert.equal(response.statusCode, 200);
    return new Stream(response);
  }

  #take(block: string): void {
    if (block.startsWith(':')) return;
    const [, name = '', data = ''] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? assert.fail(block.slice(0, 200));
    this.#events.push({ name, data: JSON.parse(data) });
    this.#arrivals.emit('event');
  }

  /** The next event of this name that `isWanted`; others before it are skipped. */
  async next<E extends keyof StreamEvents>(
    name: E,
    isWanted: (data: StreamEvents[E]) => boolean = () => true,
  ): Promise<StreamEvents[E]> {
    for (;;) {
      for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) {
        const data = event.data as StreamEvents[E];
        if (event.name === name && isWanted(data)) return data;
      }
      await once(this.#arrivals, 'event');
    }
  }

  close(): void {
    this.response.destroy();
  }
}

/** A module that sends the messages of a test. */
export async function connect(hub: HubEmulator): Promise<MqttClient> {
  const client = bareClient(hub);
  await once(client, 'connect');
  return client;
}

/** Sends a message, and waits until the hub has it. A body that is not a string is sent as JSON. */
export async function send(hub: HubEmulator, client: MqttClient, body: unknown): Promise<void> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const before = hub.messages.at(-1)?.sequence ?? 0;
  const received = hub.waitForMessage(({ sequence, body: got }) => sequence > before && got === text);
  client.publish(`devices/${DEVICE}/modules/${MODULE}/messages/events/MessagePriority=High`, text, { qos: 1 });
  await received;
}

/** An event as the agent makes them. */
export const event = (Name: string, ...Payload: readonly object[]) => ({
  Id: '1a6976d2-9465-83b0-9eaa-34814a49b922',
  TimestampLocal: '2026-03-04T21:06:07.089+01:00',
  TimestampUTC: '2026-03-04T20:06:07.089Z',
  Category: 'Triggered',
  Name,
  EventType: 'Security',
  IsEmpty: Payload.length === 0,
  PayloadSchemaVersion: '1.0',
  Payload,
});

export const start = (CommandLine: string, UserName = 'root') =>
  event('ProcessCreate', { Executable: '/bin/x', CommandLine, ProcessId: 7, UserId: '0', UserName });

export const alert = (changes: object = {}) =>
  event('SecurityAlert', {
    AlertId: 'b2986740-fec3-8051-bb36-15c367ca9eb5',
    AlertType: 'IoT_ReverseShell',
    Severity: 'High',
    RuleTitle: 'Reverse shell',
    Count: 1,
    FirstSeenUtc: '2026-03-04T20:06:07.089Z',
    LastSeenUtc: '2026-03-04T20:06:07.089Z',
    EventName: 'ProcessCreate',
    CommandLine: 'bash -i',
    Remediation: 'End the shell.',
    Techniques: 'T1059.004;T1071',
    ...changes,
  });
