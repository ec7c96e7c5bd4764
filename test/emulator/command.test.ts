import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import device from 'azure-iot-device';
import transport from 'azure-iot-device-mqtt';
import mqtt from 'mqtt';
import { systemClock } from '../../src/core/base/clock.ts';
import { hours } from '../../src/core/base/duration.ts';
import { AGENT_KINDS, type AgentKind } from '../../src/emulator/agent-kinds.ts';
import { lineOf, type RunOptions, requestLine, runEmulator } from '../../src/emulator/command.ts';
import * as emulatorCommand from '../../src/emulator/commands/emulator.ts';
import type { ReceivedMessage } from '../../src/emulator/message-log.ts';
import { signSasToken } from '../../src/emulator/sas.ts';
import * as fleet from '../../src/fleet/commands/fleet.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { freePort } from '../harness/free-port.ts';
import { curl, requireCurl } from './curl.ts';
import { ask, register } from './provisioning/clients.ts';

describe('vakt emulator', () => {
  let directory: string;
  beforeEach(() => {
    directory = temporaryFolder();
  });

  /** Runs until the line with the command that starts an agent is printed and `whileRunning` has completed. */
  const run = async (
    changes: Partial<RunOptions> = {},
    whileRunning: (lines: string[]) => Promise<void> = async () => {},
  ) => {
    const stop = new AbortController();
    const lines: string[] = [];
    let done: Promise<void> | undefined;
    const out = (line: string) => {
      lines.push(line);
      if (line.startsWith('Start an agent')) done = whileRunning(lines).finally(() => stop.abort());
    };
    const ids = { deviceId: 'dev1', moduleId: 'azureiotsecurity' };
    const ports = { port: 0, controlPort: 0, servicePort: 0 };
    const options = { ...ids, ...ports, directory, kind: 'moduleKey', printConfig: false, ...changes } as const;
    await runEmulator(options, out, stop.signal);
    await done;
    return lines;
  };
  const read = (file: string) => readFileSync(join(directory, file), 'utf8');

  it('writes what an agent needs to come here, and keeps the key to itself', async () => {
    const lines = await run();
    const [, port] = /localhost:(\d+)/.exec(lines.join('\n')) ?? [];
    assert.deepEqual(JSON.parse(read('agent.json')), {
      hub: {
        hostName: 'emulator.azure-devices.net',
        gatewayHostName: `localhost:${port}`,
        trustedCaFile: join(directory, 'ca.pem'),
      },
      identity: {
        kind: 'moduleKey',
        deviceId: 'dev1',
        moduleId: 'azureiotsecurity',
        keyFile: join(directory, 'module.key'),
      },
      stateDirectory: join(directory, 'state'),
      controlSocket: join(directory, 'control.sock'),
    });
    assert.match(read('ca.pem'), /^-----BEGIN CERTIFICATE-----/);
    assert.equal(Buffer.from(read('module.key'), 'base64').length, 32);
    assert.equal(statSync(join(directory, 'module.key')).mode & 0o777, 0o600);
    assert.ok(!lines.join('\n').includes(read('module.key').trim()));
  });

  it('has simulated devices, and a connection string for "vakt fleet" that is kept', async () => {
    let policyKey = '';
    const look = async () => {
      const out: string[] = [];
      const credential = ['--connection-string-file', join(directory, 'service.connection-string')];
      const args = ['status', ...credential, '--trusted-ca-file', join(directory, 'ca.pem')];
      const world = { environment: {}, signal: new AbortController().signal, terminal: false };
      await fleet.run(args, { ...world, stdout: (line) => out.push(line), stderr: assert.fail });
      assert.match(out.at(-1) ?? '', /^3 devices without the module azureiotsecurity: /);
      policyKey = read('iothubowner.key');
    };
    const lines = await run({ simulated: 3 }, look);
    assert.ok(lines.some((line) => line.includes('vakt fleet status --connection-string-file ')));
    assert.ok(!lines.join('\n').includes(policyKey.trim()));
    const before = policyKey;
    await run({ simulated: 3 }, look);
    assert.equal(policyKey, before);
  });

  it('prints the events of a message by name, and the part of a snapshot', () => {
    const rows = (ExtraDetails: object) => [{ UserName: 'eve', ExtraDetails }, { UserName: 'bob' }];
    const label = { Part: '2', Parts: '3', SnapshotId: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };
    const events = [
      { Name: 'Login', Payload: rows({}) },
      { Name: 'LocalUsers', Payload: rows(label) },
      { Name: 'Login', Payload: [] },
      { Name: 'Odd', Payload: [null] },
    ];
    const message = { enqueuedAt: new Date(0), sequence: 7, deviceId: 'dev1', moduleId: 'mod1', sizeBytes: 900 };
    const line = lineOf({ ...message, duplicate: false, body: JSON.stringify({ Events: events }) } as ReceivedMessage);
    assert.equal(line, '00:00:00 dev1/mod1 sent message 7, 900 bytes: Login ×2, LocalUsers (part 2 of 3), Odd');
  });

  it('uses the key of an earlier run again', async () => {
    await run();
    const key = read('module.key');
    await run();
    assert.equal(read('module.key'), key);
  });

  /** The port in the line that begins so. */
  const portIn = (lines: readonly string[], start: string) => {
    const [, port] = /:(\d+)/.exec(lines.find((line) => line.startsWith(start)) ?? '') ?? [];
    assert.ok(port !== undefined && port !== '0', lines.join('\n'));
    return Number(port);
  };

  for (const start of ['REST API', 'MQTT over WebSocket']) {
    it(`prints the address of the REST API ("${start} …") and its requests`, async () => {
      const path = '/devices/dev1/modules?api-version=2021-04-12';
      const lines = await run({ kind: 'deviceCertificate' }, async (said) => {
        const secret = { cert: read('device-certificate.pem'), key: read('device-certificate.key') };
        assert.equal(
          (await ask({ port: portIn(said, start), caPem: read('ca.pem') }, 'GET', path, secret)).status,
          200,
        );
      });
      assert.equal(lines.at(-1)?.slice(9), `GET ${path}: 200`);
    });
  }

  it('runs a proxy that demands the password that it writes, and keeps that', async () => {
    let password = '';
    const lines = await run({ proxyPort: 0, proxyUser: 'vakt' }, async (said) => {
      password = read('proxy.password').trim();
      const tunnel = async (user: string) => {
        const headers = { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` };
        const path = 'emulator.azure-devices.net:8883';
        const asked = request({
          host: '127.0.0.1',
          port: portIn(said, 'HTTP proxy'),
          method: 'CONNECT',
          path,
          headers,
        });
        asked.end();
        const [response, socket] = await once(asked, 'connect');
        socket.destroy();
        return response.statusCode;
      };
      assert.equal(await tunnel('vakt:wrong'), 407);
      assert.equal(await tunnel(`vakt:${password}`), 200);
    });
    assert.match(lines.join('\n'), /Proxy: CONNECT emulator\.azure-devices\.net:8883: 407/);
    assert.ok(!lines.join('\n').includes(password));
    assert.equal(statSync(join(directory, 'proxy.password')).mode & 0o777, 0o600);
    await run({ proxyPort: 0, proxyUser: 'vakt' });
    assert.equal(read('proxy.password').trim(), password);
  });

  it('runs no proxy unless it is asked to', async () => {
    assert.ok(!(await run()).join('\n').includes('proxy'));
  });

  describe('prepares an agent by', () => {
    const mode = (file: string) => statSync(join(directory, file)).mode & 0o777;
    const config = () => JSON.parse(read('agent.json'));
    const port = '<port>';
    /** The configuration, without what differs from run to run. */
    const generic = (text: string) =>
      JSON.parse(text.replaceAll(directory, '<dir>').replaceAll(/localhost:\d+/g, `localhost:${port}`));
    const rest = { stateDirectory: '<dir>/state', controlSocket: '<dir>/control.sock' };
    const hub = {
      hostName: 'emulator.azure-devices.net',
      gatewayHostName: `localhost:${port}`,
      trustedCaFile: '<dir>/ca.pem',
    };
    const withRest = { ...hub, restEndpoint: `localhost:${port}` };
    const ids = { deviceId: 'dev1', moduleId: 'azureiotsecurity' };

    /** The configuration, and the additional files with their modes, keyed by kind. */
    const kinds: Readonly<Record<AgentKind, [object, Readonly<Record<string, number>>]>> = {
      moduleKey: [{ hub, identity: { ...ids, keyFile: '<dir>/module.key' } }, { 'module.key': 0o600 }],
      connectionString: [
        { hub: { trustedCaFile: '<dir>/ca.pem' }, identity: { file: '<dir>/module.connection-string' } },
        { 'module.key': 0o600, 'module.connection-string': 0o600 },
      ],
      moduleCertificate: [
        {
          hub,
          identity: {
            ...ids,
            certificateFile: '<dir>/module-certificate.pem',
            keyFile: '<dir>/module-certificate.key',
          },
        },
        { 'module-certificate.pem': 0o644, 'module-certificate.key': 0o600 },
      ],
      deviceKey: [{ hub: withRest, identity: { ...ids, keyFile: '<dir>/device.key' } }, { 'device.key': 0o600 }],
      deviceCertificate: [
        {
          hub: withRest,
          identity: {
            ...ids,
            certificateFile: '<dir>/device-certificate.pem',
            keyFile: '<dir>/device-certificate.key',
          },
        },
        { 'device-certificate.pem': 0o644, 'device-certificate.key': 0o600 },
      ],
      provisioning: [
        {
          hub: {
            gatewayHostName: hub.gatewayHostName,
            trustedCaFile: hub.trustedCaFile,
            restEndpoint: withRest.restEndpoint,
          },
          identity: {
            idScope: '0ne00000001',
            registrationId: 'dev1',
            keyFile: '<dir>/registration.key',
            endpoint: `localhost:${port}`,
          },
        },
        { 'registration.key': 0o600 },
      ],
      edge: [{ identity: {} }, { 'module.key': 0o600, 'agent.env': 0o644 }],
      identityService: [
        { hub: { trustedCaFile: '<dir>/ca.pem' }, identity: { socketDirectory: '<dir>/aziot' } },
        { 'module.key': 0o600 },
      ],
    };

    for (const [kind, [expected, files]] of Object.entries(kinds) as [AgentKind, (typeof kinds)[AgentKind]][]) {
      it(`${kind}: its configuration, printed, and its files with their modes`, async () => {
        const lines = await run({ kind, printConfig: true });
        const { identity, ...others } = expected as { identity: object };
        assert.deepEqual(generic(read('agent.json')), { ...others, identity: { kind, ...identity }, ...rest });
        assert.ok(lines.join('\n').includes(read('agent.json').trim()));
        const ofService = { 'control.token': 0o600, 'iothubowner.key': 0o600, 'service.connection-string': 0o600 };
        const modes = { ...files, ...ofService, 'agent.json': 0o600, 'ca.pem': 0o644 };
        const found = readdirSync(directory).filter((name) => statSync(join(directory, name)).isFile());
        assert.deepEqual(Object.fromEntries(found.map((name) => [name, mode(name)])), modes);
        assert.equal(statSync(directory).mode & 0o777, 0o700);
        for (const name of Object.keys({ ...files, ...ofService }).filter((file) => mode(file) === 0o600))
          assert.ok(!lines.join('\n').includes(read(name).trim()), `${name} was printed`);
      });
    }

    it('the kinds that the command line knows, and no others', async () => {
      const ended = AbortSignal.abort();
      const world = { stdout: () => {}, stderr: () => {}, environment: {}, signal: ended, terminal: false };
      await assert.rejects(emulatorCommand.run(['--print-config', 'edgy'], world), {
        name: 'UsageError',
        message: `--print-config takes one of ${Object.keys(AGENT_KINDS).join(', ')}, not "edgy"; did you mean "edge"?`,
      });
      for (const kind of Object.keys(AGENT_KINDS)) {
        assert.ok(emulatorCommand.usage.includes(kind), kind);
        assert.equal(await emulatorCommand.run(['--print-config', kind, '--directory', directory], world), 0);
        assert.equal(config().identity.kind, kind);
      }
    });

    const connected = async (client: mqtt.MqttClient) => {
      await once(client, 'connect');
      client.end(true);
    };
    const connect = (options: mqtt.IClientOptions) => {
      const { hub: at } = config();
      const [host, number] = (at?.gatewayHostName ?? options.host).split(':');
      return mqtt.connect({
        ...options,
        protocol: 'mqtts',
        host,
        port: Number(number),
        ca: read('ca.pem'),
        reconnectPeriod: 0,
        protocolVersion: 4,
        clientId: 'dev1/azureiotsecurity',
        username: 'emulator.azure-devices.net/dev1/azureiotsecurity/?api-version=2021-04-12',
      });
    };
    const inAnHour = () => new Date(systemClock.now().getTime() + hours(1));
    const moduleToken = (key: string) =>
      signSasToken('emulator.azure-devices.net/devices/dev1/modules/azureiotsecurity', key, inAnHour());

    it('a certificate with which a module can connect', async () => {
      await run({ kind: 'moduleCertificate' }, () =>
        connected(connect({ cert: read('module-certificate.pem'), key: read('module-certificate.key') })),
      );
    });

    it('a connection string, with which the SDK connects', async () => {
      await run({ kind: 'connectionString' }, async () => {
        const client = device.ModuleClient.fromConnectionString(
          read('module.connection-string').trim(),
          transport.Mqtt,
        );
        client.on('error', () => {});
        await client.setOptions({ ca: config().hub.trustedCaFile });
        await client.open();
        await client.close();
      });
    });

    for (const [kind, secret] of [
      [
        'deviceKey',
        () => ({
          authorization: signSasToken('emulator.azure-devices.net/devices/dev1', read('device.key').trim(), inAnHour()),
        }),
      ],
      ['deviceCertificate', () => ({ cert: read('device-certificate.pem'), key: read('device-certificate.key') })],
    ] as const) {
      it(`${kind}: with it the agent can add its module, which is not there yet, and connect`, async () => {
        await run({ kind }, async () => {
          const { restEndpoint } = config().hub;
          const path = '/devices/dev1/modules/azureiotsecurity?api-version=2021-04-12';
          const rest = { port: Number(restEndpoint.split(':')[1]), caPem: read('ca.pem') };
          assert.equal((await ask(rest, 'GET', path, secret())).status, 404);
          const body = { deviceId: 'dev1', moduleId: 'azureiotsecurity' };
          const made = await ask(rest, 'PUT', path, { ...secret(), body });
          assert.equal(made.status, 201);
          await connected(connect({ password: moduleToken(made.body.authentication.symmetricKey.primaryKey) }));
        });
      });
    }

    it('a registration, which the hub has afterwards', async () => {
      const lines = await run({ kind: 'provisioning' }, async () => {
        const { endpoint, idScope, keyFile } = config().identity;
        const service = { port: Number(endpoint.split(':')[1]), caPem: read('ca.pem'), endpoint, idScope };
        const result = await register(service, 'https', 'dev1', { key: readFileSync(keyFile, 'utf8').trim() });
        assert.deepEqual([result.assignedHub, result.deviceId], ['emulator.azure-devices.net', 'dev1']);
      });
      const provisioningLines = lines.filter((line) => line.includes('provisioning:')).map((line) => line.slice(9));
      assert.deepEqual(provisioningLines, [
        'provisioning: register for dev1: 202.',
        'provisioning: operation for dev1: 202.',
        'provisioning: operation for dev1: 200.',
      ]);
    });

    it('the variables of an Edge module, printed as a command, and a socket that signs', async function () {
      await requireCurl(this);
      const lines = await run({ kind: 'edge' }, async () => {
        const { status } = await curl(join(directory, 'workload.sock'), '/trust-bundle?api-version=2020-07-07');
        assert.equal(status, 200);
      });
      const variables = read('agent.env').trim().split('\n');
      assert.equal(variables.length, 8);
      assert.ok(variables.includes(`IOTEDGE_WORKLOADURI=unix://${directory}/workload.sock`));
      const start = lines.find((line) => line.startsWith('Start an agent')) ?? '';
      for (const variable of variables) assert.ok(start.includes(variable), variable);
      const overHttp = await run({ kind: 'edge', servicePort: await freePort() });
      assert.ok(overHttp.some((line) => /workload API .* http:\/\/127\.0\.0\.1:\d+\.$/.test(line)));
    });

    it('the sockets of an Identity Service', async function () {
      await requireCurl(this);
      await run({ kind: 'identityService' }, async () => {
        const { socketDirectory } = config().identity;
        const socket = join(socketDirectory, 'identityd.sock');
        const { body } = await curl(socket, '/identities/identity?api-version=2020-09-01');
        assert.equal(body.spec.moduleId, 'azureiotsecurity');
        await connected(connect({ host: body.spec.gatewayHost, password: moduleToken(read('module.key').trim()) }));
      });
    });

    it('names the module if it is not the default one', async () => {
      await run({ kind: 'provisioning', moduleId: 'other' });
      assert.equal(config().identity.moduleId, 'other');
    });
  });

  it('prints the requests to a service', () => {
    const record = { at: new Date(0), monotonic: 0, transport: 'unix', operation: 'sign', path: '/sign' } as const;
    assert.equal(
      requestLine('edge', { ...record, fault: 'silence' }),
      '00:00:00 edge: sign: not answered, by the fault silence.',
    );
    assert.equal(
      requestLine('edge', { ...record, subject: 'mod1', status: 404, reason: 'Module mod1 not found' }),
      '00:00:00 edge: sign for mod1: 404, Module mod1 not found.',
    );
  });
});
