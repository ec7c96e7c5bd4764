import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { openTunnel, ProxyError } from '../../../src/core/network/tunnel.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { until } from '../../harness/until.ts';
import { never, Sockets } from './bench.ts';

const target = { host: 'hub.example', port: 8883 };
const OPENED = 'HTTP/1.1 200 Connection established\r\n\r\n';

describe('openTunnel', () => {
  let sockets: Sockets;
  beforeEach(() => {
    sockets = new Sockets();
  });
  afterEach(() => sockets.close());

  /** Asks a proxy that answers with these parts, and then closes the connection or not. */
  const ask = async (parts: readonly (string | Uint8Array)[], { closes = false, signal = never } = {}) => {
    const port = await sockets.listen(async (socket) => {
      await once(socket, 'data');
      for (const part of parts) await new Promise((resolve) => socket.write(part, resolve));
      if (closes) socket.end();
    });
    const proxy = { host: '127.0.0.1', port };
    const socket = sockets.keep(connect(port, '127.0.0.1'));
    await openTunnel(socket, { proxy, target, signal });
    return socket;
  };
  const refused = async (parts: readonly string[], message: RegExp, { status, closes = false }: Asked = {}) => {
    await assert.rejects(ask(parts, { closes }), (error: ProxyError) => {
      assert.match(error.message, message);
      assert.match(error.message, /^the proxy 127\.0\.0\.1:\d+ /);
      assert.match(error.proxy, /^127\.0\.0\.1:\d+$/);
      assert.equal(error.status, status);
      return error instanceof ProxyError;
    });
  };
  interface Asked {
    readonly status?: number;
    readonly closes?: boolean;
  }

  for (const [what, parts] of Object.entries({
    'a status of 200': [OPENED],
    'another status of success': ['HTTP/1.1 204 \r\n\r\n'],
    'HTTP/1.0, without a reason': ['HTTP/1.0 200\r\n\r\n'],
    'fields, which are ignored': ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\n'],
    'single bytes': [...OPENED],
    'the most that is read': [`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(8 * 1024 - 20)}\r\n\r\n`],
  })) {
    it(`is opened by ${what}`, async () => {
      const socket = await ask(parts);
      assert.equal(socket.destroyed, false);
      assert.deepEqual(
        ['readable', 'end', 'close', 'error'].map((event) => socket.listenerCount(event)),
        [0, 1, 0, 1], // Node's own, and this test's
      );
    });
  }

  for (const status of [100, 101, 301, 403, 407, 502, 504]) {
    it(`is refused with ${status}`, () =>
      refused([`HTTP/1.1 ${status} No\r\n\r\n`], new RegExp(`answered CONNECT hub\\.example:8883 with ${status}$`), {
        status,
      }));
  }

  for (const [what, parts] of Object.entries({
    'no HTTP': ['SSH-2.0-OpenSSH_9.9\r\n\r\n'],
    'another version': ['HTTP/2 200\r\n\r\n'],
    'no status': ['HTTP/1.1 OK\r\n\r\n'],
    'a status that is none': ['HTTP/1.1 2000 OK\r\n\r\n'],
    'a status of no class': ['HTTP/1.1 600 OK\r\n\r\n'],
    'a line before it': ['\r\nHTTP/1.1 200 OK\r\n\r\n'],
    'an empty head': ['\r\n\r\n'],
    'more than 8 KiB': [`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(8 * 1024)}\r\n\r\n`],
    'a head without an end': ['x'.repeat(8 * 1024 + 1)],
  })) {
    it(`is refused by ${what}`, () => refused(parts, /sent no HTTP answer to CONNECT$/));
  }

  it('a tunnel is refused if data arrives before the server can send', () =>
    refused([`${OPENED}\x15\x03\x03`], /sent more than an answer/));

  for (const [what, parts] of Object.entries({ 'no byte': [], 'half an answer': ['HTTP/1.1 200 OK\r\n'] })) {
    it(`is refused by an end after ${what}`, () => refused(parts, /closed the connection instead/, { closes: true }));
  }

  it('reports a connection that breaks', async () => {
    const port = await sockets.listen((socket) => void socket.once('data', () => socket.resetAndDestroy()));
    const socket = sockets.keep(connect(port, '127.0.0.1'));
    const opening = openTunnel(socket, { proxy: { host: '127.0.0.1', port }, target, signal: never });
    await assert.rejects(opening, { name: 'ProxyError', message: /broke the connection \(read ECONNRESET\)$/ });
  });

  it('asks as RFC 9110 says, with the address in brackets and the credentials', async () => {
    let asked = '';
    const port = await sockets.listen((socket) => {
      socket.on('data', (data) => {
        asked += data;
        if (asked.endsWith('\r\n\r\n')) socket.write(OPENED);
      });
    });
    const socket = sockets.keep(connect(port, '127.0.0.1'));
    const authorization = 'Basic dXNlcjpwYXNz';
    const proxy = { host: '127.0.0.1', port };
    await openTunnel(socket, { proxy, target: { host: '::1', port: 443 }, authorization, signal: never });
    assert.equal(
      asked,
      'CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nUser-Agent: vakt\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n',
    );
  });

  it('closes the connection when it is aborted', async () => {
    let accepted: Socket | undefined;
    const port = await sockets.listen((socket) => {
      accepted = socket.resume();
    });
    const socket = sockets.keep(connect(port, '127.0.0.1'));
    await once(socket, 'connect');
    const stop = new AbortController();
    const opening = openTunnel(socket, { proxy: { host: '127.0.0.1', port }, target, signal: stop.signal });
    stop.abort();
    await assert.rejects(opening, { name: 'AbortError' });
    assert.equal(socket.destroyed, true);
    await until('its end at the proxy', () => accepted?.destroyed === true);
  });

  it('copes with any answer, however it is cut: it is opened by a success, and else a ProxyError', async function () {
    this.timeout(120_000);
    const text = fc.oneof(
      fc.constantFrom('HTTP/1.1 ', 'HTTP/1.0 ', '200', '407', ' OK', '\r\n', '\r\n\r\n', '\n\n', 'X: y\r\n', OPENED),
      fc.string({ maxLength: 40 }),
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.constant('x'.repeat(9_000)),
    );
    const whole = fc.tuple(
      fc.constantFrom('', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.0 299 ', OPENED.slice(0, 12)),
      fc.array(text, { maxLength: 4 }),
      fc.constantFrom('', '\r\n\r\n'),
    );
    const cut = fc.tuple(whole, fc.integer({ min: 1, max: 5_000 }));
    let opened = 0;
    await fc.assert(
      fc.asyncProperty(cut, async ([texts, size]) => {
        const bytes = Buffer.from(texts.flat().join(''), 'latin1');
        const parts = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
          bytes.subarray(index * size, (index + 1) * size),
        );
        try {
          const socket = await ask(parts, { closes: true });
          opened += 1;
          assert.ok(!socket.destroyed);
          assert.match(bytes.toString('latin1'), /^HTTP\/1\.[01] 2\d\d(?= |\r).*\r\n\r\n$/s);
        } catch (error) {
          assert.ok(error instanceof ProxyError, String(error));
          assert.ok(error.message.length < 300 && !/[\r\n]/.test(error.message));
        } finally {
          sockets.close();
        }
      }),
      { numRuns: fuzzRuns(3_000), examples: [[[[OPENED, [], ''], 7]]] },
    );
    assert.ok(opened > 0, 'none was opened');
  });
});
