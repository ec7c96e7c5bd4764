import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import sinon from 'sinon';
import type { Finding } from '../../../../src/agent/commands/check/finding.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { days, milliseconds } from '../../../../src/core/base/duration.ts';
import { CertificateAuthority, createServerCertificate, selfSigned } from '../../../../src/emulator/certificates.ts';
import { EdgeEmulator } from '../../../../src/emulator/edge/workload.ts';
import { HubEmulator } from '../../../../src/emulator/hub.ts';
import { IdentityServiceEmulator } from '../../../../src/emulator/identity-service/service.ts';
import { ProvisioningEmulator } from '../../../../src/emulator/provisioning/service.ts';
import { ProxyEmulator } from '../../../../src/emulator/proxy.ts';
import { CheckBench } from './bench.ts';

const DEVICE = 'device1';
const MODULE = 'azureiotsecurity';
const CHECKS = ['clock', 'identity', 'secrets', 'way', 'hub'];
const OTHER_KEY = Buffer.alloc(32, 7).toString('base64');

/** The expected findings. `cause` is the only wrong finding; without it, no finding may be wrong. */
interface Expected {
  readonly cause?: readonly [check: string, finding: RegExp, remedy: RegExp];
  /** The required notes, keyed by check. */
  readonly notes?: Readonly<Record<string, RegExp>>;
}

interface Fault extends Expected {
  readonly title: string;
  /** Breaks something, or returns other settings. */
  readonly make?: () => unknown;
}

function assertFound(found: readonly Finding[], { cause, notes = {} }: Expected): void {
  const told = JSON.stringify(found, undefined, 1);
  const wrong = found.filter(({ state }) => state === 'wrong');
  assert.equal(wrong.length, cause === undefined ? 0 : 1, told);
  if (cause !== undefined) {
    const [check, finding, remedy] = cause;
    assert.equal(wrong[0]?.check, check, told);
    assert.match(wrong[0]?.finding ?? '', finding);
    assert.match(wrong[0]?.finding ?? '', / \([A-Z_]+\)$/, 'it has no id');
    assert.match(wrong[0]?.remedy ?? '', remedy);
  }
  for (const [check, expected] of Object.entries(notes)) {
    assert.match(found.find((one) => one.check === check && one.state === 'note')?.finding ?? '', expected, told);
  }
}

