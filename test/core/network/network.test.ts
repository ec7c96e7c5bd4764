import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { systemClock } from '../../../src/core/base/clock.ts';
import { Network, type NetworkOptions } from '../../../src/core/network/network.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { ProxyEmulator } from '../../../src/emulator/proxy.ts';
import { module } from '../../emulator/clients.ts';
import { never } from './bench.ts';

const networkOf = (options: Partial<NetworkOptions> = {}) =>
  new Network({ environment: {}, clock: systemClock, ...options });

describe('Network', () => {
  let hub: HubEmulator;
  const opened: Duplex[] = [];

  before(async () => {
    hub = await HubEmulator.start({ modules: [module] });
  });
  after(() => hub.stop());
  afterEach(() => {
    for (const stream of opened.splice(0)) stream.destroy();
  });

  const kept = <T extends Duplex>(stream: T): T => {
    stream.on('error', () => {}); // reset by a hub or a proxy that stops first
    opened.push(stream);
    return stream;
  };
  const connect = async (network: Network, target: Partial<Parameters<Network['connect']>[0]> = {}) =>
    kept(await network.connect({ host: 'localhost', port: hub.port, trustedCa: hub.caPem, ...target }, never));

  it('connects by TLS 1.3, and leaves no listener on the socket', async () => {
    const socket = await connect(networkOf());
    assert.deepEqual([socket.authorized, socket.getProtocol(), socket.servername], [true, 'TLSv1.3', 'localhost']);
    assert.deepEqual([socket.listenerCount('error'), socket.listenerCount('secureConnect')], [1, 0]);
  });

  it('compares an address with the certificate, and names none by SNI', async () => {
    const socket = await connect(networkOf(), { host: '127.0.0.1' });
    assert.deepEqual([socket.authorized, socket.servername], [true, false]);
  });

  describe('through a proxy', () => {
    let proxy: ProxyEmulator;

    beforeEach(async () => {
      proxy = await ProxyEmulator.start();
      proxy.routeTo(hub);
    });
    afterEach(() => proxy.stop());

    const url = () => `http://127.0.0.1:${proxy.port}`;

    it('reaches the hub by its real name, which is not resolved here', async () => {
      const network = networkOf({ proxy: url(), lookUp: () => Promise.reject(new Error('no look-up')) });
      const socket: TLSSocket = await connect(network, { host: hub.hostName, port: 8883 });
      assert.equal(socket.servername, hub.hostName);
      assert.deepEqual(
        proxy.requests.map(({ target, status, userAgent }) => [target, status, userAgent]),
        [[`${hub.hostName}:8883`, 200, 'vakt']],
      );
    });
  });

  it('closes the connection when it is aborted during the TLS handshake', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const stop = new AbortController();
    const connecting = networkOf().connect({ host: '127.0.0.1', port }, stop.signal);
    const [socket] = (await once(server, 'connection')) as [Socket];
    socket.resume();
    const closed = once(socket, 'close');
    stop.abort();
    await assert.rejects(connecting, { name: 'AbortError' });
    await closed;
    server.close();
  });
});
