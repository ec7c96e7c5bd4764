import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, systemClock } from '../../core/base/clock.ts';
import { PUBLISHED_OBJECT, twinDialect } from '../../core/twin/published-object.ts';
import type { HubEmulator } from '../hub.ts';
import { readAssets } from './assets.ts';
import { faultForms } from './faults.ts';
import { Feed } from './feed.ts';
import { methodForms, settingForm } from './forms.ts';
import { checkSite, checkToken, RequestError, SECURITY_HEADERS } from './guard.ts';
import { readJson, refuse, sendAsset, sendJson, urlOf } from './http.ts';
import { ROUTES } from './routes.ts';

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