describe('vakt check connects as the agent does', () => {
  let bench: CheckBench;
  let hub: HubEmulator;
  let proxy: ProxyEmulator;

  beforeEach(async () => {
    bench = new CheckBench();
    hub = await HubEmulator.start({ modules: [{ deviceId: DEVICE, moduleId: MODULE, primaryKey: bench.key }] });
    bench.after(() => hub.stop());
    proxy = await ProxyEmulator.start();
    bench.after(() => proxy.stop());
    proxy.routeTo(hub);
    bench.write('ca.pem', hub.caPem);
    // The time limits are 15 s or more, which is too long for a test.
    const within = systemClock.within.bind(systemClock);
    const stub = sinon
      .stub(systemClock, 'within')
      .callsFake((limit, step, work) => within(milliseconds(limit / 8), step, work));
    bench.after(() => stub.restore());
  });
  afterEach(() => bench.close());

  const look = () => bench.look(...CHECKS);
  /** One test for each fault, each with a new emulator. */
  const table = (configure: () => unknown, faults: readonly Fault[]) => {
    for (const { title, make, ...expected } of faults) {
      it(title, async () => {
        await configure();
        await make?.();
        assertFound(await look(), expected);
      });
    }
  };

  describe('by a module key, directly', () => {
    const at = (more: object = {}) =>
      bench.configure({
        hub: {
          hostName: hub.hostName,
          gatewayHostName: `localhost:${hub.port}`,
          restEndpoint: `localhost:${hub.restPort}`,
          trustedCaFile: 'ca.pem',
          transport: 'mqtt',
          ...more,
        },
      });
    table(at, [
      { title: 'check accepts a module key' },
      {
        title: 'check reports a wrong module key',
        make: () => bench.write('module.key', OTHER_KEY),
        cause: [
          'hub',
          /refused the credentials of device1\/azureiotsecurity \(CREDENTIAL_REFUSED\)$/,
          /the module's own/,
        ],
      },
      {
        title: 'check reports that the module is missing',
        make: () => hub.removeModule(DEVICE, MODULE),
        cause: ['hub', /\(CREDENTIAL_REFUSED\)$/, /that the module exists/],
      },
      {
        title: 'check reports a disabled device',
        make: () => hub.setStatus('disabled', DEVICE),
        cause: ['hub', /\(CREDENTIAL_REFUSED\)$/, /its device is enabled/],
      },
      {
        title: 'check reports a server certificate of another authority',
        make: async () => bench.write('ca.pem', (await createServerCertificate(['localhost'], new Date())).caPem),
        cause: ['TLS', /does not end at an authority of .*ca\.pem .*\(TLS_FAILED\)$/, /hub\.trustedCaFile/],
      },
      {
        title: 'check reports a gateway name that is not in the certificate',
        make: async () => {
          const other = await HubEmulator.start({ hostName: 'other.example' });
          bench.after(() => other.stop());
          bench.write('ca.pem', other.caPem);
          proxy.route('another.example:8883', other.port);
          at({ gatewayHostName: 'another.example', proxy: `http://localhost:${proxy.port}` });
        },
        cause: ['TLS', /is for another name: .*other\.example.*\(TLS_FAILED\)$/, /to a name in the certificate/],
      },
      {
        title: 'check reports a gateway name without an address',
        make: () => at({ gatewayHostName: 'no-such-hub.invalid' }),
        cause: ['name', /no-such-hub\.invalid can't be resolved .*\(HUB_UNREACHABLE\)$/, /getent hosts no-such-hub/],
      },
      {
        title: 'check reports a hub that refuses connections',
        make: () => hub.offline('mqtt'),
        cause: ['TCP', /can't be reached .*ECONNREFUSED.* \(HUB_UNREACHABLE\)$/, /reach localhost:\d+ by TCP/],
      },
      {
        title: 'check reports a hub that does not answer',
        make: () => hub.faults.inject({ kind: 'mqttSilence' }),
        cause: ['TLS', /took longer than .*\(HUB_SILENT\)$/, /packets are dropped/],
      },
      {
        title: 'check reports a hub that is unavailable',
        make: () => hub.faults.inject({ kind: 'serverUnavailable' }),
        cause: ['hub', /is unavailable \(HUB_UNREACHABLE\)$/, /Wait/],
      },
    ]);

    it('check connects over WebSocket if hub.transport is mqttWebSocket', async () => {
      at({ gatewayHostName: `localhost:${hub.webSocketPort}`, transport: 'mqttWebSocket' });
      hub.offline('mqtt');
      assertFound(await look(), {});
      assert.deepEqual(
        hub.connections.map(({ transport }) => transport),
        ['mqttWebSocket'],
      );
    });

    it('check notes that the hub accepts only the secondary key', async () => {
      bench.write('secondary.key', bench.key);
      bench.write('module.key', OTHER_KEY);
      const identity = {
        kind: 'moduleKey',
        deviceId: DEVICE,
        keyFile: 'module.key',
        secondaryKeyFile: 'secondary.key',
      };
      bench.configure({
        identity,
        hub: { hostName: hub.hostName, gatewayHostName: `localhost:${hub.port}`, trustedCaFile: 'ca.pem' },
      });
      assertFound(await look(), { notes: { hub: /accepted by its secondary .*the primary one is refused/ } });
    });

    it('check shows the addresses, and the certificate chain with its dates and fingerprints', async () => {
      at();
      const found = await look();
      const detailsOf = (check: string) => found.find((one) => one.check === check)?.details?.join('\n') ?? '';
      assert.match(detailsOf('TCP'), /^connected to (?:127\.0\.0\.1|::1)$/);
      assert.match(
        detailsOf('TLS'),
        /^TLSv1\.3, .*\ncertificate 1: CN=\S+, issued by CN=.*, from \d{4}-.*Z to \d{4}-.*Z, SHA-256 [0-9A-F]{64}\n(?:certificate 2: .*\n)?trusted: .*ca\.pem$/,
      );
    });
  });

  describe('by a connection string', () => {
    const write = (text: string) => bench.write('connection-string', `${text}\n`);
    const at = (more: object = {}) => {
      write(hub.connectionString(DEVICE, MODULE));
      const identity = { kind: 'connectionString', file: 'connection-string' };
      bench.configure({ identity, hub: { trustedCaFile: 'ca.pem', transport: 'mqtt', ...more } });
    };
    table(
      () => at(),
      [
        { title: 'check accepts a connection string' },
        {
          title: 'check reports a connection string with an old key',
          make: () => {
            hub.regenerateKeys({ deviceId: DEVICE, moduleId: MODULE });
          },
          cause: ['hub', /refused the credentials of device1\/azureiotsecurity \(CREDENTIAL_REFUSED\)$/, /the key is/],
        },
        {
          title: 'check reports that the module of a connection string is missing',
          make: () => hub.removeModule(DEVICE, MODULE),
          cause: ['hub', /\(CREDENTIAL_REFUSED\)$/, /that the module exists/],
        },
        {
          title: 'check reports the connection string of a device',
          make: () => write(hub.connectionString(DEVICE, MODULE).replace(/ModuleId=[^;]*;/, '')),
          cause: ['identity', /is for a device, not a module: it lacks ModuleId \(SECRET_FILE_MALFORMED\)$/, /Copy it/],
        },
        {
          title: 'check reports a connection string that other users can read',
          make: () => bench.write('connection-string', hub.connectionString(DEVICE, MODULE), 0o644),
          cause: ['identity', /connection-string.* \(SECRET_FILE_EXPOSED\)$/, /chmod/],
        },
        {
          title: 'check reports a connection string for a hub other than hub.hostName',
          make: () => at({ hostName: 'other.azure-devices.net' }),
          cause: ['identity', /is for emulator\.azure-devices\.net \(CONFIG_INVALID\)$/, /Remove hub\.hostName/],
        },
        {
          title: 'check reports that the hub of a connection string refuses connections',
          make: () => hub.offline('mqtt'),
          cause: ['TCP', /can't be reached .*ECONNREFUSED.* \(HUB_UNREACHABLE\)$/, /by TCP/],
        },
      ],
    );
  });

  describe('by a module key, through a proxy', () => {
    const at = (more: object = {}) =>
      bench.configure({
        hub: { hostName: hub.hostName, trustedCaFile: 'ca.pem', proxy: `http://localhost:${proxy.port}`, ...more },
      });
    const notByMqtt = (id: string) =>
      new RegExp(`^not by mqtt \\(port 8883\\): .*\\(${id}\\); the agent uses mqttWebSocket \\(port 443\\)`);
    table(at, [
      { title: 'check accepts a proxy' },
      {
        title: 'check reports a proxy that requires a password',
        make: () => proxy.setUser({ name: 'user', password: 'S3cret' }),
        cause: ['proxy', /asks for a user and a password \(407\) \(PROXY_REFUSED\)$/, /hub\.proxyPasswordFile/],
      },
      {
        title: 'check reports a proxy that refuses connections to the hub',
        make: () => proxy.behave('refuse'),
        cause: ['proxy', /refused CONNECT to .* \(403\) \(PROXY_REFUSED\)$/, /Allow CONNECT to /],
      },
      {
        title: 'check reports a proxy that cannot reach the hub',
        make: () => proxy.behave('unavailable'),
        cause: ['proxy', /the proxy localhost:\d+ answered CONNECT .*502 \(HUB_UNREACHABLE\)$/, /that it can reach/],
      },
      {
        title: 'check reports a proxy that cannot be reached',
        make: () => proxy.offline(),
        cause: [
          'proxy',
          /the proxy localhost:\d+ can't be used.*ECONNREFUSED.*\(HUB_UNREACHABLE\)$/,
          /Check the proxy/,
        ],
      },
      {
        title: 'check reports a proxy that does not answer',
        make: () => proxy.behave('silent'),
        cause: [
          'proxy',
          /the proxy localhost:\d+ can't be used: CONNECT .*took longer.*\(HUB_UNREACHABLE\)$/,
          /Check the proxy/,
        ],
      },
      {
        title: 'check reports a proxy that does not answer in HTTP',
        make: () => proxy.behave('garbage'),
        cause: [
          'proxy',
          /(?:sent no HTTP|closed the connection instead of an) answer to CONNECT.*\(HUB_UNREACHABLE\)$/,
          /Check the proxy/,
        ],
      },
      {
        title: 'check notes that the proxy allows only port 443',
        make: () => proxy.behave('refuse', '*:8883'),
        notes: { transport: notByMqtt('PROXY_REFUSED') },
      },
      {
        title: 'check notes that port 8883 does not answer through the proxy',
        make: () => hub.faults.inject({ kind: 'mqttSilence' }),
        notes: { transport: notByMqtt('HUB_SILENT') },
      },
      {
        title: 'check notes that port 8883 cannot be reached through the proxy',
        make: () => hub.offline('mqtt'),
        notes: { transport: notByMqtt('HUB_UNREACHABLE') },
      },
      {
        title: 'check notes that the proxy does not forward MQTT on port 8883',
        make: () => proxy.route(`${hub.hostName}:8883`, hub.restPort),
        notes: { transport: notByMqtt('HUB_UNREACHABLE') },
      },
      {
        title: 'check reports a proxy that refuses port 8883 if hub.transport is mqtt',
        make: () => {
          at({ transport: 'mqtt' });
          proxy.behave('refuse', '*:8883');
        },
        cause: ['proxy', /\(PROXY_REFUSED\)$/, /"mqttWebSocket" if it allows only port 443/],
      },
    ]);

    it('check resolves only the name of the proxy, and reports which connection the proxy opens', async () => {
      at();
      const found = await look();
      assert.ok(!found.some(({ check }) => check === 'name' || check === 'TCP'));
      const one = found.find(({ check }) => check === 'proxy');
      assert.equal(one?.finding, `localhost:${proxy.port} opens connections to ${hub.hostName}:8883`);
      assert.match(one?.details?.join('\n') ?? '', /^localhost resolves to .*\nconnected to /);
      assert.equal(found.find(({ check }) => check === 'transport')?.finding, 'the agent uses mqtt (port 8883)');
    });

    it('check starts with the transport that the agent stored, and stores nothing itself', async () => {
      at({ transport: 'auto' });
      const remembered = JSON.stringify({ transport: 'mqttWebSocket', since: new Date().toISOString() });
      mkdirSync(bench.path('state'), { mode: 0o700 });
      const file = bench.write('state/transport.json', remembered);
      const found = await look();
      assertFound(found, {});
      assert.match(found.find(({ check }) => check === 'transport')?.finding ?? '', /^the agent uses mqttWebSocket/);
      assert.deepEqual(
        hub.connections.map(({ transport }) => transport),
        ['mqttWebSocket'],
      );
      assert.equal(readFileSync(file, 'utf8'), remembered);
    });
  });

  describe('with a running agent', () => {
    const at = () =>
      bench.configure({
        hub: { hostName: hub.hostName, gatewayHostName: `localhost:${hub.port}`, trustedCaFile: 'ca.pem' },
      });

    it('check opens no second connection, and shows how the running agent is connected', async () => {
      at();
      await bench.run({
        state: 'running',
        hub: { state: 'connected' },
        credential: { kind: 'moduleKey', hub: hub.hostName, transport: 'mqtt', source: 'primary' },
        configuration: { errors: {} },
      });
      const found = await look();
      assertFound(found, {});
      assert.equal(hub.connections.length, 0);
      assert.ok(found.at(-1)?.details?.includes('source: primary'));
    });

    it('check appends the error id to the error of the running agent', async () => {
      at();
      await bench.run({
        state: 'degraded',
        hub: { state: 'refused', error: 'the hub refused it', id: 'CREDENTIAL_REFUSED', remedy: 'Copy the key.' },
        configuration: { errors: {} },
      });
      assertFound(await look(), { cause: ['hub', /the hub refused it \(CREDENTIAL_REFUSED\)$/, /^Copy the key\.$/] });
    });

    it('check reports an unreachable hub, and only notes the same error of the running agent', async () => {
      at();
      await hub.offline('mqtt');
      await bench.run({
        state: 'degraded',
        hub: { state: 'connecting', error: 'no network', id: 'HUB_UNREACHABLE', remedy: 'Mend it.' },
        configuration: { errors: {} },
      });
      assertFound(await look(), {
        cause: ['TCP', /\(HUB_UNREACHABLE\)$/, /by TCP/],
        notes: { hub: /the running agent is not connected: no network/ },
      });
    });

    it('check only notes a failed connection if the running agent is connected', async () => {
      at();
      await hub.offline('mqtt');
      await bench.run({ state: 'running', hub: { state: 'connected' }, configuration: { errors: {} } });
      assertFound(await look(), { notes: { TCP: /the running agent is connected anyway$/ } });
    });

    it('check reports a failed connection if the connected agent was started by another configuration', async () => {
      at();
      await hub.offline('mqtt');
      const credential = { kind: 'moduleKey', transport: 'mqttWebSocket' };
      const configuration = { errors: {} };
      const localFileHash = 'of another file';
      await bench.run({ state: 'running', localFileHash, hub: { state: 'connected' }, credential, configuration });
      assertFound(await look(), { cause: ['TCP', /\(HUB_UNREACHABLE\)$/, /by TCP/] });
    });
  });

  describe('by IoT Edge', () => {
    let edge: EdgeEmulator;
    const at = async () => {
      edge = await EdgeEmulator.start({
        hub,
        deviceId: DEVICE,
        address: { socketPath: bench.path('workload.sock'), mode: 0o600 },
      });
      bench.after(() => edge.stop());
      const environment = edge.environmentOf(MODULE);
      const before = { ...process.env };
      Object.assign(process.env, environment);
      bench.after(() => {
        for (const name of Object.keys(environment)) {
          if (before[name] === undefined) delete process.env[name];
          else process.env[name] = before[name];
        }
      });
      bench.configure({ identity: { kind: 'edge' }, hub: {} });
    };
    table(at, [
      { title: 'check accepts an identity from IoT Edge' },
      {
        title: 'check reports missing variables of the IoT Edge runtime',
        make: () => {
          delete process.env.IOTEDGE_WORKLOADURI;
        },
        cause: ['identity', /IOTEDGE_WORKLOADURI \(CONFIG_INCOMPLETE\)$/, /Let IoT Edge start the agent/],
      },
      {
        title: 'check reports that the IoT Edge runtime cannot be reached',
        make: () => edge.offline(),
        cause: ['identity', /workload\.sock.*\(EDGE_UNREACHABLE\)$/, /./],
      },
      {
        title: 'check reports that the IoT Edge runtime refuses the module',
        make: () => hub.removeModule(DEVICE, MODULE),
        cause: ['identity', /\(EDGE_REFUSED\)$/, /./],
      },
      {
        title: 'check reports that the IoT Edge gateway cannot be reached',
        make: () => hub.offline('mqtt'),
        cause: ['TCP', /\(HUB_UNREACHABLE\)$/, /by TCP/],
      },
    ]);

    it('check requests no token from the IoT Edge runtime while an agent runs', async () => {
      await at();
      await bench.run({
        state: 'running',
        hub: { state: 'connected' },
        credential: { kind: 'edge', hub: hub.hostName },
        configuration: { errors: {} },
      });
      const found = await look();
      assertFound(found, {});
      assert.match(found[1]?.finding ?? '', /^edge for .*only the running agent asks/);
      assert.equal(edge.requests.length, 0);
    });
  });

  describe('by the IoT Identity Service', () => {
    let service: IdentityServiceEmulator;
    const at = async () => {
      mkdirSync(bench.path('aziot'), { mode: 0o700 });
      service = await IdentityServiceEmulator.start({
        directory: bench.path('aziot'),
        hub,
        deviceId: DEVICE,
        moduleId: MODULE,
      });
      bench.after(() => service.stop());
      bench.configure({
        identity: { kind: 'identityService', socketDirectory: bench.path('aziot') },
        hub: { trustedCaFile: 'ca.pem' },
      });
    };
    table(at, [
      { title: 'check accepts an identity from the IoT Identity Service' },
      {
        title: 'check reports that identityd cannot be reached',
        make: () => service.offline('identityd'),
        cause: ['identity', /identityd\.sock.*\(IDENTITY_SERVICE_UNREACHABLE\)$/, /./],
      },
      {
        title: 'check reports that keyd cannot be reached',
        make: () => service.offline('keyd'),
        cause: ['identity', /keyd\.sock.*\(IDENTITY_SERVICE_UNREACHABLE\)$/, /./],
      },
      {
        title: 'check reports that identityd has no module',
        make: () => hub.removeModule(DEVICE, MODULE),
        cause: ['identity', /\(IDENTITY_SERVICE_REFUSED\)$/, /./],
      },
    ]);

    it('check requests no signature from the IoT Identity Service while an agent runs', async () => {
      await at();
      await bench.run({ state: 'running', hub: { state: 'connected' }, configuration: { errors: {} } });
      assertFound(await look(), {});
      assert.equal(service.requests.length, 0);
    });
  });

  /** Settings of the hub with a separate port for its registry. */
  const withRegistry = () => ({
    hostName: hub.hostName,
    gatewayHostName: `localhost:${hub.port}`,
    restEndpoint: `localhost:${hub.restPort}`,
    trustedCaFile: 'ca.pem',
  });
  type Certificate = Awaited<ReturnType<typeof selfSigned>>;
  const byAuthority = async (commonName: string) => (await CertificateAuthority.create()).issue({ commonName });
  const writeCertificate = ({ chainPem, keyPem }: Certificate) => {
    bench.write('certificate.pem', chainPem, 0o644);
    bench.write('certificate.key', keyPem);
  };
  const byCertificate = { certificateFile: 'certificate.pem', keyFile: 'certificate.key' };
  const inDays = (count: number) => new Date(Date.now() + days(count));

  describe('by a module certificate', () => {
    const commonName = `${DEVICE}/${MODULE}`;
    const at = async (options: object = {}) => {
      const certificate = await selfSigned({ commonName, ...options });
      writeCertificate(certificate);
      const credential = { type: 'selfSigned', primaryThumbprint: certificate.thumbprint } as const;
      hub.addModule({ deviceId: DEVICE, moduleId: MODULE, credential });
      const identity = { kind: 'moduleCertificate', deviceId: DEVICE, moduleId: MODULE, ...byCertificate };
      bench.configure({ identity, hub: withRegistry() });
    };
    table(at, [
      { title: 'check accepts a module certificate' },
      {
        title: 'check reports a module certificate with a wrong CN',
        make: async () => writeCertificate(await byAuthority('device2/other')),
        cause: ['identity', /device2\/other.*\(CERTIFICATE_WRONG_NAME\)$/, /device1\/azureiotsecurity/],
      },
      {
        title: 'check reports an expired module certificate',
        make: () => at({ notBefore: inDays(-9), notAfter: inDays(-1) }),
        cause: ['identity', /expired at .*\(CERTIFICATE_EXPIRED\)$/, /Renew it/],
      },
      {
        title: 'check notes that a module certificate expires soon',
        make: () => at({ notBefore: inDays(-90), notAfter: inDays(9) }),
        notes: { certificate: /valid until/ },
      },
      {
        title: 'check reports a module certificate with the key of another certificate',
        make: async () => bench.write('certificate.key', (await selfSigned({ commonName })).keyPem),
        cause: ['identity', /does not belong to the key .*\(CERTIFICATE_FILE_UNUSABLE\)$/, /Copy/],
      },
      {
        title: 'check reports that the hub expects another module certificate',
        make: async () => writeCertificate(await selfSigned({ commonName })),
        cause: ['hub', /\(CREDENTIAL_REFUSED\)$/, /its thumbprint/],
      },
    ]);

    it('check shows the dates and fingerprints of a certificate while an agent runs', async () => {
      await at();
      await bench.run({ state: 'running', hub: { state: 'connected' }, configuration: { errors: {} } });
      const found = await look();
      assertFound(found, {});
      const one = found.find(({ check }) => check === 'certificate');
      assert.match(one?.details?.join() ?? '', /CN=device1\/azureiotsecurity.*SHA-256 [0-9A-F]{64}/);
    });
  });

  describe('by a device key', () => {
    const at = (more: object = {}) => {
      const credential = { type: 'sas', primaryKey: bench.key, secondaryKey: OTHER_KEY } as const;
      if (hub.getDevice(DEVICE)?.credential.type !== 'sas' || Object.keys(more).length === 0) {
        hub.addDevice({ deviceId: DEVICE, credential });
        hub.addModule({ deviceId: DEVICE, moduleId: MODULE });
      }
      const identity = { kind: 'deviceKey', deviceId: DEVICE, moduleId: MODULE, keyFile: 'module.key', ...more };
      bench.configure({ identity, hub: withRegistry() });
    };
    table(
      () => at(),
      [
        { title: 'check accepts a device key' },
        {
          title: 'check reports a wrong device key',
          make: () => bench.write('module.key', Buffer.alloc(32, 9).toString('base64')),
          cause: ['identity', /\(CREDENTIAL_REFUSED\)$/, /./],
        },
        {
          title: 'check reports that the device is missing',
          make: () => hub.removeDevice(DEVICE),
          cause: ['identity', /has no device device1 .*\(MODULE_UNKNOWN\)$/, /./],
        },
        {
          title: 'check reports that the module is missing if createModule is false',
          make: () => {
            hub.removeModule(DEVICE, MODULE);
            at({ createModule: false });
          },
          cause: ['identity', /has no module device1\/azureiotsecurity \(MODULE_UNKNOWN\)$/, /az iot hub/],
        },
        {
          title: 'check reports that the registry cannot be reached',
          make: () => hub.offline('rest'),
          cause: ['identity', /\(HUB_UNREACHABLE\)$/, /./],
        },
        {
          title: 'check reports that the registry does not answer',
          make: () => hub.faults.inject({ kind: 'restSilence' }),
          cause: ['identity', /\(HUB_SILENT\)$/, /./],
        },
      ],
    );

    it('check notes that the agent will create the module, and creates nothing', async () => {
      at();
      hub.removeModule(DEVICE, MODULE);
      const found = await look();
      assertFound(found, { notes: { registry: /has no module device1\/azureiotsecurity/ } });
      assert.equal(hub.getModule(DEVICE, MODULE), undefined);
      assert.ok(hub.restRequests.every(({ method }) => method === 'GET' || method === 'HEAD'));
    });
  });

  describe('by a device certificate', () => {
    const at = async (options: object = {}) => {
      const certificate = await selfSigned({ commonName: DEVICE, ...options });
      writeCertificate(certificate);
      const credential = { type: 'selfSigned', primaryThumbprint: certificate.thumbprint } as const;
      hub.addDevice({ deviceId: DEVICE, credential });
      hub.addModule({ deviceId: DEVICE, moduleId: MODULE });
      const identity = { kind: 'deviceCertificate', deviceId: DEVICE, moduleId: MODULE, ...byCertificate };
      bench.configure({ identity, hub: withRegistry() });
    };
    table(at, [
      { title: 'check accepts a device certificate' },
      {
        title: 'check reports a device certificate with a wrong CN',
        make: async () => writeCertificate(await byAuthority('device2')),
        cause: ['identity', /device2.*\(CERTIFICATE_WRONG_NAME\)$/, /device1/],
      },
      {
        title: 'check reports that the hub expects another device certificate',
        make: async () => writeCertificate(await selfSigned({ commonName: DEVICE })),
        cause: ['identity', /\(CREDENTIAL_REFUSED\)$/, /./],
      },
      {
        title: 'check reports a missing device instead of a missing module if the certificate expires soon',
        make: async () => {
          await at({ notBefore: inDays(-90), notAfter: inDays(9) });
          hub.removeDevice(DEVICE);
        },
        cause: ['identity', /has no device device1 .*\(MODULE_UNKNOWN\)$/, /./],
      },
    ]);
  });

  describe('by the provisioning service', () => {
    let service: ProvisioningEmulator;
    let other: HubEmulator;
    const start = async () => {
      other = await HubEmulator.start({ hostName: 'other.azure-devices.net' });
      service = await ProvisioningEmulator.start({
        hubs: [hub, other],
        certificateAuthority: hub.certificateAuthority,
        retryAfterSeconds: undefined,
        polls: 0,
      });
      bench.after(() => service.stop());
      bench.after(() => other.stop());
      hub.removeDevice(DEVICE);
    };
    const configure = (identity: object = { keyFile: 'module.key' }) => {
      const { hostName: _assigned, ...settings } = withRegistry();
      const { idScope, endpoint } = service;
      bench.configure({
        identity: { kind: 'provisioning', idScope, registrationId: DEVICE, endpoint, ...identity },
        hub: settings,
      });
    };
    /** Stores the assignment of an earlier registration, as the agent does. */
    const keepAssignment = (assigned: HubEmulator = hub) => {
      mkdirSync(bench.path('state'), { mode: 0o700 });
      const { idScope } = service;
      const kept = { idScope, registrationId: DEVICE, hub: assigned.hostName, deviceId: DEVICE };
      bench.write('state/assignment.json', JSON.stringify(kept));
    };
    const knowDevice = (status?: 'disabled') => {
      const credential = { type: 'sas', primaryKey: bench.key, secondaryKey: OTHER_KEY } as const;
      hub.addDevice({ deviceId: DEVICE, credential, ...(status === undefined ? {} : { status }) });
      hub.addModule({ deviceId: DEVICE, moduleId: MODULE });
    };
    const register = async () => {
      assertFound(await look(), { notes: TO_BE_MADE });
      hub.addModule({ deviceId: DEVICE, moduleId: MODULE });
    };
    const TO_BE_MADE = { registry: /has no module device1\/azureiotsecurity/ };
    const refused = ['identity', /refused the registration device1 .*\(PROVISIONING_REFUSED\)$/, /idScope/] as const;

    describe('with a key', () => {
      const at = async () => {
        await start();
        service.enroll({ registrationId: DEVICE, primaryKey: bench.key });
        configure();
      };
      table(at, [
        { title: 'check registers a new device, and notes that the agent will create the module', notes: TO_BE_MADE },
        { title: 'check accepts a provisioning key', make: register },
        {
          title: 'check reports a wrong provisioning key',
          make: () => bench.write('module.key', OTHER_KEY),
          cause: refused,
        },
        {
          title: 'check reports a wrong ID scope',
          make: () => configure({ keyFile: 'module.key', idScope: '0ne00000002' }),
          cause: refused,
        },
        {
          title: 'check reports that the device is not enrolled',
          make: () => service.removeEnrollment(DEVICE),
          cause: refused,
        },
        {
          title: 'check reports a disabled enrolment',
          make: () => service.setStatus(DEVICE, 'disabled'),
          cause: [
            'identity',
            /enrolment of device1 at .* is disabled \(PROVISIONING_DISABLED\)$/,
            /--provisioning-status enabled/,
          ],
        },
        {
          title: 'check reports that the provisioning service cannot assign the device',
          make: () => service.setFailure(DEVICE, { errorCode: 400207, errorMessage: 'Custom allocation failed.' }),
          cause: [
            'identity',
            /\(400207\): Custom allocation failed\. \(PROVISIONING_FAILED\)$/,
            /az iot dps enrollment/,
          ],
        },
        {
          title: 'check reports that the provisioning service cannot be reached',
          make: () => service.offline(),
          cause: ['identity', /can't be reached .*ECONNREFUSED.*\(PROVISIONING_UNREACHABLE\)$/, /identity\.endpoint/],
        },
        {
          title: 'check reports that the provisioning service does not answer',
          make: () => service.faults.inject({ kind: 'silence' }),
          cause: ['identity', /did not answer.*\(PROVISIONING_UNREACHABLE\)$/, /by TCP/],
        },
        {
          title: 'check reports that the provisioning service is overloaded',
          make: () => service.faults.inject({ kind: 'status', status: 503 }),
          cause: ['identity', /can't register devices now \(503\) \(PROVISIONING_UNREACHABLE\)$/, /Wait/],
        },
        {
          title: 'check reports an answer that is not from the provisioning service',
          make: () => service.faults.inject({ kind: 'garbage' }),
          cause: ['identity', /answered with something else .*\(PROVISIONING_UNREACHABLE\)$/, /portal or proxy/],
        },
        {
          title: 'check reports that the registry of the assigned hub cannot be reached',
          make: async () => {
            await register();
            await hub.offline('rest');
          },
          cause: ['identity', /REST interface.*can't be reached.*\(HUB_UNREACHABLE\)$/, /by TCP/],
        },
        {
          title: 'check notes that the provisioning service cannot be reached, and uses the stored assignment',
          make: async () => {
            keepAssignment();
            knowDevice();
            await service.offline();
          },
          notes: {
            provisioning: /^device device1 at emulator\..*; now .*can't be reached.*\(PROVISIONING_UNREACHABLE\)$/,
          },
        },
        {
          title: 'check notes that the provisioning service throttles requests, and uses the stored assignment',
          make: () => {
            keepAssignment();
            knowDevice();
            service.faults.inject({ kind: 'status', status: 429 });
          },
          notes: { provisioning: /fewer requests \(429\) \(PROVISIONING_UNREACHABLE\)$/ },
        },
        {
          title: 'check reports an unreachable provisioning service if the hub refuses the stored device',
          make: async () => {
            keepAssignment();
            await service.offline();
          },
          cause: ['identity', /\(PROVISIONING_UNREACHABLE\)$/, /identity\.endpoint/],
          notes: { provisioning: /by an earlier registration/ },
        },
        {
          title: 'check reports a disabled enrolment despite a stored assignment',
          make: () => {
            keepAssignment();
            knowDevice();
            service.setStatus(DEVICE, 'disabled');
          },
          cause: ['identity', /\(PROVISIONING_DISABLED\)$/, /enabled/],
        },
      ]);

      it('check asks the provisioning service, and does not store the new assignment', async () => {
        await at();
        await register();
        keepAssignment(other);
        const before = readFileSync(bench.path('state/assignment.json'), 'utf8');
        const found = await look();
        assertFound(found, {});
        const { finding } = found.find(({ check }) => check === 'provisioning') ?? {};
        assert.equal(finding, `${DEVICE} is assigned: device ${DEVICE} at ${hub.hostName}`);
        assert.equal(readFileSync(bench.path('state/assignment.json'), 'utf8'), before);
      });
    });

    describe('with the key of a group', () => {
      const at = async () => {
        await start();
        service.enrollGroup({ name: 'fleet', primaryKey: bench.key });
        configure({ groupKeyFile: 'module.key' });
      };
      table(at, [
        { title: 'check accepts the key of an enrolment group', make: register },
        {
          title: 'check reports the key of another enrolment group',
          make: () => bench.write('module.key', OTHER_KEY),
          cause: refused,
        },
        {
          title: 'check reports a disabled enrolment group',
          make: () => service.setStatus('fleet', 'disabled'),
          cause: ['identity', /\(PROVISIONING_DISABLED\)$/, /enrollment-group update/],
        },
      ]);
    });

    describe('with a certificate', () => {
      const at = async (options: object = {}) => {
        const certificate = await selfSigned({ commonName: DEVICE, ...options });
        writeCertificate(certificate);
        service.enroll({ registrationId: DEVICE, thumbprint: certificate.thumbprint });
        configure(byCertificate);
      };
      const begin = async () => {
        await start();
        await at();
      };
      table(begin, [
        { title: 'check accepts a provisioning certificate', make: register },
        {
          title: 'check reports a provisioning certificate with a wrong CN',
          make: () => at({ commonName: 'device2' }),
          cause: [
            'identity',
            /the CN "device2" instead of "device1" \(CERTIFICATE_WRONG_NAME\)$/,
            /identity\.registrationId/,
          ],
        },
        {
          title: 'check reports an expired provisioning certificate',
          make: () => at({ notBefore: inDays(-9), notAfter: inDays(-1) }),
          cause: ['identity', /expired at .*\(CERTIFICATE_EXPIRED\)$/, /Renew it/],
        },
        {
          title: 'check reports that the provisioning service expects another certificate',
          make: async () => writeCertificate(await selfSigned({ commonName: DEVICE })),
          cause: refused,
        },
      ]);
    });
  });
});
