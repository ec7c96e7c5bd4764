import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import device from 'azure-iot-device';
import transport from 'azure-iot-device-mqtt';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../src/emulator/certificates.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { ProxyEmulator } from '../../src/emulator/proxy.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { DEVICE, KEY, MODULE, module } from './clients.ts';

const USER = { name: 'vakt', password: 'secret' };

describe('the hub emulator, with the device SDK and certificates, WebSocket and proxies', () => {
  let hub: HubEmulator;
  let proxy: ProxyEmulator;
  let root: CertificateAuthority;
  let ca: string;
  const opened: device.ModuleClient[] = [];

  before(async () => {
    root = await CertificateAuthority.create();
  });
  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module], clientAuthorities: [root.certificatePem] });
    proxy = await ProxyEmulator.start({ user: USER });
    proxy.routeTo(hub);
    ca = join(temporaryFolder(), 'ca.pem');
    writeFileSync(ca, hub.caPem);
  });
  afterEach(async () => {
    for (const client of opened.splice(0)) await client.close().catch(() => {});
    await proxy.stop();
    await hub.stop();
  });

  type Transport = typeof transport.Mqtt | typeof transport.MqttWs;
  const ready = async (client: device.ModuleClient, options: object = {}) => {
    opened.push(client);
    client.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => 0 });
    client.on('error', () => {});
    await client.setOptions({ ca, ...options });
    return client;
  };
  /** A module's client with a certificate, for which the SDK has no constructor of its own. */
  const byCertificate = (
    { chainPem, keyPem }: IssuedCertificate,
    kind: Transport = transport.Mqtt,
    gateway?: string,
  ) => {
    const credentials = {
      host: hub.hostName,
      ...(gateway === undefined ? {} : { gatewayHostName: gateway }),
      deviceId: DEVICE,
      moduleId: MODULE,
      x509: { cert: chainPem, key: keyPem },
    };
    const provider = {
      type: 0,
      getDeviceCredentials: (done: (error: null, value: object) => void) => done(null, credentials),
    };
    return device.ModuleClient.fromAuthenticationProvider(
      provider as unknown as Parameters<typeof device.ModuleClient.fromAuthenticationProvider>[0],
      kind,
    );
  };
  const throughProxy = ({ name, password } = USER) => {
    const url = `http://${name}:${password}@127.0.0.1:${proxy.port}`;
    return { mqtt: { webSocketAgent: new HttpsProxyAgent(url) } };
  };
  const byKey = (kind: Transport, { hostName } = hub) =>
    device.ModuleClient.fromConnectionString(
      `HostName=${hostName};DeviceId=${DEVICE};ModuleId=${MODULE};SharedAccessKey=${KEY}`,
      kind,
    );

  it('admits it by thumbprint, takes its messages and serves its twin', async () => {
    const own = await selfSigned({ commonName: `${DEVICE}/${MODULE}` });
    const { thumbprint: primaryThumbprint } = own;
    hub.addModule({ deviceId: DEVICE, moduleId: MODULE, credential: { type: 'selfSigned', primaryThumbprint } });
    const client = await ready(byCertificate(own, transport.Mqtt, `localhost:${hub.port}`));
    await client.open();
    await client.sendEvent(new device.Message('{}'));
    assert.deepEqual(
      hub.messages.map(({ moduleId }) => moduleId),
      [MODULE],
    );
    hub.patchDesired(DEVICE, MODULE, { a: 1 });
    assert.equal((await client.getTwin()).properties.desired.a, 1);
    assert.equal(hub.connections.at(-1)?.thumbprint, primaryThumbprint);
  });

  it('admits it by a chain, and refuses it once the authority is gone', async () => {
    hub.addModule({ deviceId: DEVICE, moduleId: MODULE, credential: { type: 'certificateAuthority' } });
    const own = await (await root.intermediate({ commonName: 'Factory' })).issue({
      commonName: `${DEVICE}/${MODULE}`,
      keyType: 'rsa',
    });
    const connect = async () => (await ready(byCertificate(own, transport.Mqtt, `localhost:${hub.port}`))).open();
    await connect();
    hub.removeClientAuthority(root.certificatePem);
    await assert.rejects(connect(), { name: 'UnauthorizedError' });
    assert.match(hub.connections.at(-1)?.reason ?? '', /does not end at a registered authority/);
  });

  for (const [how, make] of Object.entries({
    'its key': async () => byKey(transport.MqttWs),
    'its certificate': async () => {
      hub.addModule({ deviceId: DEVICE, moduleId: MODULE, credential: { type: 'certificateAuthority' } });
      return byCertificate(await root.issue({ commonName: `${DEVICE}/${MODULE}` }), transport.MqttWs);
    },
  })) {
    it(`admits it with ${how} over WebSocket through the proxy, by the hub's real name`, async () => {
      const client = await ready(await make(), throughProxy());
      await client.open();
      await client.sendEvent(new device.Message('{}'));
      assert.equal(hub.messages.length, 1);
      const [request] = proxy.requests;
      assert.deepEqual([request?.target, request?.user, request?.status], [`${hub.hostName}:443`, USER.name, 200]);
      assert.equal(hub.connections.at(-1)?.transport, 'mqttWebSocket');
      const lost = once(hub, 'disconnection');
      proxy.closeTunnels();
      await lost;
    });
  }

  it('does not reach the hub with a wrong password of the proxy, nor where the proxy refuses', async () => {
    const connect = async (user?: typeof USER) => (await ready(byKey(transport.MqttWs), throughProxy(user))).open();
    await assert.rejects(connect({ ...USER, password: 'wrong' }));
    proxy.behave('refuse', '*:443');
    await assert.rejects(connect());
    assert.deepEqual(
      proxy.requests.map(({ status }) => status),
      [407, 403],
    );
    assert.deepEqual(hub.connections, []);
  });

  it('moves with its device to another hub of the same authority', async () => {
    const { certificateAuthority } = hub;
    const other = await HubEmulator.start({
      hostName: 'other.azure-devices.net',
      certificateAuthority,
      modules: [module],
    });
    try {
      proxy.routeTo(other);
      hub.removeDevice(DEVICE);
      await assert.rejects((await ready(byKey(transport.MqttWs), throughProxy())).open());
      assert.match(hub.connections.at(-1)?.reason ?? '', /^device dev1 does not exist/);
      const there = byKey(transport.MqttWs, other);
      await (await ready(there, throughProxy())).open();
      assert.equal(other.connections.at(-1)?.admitted, true);
      await there.close();
    } finally {
      await other.stop();
    }
  });
});
