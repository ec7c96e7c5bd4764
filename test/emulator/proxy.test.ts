import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { request as requestHttps } from 'node:https';
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { ProxyEmulator } from '../../src/emulator/proxy.ts';
import { module } from './clients.ts';

const USER = { name: 'vakt', password: 'p:ä ss' };

describe('the proxy emulator', () => {
  let proxy: ProxyEmulator;
  let hub: HubEmulator;
  const sockets: Socket[] = [];

  before(async () => {
    hub = await HubEmulator.start({ modules: [module] });
  });
  after(() => hub.stop());
  beforeEach(async () => {
    proxy = await ProxyEmulator.start();
    proxy.routeTo(hub);
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await proxy.stop();
  });

  /** Asks for a tunnel, and resolves with the answer and the tunnel. */
  const tunnel = async (path: string, user?: { name: string; password: string }) => {
    const authorization = user && `Basic ${Buffer.from(`${user.name}:${user.password}`).toString('base64')}`;
    const headers = { 'user-agent': 'test', ...(authorization ? { 'proxy-authorization': authorization } : {}) };
    const asked = request({ host: '127.0.0.1', port: proxy.port, method: 'CONNECT', path, headers });
    asked.end();
    const [response, socket] = (await once(asked, 'connect')) as [IncomingMessage, Socket];
    sockets.push(socket);
    return { status: response.statusCode, headers: response.headers, socket };
  };
  const statusOf = async (path: string, user?: { name: string; password: string }) => (await tunnel(path, user)).status;

  it('opens a tunnel to the hub by its real name, through which TLS passes', async () => {
    const { status, socket } = await tunnel('emulator.azure-devices.net:8883');
    assert.equal(status, 200);
    const tls = connectTls({ socket, servername: hub.hostName, ca: hub.caPem });
    await once(tls, 'secureConnect');
    const [request] = proxy.requests;
    assert.deepEqual(
      [request?.target, request?.status, request?.userAgent],
      ['emulator.azure-devices.net:8883', 200, 'test'],
    );
    assert.equal(proxy.tunnels, 1);
    const closed = once(tls, 'close');
    proxy.closeTunnels();
    await closed;
    assert.equal(proxy.tunnels, 0);
  });

  it('leads port 443 of the hub to its REST API', async () => {
    const { socket } = await tunnel('EMULATOR.azure-devices.net:443');
    const asked = requestHttps({
      createConnection: () => connectTls({ socket, servername: hub.hostName, ca: hub.caPem }),
      path: '/devices/dev1/modules?api-version=2021-04-12',
      host: hub.hostName,
    });
    asked.end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    assert.deepEqual([response.statusCode, response.headers['iothub-errorcode']], [401, 'IotHubUnauthorized']);
  });

  it('reaches names of this machine without a route, and no others', async () => {
    assert.equal(await statusOf(`localhost:${hub.port}`), 200);
    assert.equal(await statusOf(`127.0.0.1:${hub.port}`), 200);
    assert.equal(await statusOf('example.com:443'), 502);
    const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.2'); // would be reached
    await once(server, 'listening');
    assert.equal(await statusOf(`127.0.0.2:${(server.address() as AddressInfo).port}`), 502);
    server.close();
    assert.equal(await statusOf('emulator.azure-devices.net:5671'), 502);
  });

  it('connects to IPv6 addresses, and answers 502 if no server listens', async () => {
    const six = await HubEmulator.start({ address: '::1' });
    const { port } = six;
    assert.equal(await statusOf(`[::1]:${port}`), 200);
    proxy.route('six.azure-devices.net:8883', `[::1]:${port}`);
    assert.equal(await statusOf('six.azure-devices.net:8883'), 200);
    await six.stop();
    assert.equal(await statusOf(`[::1]:${port}`), 502);
  });

  it('demands user name and password, and never records the password', async () => {
    proxy.setUser(USER);
    const { status, headers } = await tunnel('emulator.azure-devices.net:8883');
    assert.deepEqual([status, headers['proxy-authenticate']], [407, 'Basic realm="Vakt emulator"']);
    assert.equal(await statusOf('emulator.azure-devices.net:8883', { ...USER, password: 'wrong' }), 407);
    assert.equal(await statusOf('emulator.azure-devices.net:8883', { ...USER, name: 'wrong' }), 407);
    assert.equal(await statusOf('emulator.azure-devices.net:8883', USER), 200);
    assert.deepEqual(
      proxy.requests.map(({ user, status: answered }) => [user, answered]),
      [
        [undefined, 407],
        ['vakt', 407],
        ['wrong', 407],
        ['vakt', 200],
      ],
    );
    assert.ok(!JSON.stringify(proxy.requests).includes(USER.password));
  });

  it('refuses one port and opens another, as in many companies', async () => {
    proxy.behave('refuse', '*:8883');
    assert.equal(await statusOf('emulator.azure-devices.net:8883'), 403);
    assert.equal(await statusOf('emulator.azure-devices.net:443'), 200);
    proxy.behave('unavailable', 'emulator.azure-devices.net:443');
    assert.equal(await statusOf('emulator.azure-devices.net:443'), 502);
    proxy.behave('connect', '*:8883');
    assert.equal(await statusOf('emulator.azure-devices.net:8883'), 200);
  });

  it('never answers, or closes, or answers something else', async () => {
    proxy.behave('silent');
    const ask = async () => {
      const socket = connectTcp(proxy.port, '127.0.0.1');
      sockets.push(socket);
      socket.setEncoding('latin1');
      socket.write('CONNECT emulator.azure-devices.net:8883 HTTP/1.1\r\nHost: x\r\n\r\n');
      let text = '';
      socket.on('data', (part) => {
        text += part;
      });
      return { socket, text: () => text };
    };
    const silent = await ask();
    const { status, target } = await proxy.waitForRequest(() => true);
    assert.deepEqual([status, target, silent.text()], [undefined, 'emulator.azure-devices.net:8883', '']);
    for (const [behaviour, text] of [
      ['close', ''],
      ['garbage', 'SSH-2.0-OpenSSH_9.9\r\n'],
    ] as const) {
      proxy.behave(behaviour);
      const asked = await ask();
      await once(asked.socket, 'close');
      assert.equal(asked.text(), text);
    }
    assert.equal(silent.text(), '');
    assert.equal(silent.socket.destroyed, false);
  });

  it('rejects plain requests', async () => {
    const asked = request({ host: '127.0.0.1', port: proxy.port, path: 'http://example.com/' });
    asked.end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    assert.equal(response.resume().statusCode, 405);
  });

  it('goes offline with its tunnels, and online on the same port', async () => {
    const { port } = proxy;
    const { socket } = await tunnel('emulator.azure-devices.net:8883');
    const closed = once(socket, 'close');
    await proxy.offline();
    await closed;
    await assert.rejects(statusOf('emulator.azure-devices.net:8883'), { code: 'ECONNREFUSED' });
    await proxy.online();
    assert.equal(proxy.port, port);
    assert.equal(await statusOf('emulator.azure-devices.net:8883'), 200);
  });
});
