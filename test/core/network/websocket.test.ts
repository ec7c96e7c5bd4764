import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { createServer, type TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { Network } from '../../../src/core/network/network.ts';
import { CertificateAuthority, type ServerCertificate } from '../../../src/emulator/certificates.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { until } from '../../harness/until.ts';
import { HandClock, never, Sockets } from './bench.ts';

/** RFC 6455, 1.3 */
const acceptOf = (key: string) =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
/** A frame of a server, which is not masked (RFC 6455, 5.2). */
const frame = (opcode: number, payload: Buffer | string, announced = Buffer.byteLength(payload)) => {
  const head = Buffer.alloc(announced < 126 ? 2 : 10);
  head[0] = 0x80 | opcode;
  if (announced < 126) head[1] = announced;
  else {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(announced), 2);
  }
  return Buffer.concat([head, Buffer.from(payload)]);
};
const BINARY = 2;
const CLOSE = 8;

describe('Network.webSocket', () => {
  let certificate: ServerCertificate;
  let sockets: Sockets;

  before(async () => {
    certificate = await (await CertificateAuthority.create()).issueServer(['hub.example']);
  });
  beforeEach(() => {
    sockets = new Sockets();
  });
  afterEach(() => sockets.close());

  /** A server that answers the upgrade by these fields, and then sends what follows. */
  const serve = async (answer: (key: string) => string | Buffer, after: readonly Buffer[] = []) => {
    const seen = { request: '', sockets: [] as TLSSocket[] };
    const { certificatePem, keyPem } = certificate;
    const server = createServer({ cert: certificatePem, key: keyPem }, (socket) => {
      seen.sockets.push(sockets.keep(socket));
      socket.once('data', (data) => {
        seen.request = String(data);
        const [, key = ''] = /^Sec-WebSocket-Key: (.*)\r$/im.exec(seen.request) ?? [];
        const head = answer(key);
        if (head.length > 0) socket.write(Buffer.concat([Buffer.from(head), ...after]));
      });
    });
    server.on('tlsClientError', () => {});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    sockets.after(() => server.close());
    return Object.assign(seen, { port: (server.address() as { port: number }).port });
  };
  const accepted =
    (fields = 'Sec-WebSocket-Protocol: mqtt\r\n') =>
    (key: string) =>
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n${fields}\r\n`;

  const open = async (port: number, { clock = systemClock, signal = never } = {}): Promise<Duplex> => {
    const network = new Network({ environment: {}, clock, lookUp: async () => ['127.0.0.1'] });
    const stream = await network.webSocket({ host: 'hub.example', port, trustedCa: certificate.caPem }, signal);
    return sockets.keep(stream);
  };
  /** Reads until the end, and resolves with the bytes and the error, if there was one. */
  const readAll = async (stream: Duplex) => {
    const chunks: Buffer[] = [];
    let error: Error | undefined;
    stream.on('data', (chunk) => void chunks.push(Buffer.from(chunk)));
    stream.on('error', (thrown) => {
      error = thrown;
    });
    stream.on('end', () => stream.end());
    await new Promise<void>((resolve) => void stream.once('close', resolve));
    return { bytes: Buffer.concat(chunks), error };
  };

  it('asks as RFC 6455 says, without compression, by the name of the host', async () => {
    const server = await serve(accepted());
    await open(server.port);
    const [first, ...fields] = server.request.trim().split('\r\n');
    assert.equal(first, 'GET /$iothub/websocket HTTP/1.1');
    const names = fields.map((field) => field.replace(/^(Sec-WebSocket-Key): .*/, '$1').toLowerCase()).sort();
    assert.deepEqual(names, [
      'connection: upgrade',
      'host: hub.example',
      'sec-websocket-key',
      'sec-websocket-protocol: mqtt',
      'sec-websocket-version: 13',
      'upgrade: websocket',
    ]);
  });

  it('carries bytes both ways, those too that come with the answer', async () => {
    const server = await serve(accepted(), [frame(BINARY, 'ab'), frame(BINARY, 'c'.repeat(200_000))]);
    const stream = await open(server.port);
    stream.write('ping');
    const reading = readAll(stream);
    const [sent] = (await once(server.sockets[0] as TLSSocket, 'data')) as [Buffer];
    assert.deepEqual([sent[0], sent[1]], [0x80 | BINARY, 0x80 | 4]); // masked
    server.sockets[0]?.end(frame(CLOSE, ''));
    const { bytes, error } = await reading;
    assert.deepEqual([bytes.length, bytes.toString('latin1', 0, 3), error], [200_002, 'abc', undefined]);
  });

  for (const [what, answer, message] of [
    ['another status', () => 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', /Unexpected server response: 404/],
    ['no sub-protocol', accepted(''), /no subprotocol/],
    ['another sub-protocol', accepted('Sec-WebSocket-Protocol: amqp\r\n'), /invalid subprotocol/],
    ['a wrong key', () => accepted()('x'), /Invalid Sec-WebSocket-Accept/],
    [
      'an extension that was not asked for',
      accepted('Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Extensions: permessage-deflate\r\n'),
      /no extension was requested/,
    ],
    ['a redirect, which is not followed', () => 'HTTP/1.1 302 Found\r\nLocation: wss://x/\r\n\r\n', /response: 302/],
    ['garbage', () => 'SSH-2.0-OpenSSH_9.9\r\n', /Parse Error/],
  ] as const) {
    it(`is refused by ${what}`, async () => {
      const server = await serve(answer);
      await assert.rejects(open(server.port), { message });
      await until('the end of the connection', () => server.sockets.every(({ destroyed }) => destroyed));
    });
  }

  it('waits 15 s for the answer, and closes the connection', async () => {
    const server = await serve(() => '');
    const clock = new HandClock();
    const failed = assert.rejects(open(server.port, { clock }), {
      name: 'TimeLimitError',
      message: `opening a WebSocket to hub.example:${server.port} took longer than 15 s`,
    });
    await until('the request', () => server.request !== '');
    await clock.advance(seconds(14.9));
    await clock.advance(seconds(0.1));
    await failed;
    await until('the end of the connection', () => server.sockets[0]?.destroyed === true);
    assert.equal(clock.timers, 0);
  });

  it('is aborted while it waits', async () => {
    const server = await serve(() => '');
    const stop = new AbortController();
    const failed = assert.rejects(open(server.port, { signal: stop.signal }), { name: 'AbortError' });
    await until('the request', () => server.request !== '');
    stop.abort();
    await failed;
    await until('the end of the connection', () => server.sockets[0]?.destroyed === true);
  });

  for (const [what, bytes] of Object.entries({
    'a frame of more than 2 MiB': frame(BINARY, 'x', 2 * 1024 * 1024 + 1),
    'a frame of 2^62 bytes': frame(BINARY, 'x', 2 ** 62),
    'a masked frame': Buffer.from([0x82, 0x81, 1, 2, 3, 4, 5]),
    'a compressed frame': Buffer.from([0xc2, 1, 0]),
    'an unknown opcode': frame(5, 'x'),
  })) {
    it(`ends with an error at ${what}`, async () => {
      const server = await serve(accepted(), [bytes]);
      const { error } = await readAll(await open(server.port));
      assert.match(String(error), /RangeError/);
      await until('the end of the connection', () => server.sockets[0]?.destroyed === true);
    });
  }

  it('closes the connection when it is destroyed', async () => {
    const server = await serve(accepted());
    (await open(server.port)).destroy();
    await until('the end of the connection', () => server.sockets[0]?.destroyed === true);
  });

  it('reports a connection that ends without a close', async () => {
    const server = await serve(accepted());
    const reading = readAll(await open(server.port));
    server.sockets[0]?.destroy();
    assert.equal((await reading).bytes.length, 0);
  });

  it('copes with any bytes after the answer', async function () {
    this.timeout(120_000);
    const bytes = fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array)),
        fc
          .tuple(fc.integer({ min: 0, max: 15 }), fc.string({ maxLength: 130 }))
          .map(([code, text]) => frame(code, text)),
      ),
      { maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (parts) => {
        const server = await serve(accepted(), parts);
        const reading = readAll(await open(server.port));
        server.sockets[0]?.end();
        await reading; // ends, with an error or without one; Mocha reports what is thrown elsewhere
        sockets.close();
      }),
      { numRuns: fuzzRuns(1_000) },
    );
  });
});
