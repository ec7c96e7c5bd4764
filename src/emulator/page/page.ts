import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, systemClock } from '../../core/base/clock.ts';
import { PUBLISHED_OBJECT, twinDialect } from '../../core/twin/published-object.ts';
import { FAULTS, type FaultKind } from '../faults.ts';
import type { HubEmulator } from '../hub.ts';
import { readAssets } from './assets.ts';
import { Feed } from './feed.ts';
import { methodForms, settingForm } from './forms.ts';
import { checkSite, checkToken, RequestError, SECURITY_HEADERS } from './guard.ts';
import { readJson, refuse, sendAsset, sendJson, urlOf } from './http.ts';
import type { FaultKindForm, Field } from './protocol.ts';
import { ROUTES } from './routes.ts';

const number = (name: string, initial: number, about: string): Field => ({
  name,
  kind: 'number',
  about,
  required: true,
  initial: String(initial),
});

/** The duration of a fault; every kind has this field. */
const DURATION: Field = {
  name: 'durationMs',
  kind: 'number',
  about: 'Duration in milliseconds; if empty, until it is switched off.',
  required: false,
};

/**
 * The most useful faults, and the fields of each kind. Other kinds have no fields of their own.
 */
const KNOWN: Partial<Readonly<Record<FaultKind, { readonly title: string; readonly fields?: readonly Field[] }>>> = {
  quotaExceeded: {
    title: "The day's quota is used up",
    fields: [{ name: 'twinSays', kind: 'flag', about: 'Answer twin requests with 403002.', required: false }],
  },
  delayAcknowledgements: {
    title: 'The hub is slow',
    fields: [number('ms', 5_000, 'Milliseconds until a message is acknowledged.')],
  },
  throttleMessages: {
    title: 'Messages are throttled',
    fields: [number('perMinute', 10, 'Messages allowed per minute.')],
  },
  ignoreMessages: { title: 'Messages are ignored' },
  dropAcknowledgements: { title: 'Acknowledgements get lost' },
  resetOnPublish: { title: 'The connection breaks at each message' },
  refuseConnections: { title: 'Connections are refused' },
  serverUnavailable: { title: 'The server is unavailable' },
  twinStatus: { title: 'Twin requests fail', fields: [number('status', 429, 'The status of the answer.')] },
  twinSilence: { title: 'Twin requests are not answered' },
  desiredSilence: { title: 'Desired changes are not notified' },
  closeOnText: {
    title: 'A string closes the connection',
    fields: [{ name: 'text', kind: 'text', about: 'The string in a message.', required: true }],
  },
  restStatus: { title: 'REST requests fail', fields: [number('status', 500, 'The status of the answer.')] },
  restDelay: { title: 'REST requests are slow', fields: [number('ms', 5_000, 'Milliseconds until an answer.')] },
};

const isKind = (name: string): name is FaultKind => Object.hasOwn(FAULTS, name);

/** A form for each kind of fault that the emulator has: the known ones first. */
export function faultForms(): readonly FaultKindForm[] {
  const kinds = [...new Set([...Object.keys(KNOWN), ...Object.keys(FAULTS)])].filter(isKind);
  return kinds.map((kind) => {
    const { title = kind, fields = [] } = KNOWN[kind] ?? {};
    return { kind, title, about: FAULTS[kind], fields: [...fields, DURATION] };
  });
}

const MAX_CONNECTIONS = 64;

/** Limits per client, in milliseconds and bytes. */
const SERVER_LIMITS = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: 5_000, maxHeaderSize: 8_192 };

/**
 * A page that shows the activity at a hub, changes twins, calls methods and injects faults. It is served on 127.0.0.1 only.
 * Everything except the page's own files requires the token in its address.
 */
export class Page {
  /** The address to open in a browser. Anyone who has it can use the page. */
  readonly address: string;
  readonly #server: Server;
  readonly #feed: Feed;

  private constructor(address: string, server: Server, feed: Feed) {
    this.address = address;
    this.#server = server;
    this.#feed = feed;
  }

  /** @param options.port 0 selects a free one @throws the system's error if the port is in use */
  static async open(hub: HubEmulator, options: { readonly port: number; readonly clock?: Clock }): Promise<Page> {
    const { port, clock = systemClock } = options;
    const dialect = twinDialect();
    const assets = readAssets();
    const forms = {
      object: PUBLISHED_OBJECT,
      settings: dialect.properties.map(settingForm),
      methods: methodForms(),
      faults: faultForms(),
    };
    const token = hub.controlToken;
    const server = createServer(SERVER_LIMITS);
    server.maxConnections = MAX_CONNECTIONS;
    server.listen(port, '127.0.0.1');
    await once(server, 'listening'); // rejects on 'error'
    const { port: open } = server.address() as AddressInfo;
    const feed = new Feed(hub, clock, forms);
    server.on('request', (request, response) => {
      answer(request, response).catch((error: unknown) => refuse(request, response, error));
    });
    return new Page(`http://127.0.0.1:${open}/#${token}`, server, feed);

    async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
      for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
      checkSite(request.headers, open);
      const { pathname, searchParams: query } = urlOf(request);
      const asset = assets.get(pathname);
      if (asset !== undefined) return sendAsset(request, response, asset);
      checkToken(request.headers, token);
      if (request.method === 'GET' && pathname === '/api/stream') return stream(response, query);
      const route = `${request.method} ${pathname}`;
      const run = Object.hasOwn(ROUTES, route) ? ROUTES[route] : undefined;
      if (run === undefined) throw new RequestError(404, `There is no ${route}.`);
      const body = request.method === 'POST' || request.method === 'PUT' ? await readJson(request) : {};
      sendJson(request, response, 200, (await run({ hub, dialect, query, body })) ?? {});
      if (request.method !== 'GET') feed.look();
    }

    function stream(response: ServerResponse, query: URLSearchParams): void {
      if (feed.isFull) throw new RequestError(503, 'Too many browsers show this page; close one.');
      feed.join(response, Number(query.get('after')) || 0);
    }
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#feed.close();
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}
