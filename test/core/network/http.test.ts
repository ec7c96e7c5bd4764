import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import type { HttpRequest } from '../../../src/core/network/http.ts';
import { Network } from '../../../src/core/network/network.ts';
import { requestUnix } from '../../../src/core/network/unix-socket.ts';
import { CertificateAuthority } from '../../../src/emulator/certificates.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { ProxyEmulator } from '../../../src/emulator/proxy.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { until } from '../../harness/until.ts';
import { HandClock, never, Sockets } from './bench.ts';

const GET: HttpRequest = { method: 'GET', path: '/trust-bundle?api-version=2019-01-30' };
const options = { clock: systemClock, signal: never };

describe('requestUnix', () => {
  let sockets: Sockets;
  let path: string;

  beforeEach(() => {
    sockets = new Sockets();
    path = join(temporaryFolder(), 'workload.sock');
  });
  afterEach(() => sockets.close());

  /** A service that answers each request with these bytes; it keeps the connection open, unless it `closes`. */
  const serve = async (bytes: string | Buffer, { closes = false } = {}) => {
    const accepted: Socket[] = [];
    await sockets.listen(
      (socket) => {
        accepted.push(socket);
        socket.once('data', () => (closes ? socket.end(bytes) : socket.write(bytes)));
      },
      { path },
    );
    return accepted;
  };
  const ask = (request = GET) => requestUnix(path, request, options);
  const answers = async (bytes: string | Buffer, closes = false) => {
    await serve(bytes, { closes });
    return ask();
  };

  it('sends a request, and reads the answer', async () => {
    const asked: { request?: IncomingMessage; body: string } = { body: '' };
    const server = createServer((request, response) => {
      asked.request = request;
      request.on('data', (data) => {
        asked.body += data;
      });
      request.on('end', () => response.writeHead(201, { 'retry-after': '3' }).end('{"ä":1}'));
    });
    await new Promise<void>((resolve) => void server.listen(path, resolve));
    sockets.after(() => server.close());
    const body = '{"digest":"ü"}';
    const headers = { 'content-type': 'application/json' };
    const answer = await ask({ method: 'POST', path: '/modules/m/sign?api-version=1', headers, body });
    assert.deepEqual([answer.status, answer.headers['retry-after'], answer.body], [201, '3', '{"ä":1}']);
    const { request } = asked;
    assert.deepEqual(
      [request?.method, request?.url, request?.headers.host, request?.headers['content-type'], asked.body],
      ['POST', '/modules/m/sign?api-version=1', 'localhost', 'application/json', body],
    );
    assert.deepEqual(
      [request?.headers['content-length'], request?.headers.connection],
      [String(Buffer.byteLength(body)), 'close'],
    );
  });

  for (const [what, bytes, body, closes] of [
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 'ok', false],
    ['chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n', 'ok', false],
    ['an end', 'HTTP/1.1 200 OK\r\n\r\nok', 'ok', true],
    ['no body', 'HTTP/1.1 204 No Content\r\n\r\n', '', false],
    [
      'a provisional answer before',
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx',
      'x',
      false,
    ],
    [
      'bytes that are no UTF-8',
      Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff', 'latin1'),
      '\ufffd',
      false,
    ],
    ['a redirect, which is not followed', 'HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n', '', false],
    [
      '1 MiB',
      `HTTP/1.1 200 OK\r\nContent-Length: ${1024 * 1024}\r\n\r\n${'x'.repeat(1024 * 1024)}`,
      /^x{1048576}$/,
      false,
    ],
  ] as const) {
    it(`reads an answer with ${what}`, async () => {
      const answer = await answers(bytes, closes);
      if (typeof body === 'string') assert.equal(answer.body, body);
      else assert.match(answer.body, body);
    });
  }

  for (const [what, bytes, error] of [
    ['no HTTP', 'SSH-2.0-OpenSSH_9.9\r\n', { code: /^HPE_/ }],
    ['no answer', '', { code: 'ECONNRESET' }],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-Le', { code: 'ECONNRESET' }],
    ['half a body', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', { code: 'ECONNRESET' }],
    ['half of the chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n', { code: 'ECONNRESET' }],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx', { code: /^HPE_/ }],
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      { code: /^HPE_/ },
    ],
    [
      'an upgrade',
      'HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx',
      { message: /closed|hang up/ },
    ],
    ['a head of 17 KiB', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(17 * 1024)}\r\n\r\n`, { code: 'HPE_HEADER_OVERFLOW' }],
    [
      'more than 1 MiB',
      `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(1024 * 1024 + 1)}`,
      { message: /larger than 1048576 bytes/ },
    ],
    ['an announcement of 1 TB', `HTTP/1.1 200 OK\r\nContent-Length: ${1e12}\r\n\r\nxx`, { code: 'ECONNRESET' }],
  ] as const) {
    it(`reports ${what}`, async () => {
      const accepted = await serve(bytes, { closes: true });
      await assert.rejects(ask(), error);
      await until('the end of the connection', () => accepted.every(({ destroyed }) => destroyed));
    });
  }

  it('waits 5 s, also for bytes that trickle, and closes the connection', async () => {
    const clock = new HandClock();
    const accepted = await serve('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx');
    const failed = assert.rejects(requestUnix(path, GET, { clock, signal: never }), {
      name: 'TimeLimitError',
      message: `asking ${path} took longer than 5 s`,
    });
    await until('a request', () => (accepted[0]?.bytesWritten ?? 0) > 0);
    await clock.advance(seconds(4.9));
    accepted[0]?.write('x');
    await clock.advance(seconds(0.1));
    await failed;
    await until('the end of the connection', () => accepted[0]?.destroyed === true);
    assert.equal(clock.timers, 0);
  });

  it('reports a socket that is missing, refused, or too long', async () => {
    await assert.rejects(ask(), { code: 'ENOENT' });
    const long = join(temporaryFolder(), 'x'.repeat(100));
    await assert.rejects(requestUnix(long, GET, options), { code: 'ENAMETOOLONG' });
  });

  it('refuses a request that would break the protocol', async () => {
    await serve('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    await assert.rejects(ask({ method: 'GET', path: '/a b\r\nX: y' }), { code: 'ERR_UNESCAPED_CHARACTERS' });
    await assert.rejects(ask({ ...GET, headers: { x: 'a\r\nb: c' } }), { code: 'ERR_INVALID_CHAR' });
  });

  it('closes the connection when it is aborted', async () => {
    const accepted = await serve('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
    const stop = new AbortController();
    const asking = requestUnix(path, GET, { clock: systemClock, signal: stop.signal });
    await until('a request', () => (accepted[0]?.bytesWritten ?? 0) > 0);
    stop.abort();
    await assert.rejects(asking, { name: 'AbortError' });
    await until('the end of the connection', () => accepted[0]?.destroyed === true);
    await assert.rejects(requestUnix(path, GET, { clock: systemClock, signal: stop.signal }), { name: 'AbortError' });
  });

  it('copes with any answer', async function () {
    this.timeout(120_000);
    const text = fc.oneof(
      fc.constantFrom(
        'HTTP/1.1 200 OK\r\n',
        'HTTP/1.1 ',
        '\r\n',
        '\r\n\r\n',
        'Content-Length: 3\r\n',
        'abc',
        '0\r\n\r\n',
      ),
      fc.constantFrom('Transfer-Encoding: chunked\r\n', 'Connection: upgrade\r\nUpgrade: h2c\r\n', 'HTTP/1.1 101 \r\n'),
      fc.string({ maxLength: 20 }),
      fc.string({ unit: 'binary', maxLength: 20 }),
    );
    let read = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(text, { maxLength: 8 }), async (texts) => {
        await serve(Buffer.from(texts.join(''), 'latin1'), { closes: true });
        try {
          const { status } = await ask();
          read += 1;
          assert.ok(status >= 200);
        } catch (error) {
          assert.ok(error instanceof Error && !(error instanceof assert.AssertionError), String(error));
        } finally {
          sockets.close();
        }
      }),
      { numRuns: fuzzRuns(3_000), examples: [[['HTTP/1.1 200 OK\r\n', 'Content-Length: 3\r\n', '\r\n', 'abc']]] },
    );
    assert.ok(read > 0, 'no answer was read');
  });
});

describe('Network.request', () => {
  let hub: HubEmulator;
  before(async () => {
    hub = await HubEmulator.start();
  });
  after(() => hub.stop());

  const network = new Network({ environment: {}, clock: systemClock });
  const target = () => ({ host: 'localhost', port: hub.restPort, trustedCa: hub.caPem });
  const path = '/devices/d/modules/m?api-version=2021-04-12';

  it('has one limit of 20 s for all its steps', async () => {
    hub.faults.inject({ kind: 'restSilence' });
    const clock = new HandClock();
    const asking = new Network({ environment: {}, clock }).request(target(), { method: 'GET', path }, never);
    const failed = assert.rejects(asking, {
      name: 'TimeLimitError',
      message: `asking localhost:${hub.restPort} took longer than 20 s`,
    });
    await hub.waitForRestRequest(() => true);
    await clock.advance(seconds(20));
    await failed;
    assert.equal(clock.timers, 0);
    hub.faults.clear();
  });

  it('is aborted at any moment, and leaves nothing open', async () => {
    const open = () => process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
    const before = open();
    for (let turns = 0; turns < 60; turns += 1) {
      const stop = new AbortController();
      const asking = network.request(target(), { method: 'GET', path }, stop.signal).then(
        ({ status }) => status,
        (error) => error.name,
      );
      for (let turn = 0; turn < turns; turn += 1) await nextTurn();
      stop.abort();
      assert.ok(['AbortError', 401, 400].includes(await asking), String(await asking));
    }
    await until('all closed', () => open() <= before);
  });

  it('names the port in the header Host unless it is 443', async () => {
    const { caPem, certificatePem, keyPem } = await (await CertificateAuthority.create()).issueServer(['hub.example']);
    const asked: (string | undefined)[] = [];
    const server = createHttpsServer({ cert: certificatePem, key: keyPem }, ({ headers }, response) => {
      asked.push(headers.host);
      response.end();
    });
    const proxy = await ProxyEmulator.start();
    try {
      await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as { port: number };
      proxy.route('hub.example:443', port);
      proxy.route('[::1]:443', port);
      proxy.route('hub.example:8443', port);
      const through = new Network({ proxy: `http://127.0.0.1:${proxy.port}`, environment: {}, clock: systemClock });
      const ask = (host: string, at: number) =>
        through.request({ host, port: at, trustedCa: caPem }, { method: 'GET', path: '/' }, never);
      await ask('hub.example', 443);
      await ask('::1', 443);
      await ask('hub.example', 8443);
      assert.deepEqual(asked, ['hub.example', '[::1]', 'hub.example:8443']);
    } finally {
      server.close();
      await proxy.stop();
    }
  });
});
