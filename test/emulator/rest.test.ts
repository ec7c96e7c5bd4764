import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, type RequestOptions, request } from 'node:https';
import type mqtt from 'mqtt';
import { systemClock } from '../../src/core/base/clock.ts';
import { hours, seconds } from '../../src/core/base/duration.ts';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../src/emulator/certificates.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { signSasToken } from '../../src/emulator/sas.ts';
import { bareClient, DEVICE, KEY, MODULE, module, OTHER_KEY } from './clients.ts';

const MODULES = `/devices/${DEVICE}/modules`;
const VERSION = '?api-version=2021-04-12';
const DEVICE_KEYS = { type: 'sas', primaryKey: KEY, secondaryKey: OTHER_KEY } as const;
const POLICY_KEY = Buffer.from('the key of the policy of the hub').toString('base64');

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it
  readonly body: any;
}

describe('the REST API of the hub emulator', () => {
  let hub: HubEmulator;
  let agent: Agent;
  const opened: mqtt.MqttClient[] = [];

  const start = async (options: Parameters<typeof HubEmulator.start>[0] = {}) => {
    await hub?.stop();
    const rights = ['RegistryRead', 'RegistryWrite'] as const;
    hub = await HubEmulator.start({
      devices: [{ deviceId: DEVICE, credential: DEVICE_KEYS }],
      policies: [
        { name: 'iothubowner', primaryKey: POLICY_KEY, rights },
        { name: 'registryRead', primaryKey: POLICY_KEY, rights: ['RegistryRead'] },
      ],
      ...options,
    });
  };
  beforeEach(async () => {
    agent = new Agent({ keepAlive: true });
    await start();
  });
  afterEach(async () => {
    for (const client of opened.splice(0)) client.end(true);
    agent.destroy();
    await hub.stop();
  });

  const token = ({ resource = `${hub.hostName}/devices/${DEVICE}`, key = KEY, after = hours(1), policy = '' } = {}) =>
    signSasToken(resource, key, new Date(systemClock.now().getTime() + after), policy || undefined);
  const ask = (method: string, path: string, body?: unknown, options: RequestOptions = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const { headers = { authorization: token() }, ...rest } = options;
      const asked = request({ host: 'localhost', port: hub.restPort, ca: hub.caPem, agent, method, path, ...rest });
      for (const [name, value] of Object.entries(headers)) asked.setHeader(name, value as string);
      asked.on('error', reject);
      asked.on('response', async (response) => {
        let text = '';
        for await (const part of response.setEncoding('utf8')) text += part;
        const isJson = response.headers['content-type']?.includes('json') === true && text !== '';
        resolve({
          status: response.statusCode,
          headers: response.headers,
          text,
          body: isJson ? JSON.parse(text) : null,
        });
      });
      asked.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
    });
  const get = (path = `${MODULES}/${MODULE}`, options: RequestOptions = {}) =>
    ask('GET', path + VERSION, undefined, options);
  const put = (body: unknown = {}, ifMatch?: string) =>
    ask('PUT', `${MODULES}/${MODULE}${VERSION}`, body, {
      headers: { authorization: token(), ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }) },
    });
  const withCertificate = ({ chainPem, keyPem }: IssuedCertificate): RequestOptions => ({
    cert: chainPem,
    key: keyPem,
    headers: {},
  });
  /** The name of the hub's error, checked to be the same in the header and in the body, and its code as logged. */
  const errorOf = ({ status, headers, body }: Answer) => {
    const name = headers['iothub-errorcode'];
    assert.ok(body.Message.startsWith(`ErrorCode:${name};`), body.Message);
    assert.match(body.ExceptionMessage, /^Tracking ID:[0-9a-f]{32}-G:0-TimeStamp:/);
    assert.equal(hub.restRequests.at(-1)?.status, status);
    return [status, hub.restRequests.at(-1)?.errorCode, name];
  };

  describe('for a device with its token', () => {
    it('makes a module with random keys, with which the module connects', async () => {
      const made = await put({ moduleId: MODULE, deviceId: DEVICE });
      assert.equal(made.status, 201);
      const { etag, generationId, authentication, ...rest } = made.body;
      assert.deepEqual(rest, {
        moduleId: MODULE,
        deviceId: DEVICE,
        managedBy: '',
        connectionState: 'Disconnected',
        connectionStateUpdatedTime: '0001-01-01T00:00:00',
        lastActivityTime: '0001-01-01T00:00:00',
        cloudToDeviceMessageCount: 0,
      });
      const { primaryKey, secondaryKey } = authentication.symmetricKey;
      assert.equal(Buffer.from(primaryKey, 'base64').length, 32);
      assert.notEqual(primaryKey, secondaryKey);
      assert.equal(authentication.type, 'sas');
      assert.deepEqual(authentication.x509Thumbprint, { primaryThumbprint: null, secondaryThumbprint: null });
      assert.deepEqual(
        [etag, generationId],
        [hub.getModule(DEVICE, MODULE)?.etag, hub.getModule(DEVICE, MODULE)?.generationId],
      );
      assert.equal(made.headers.etag, `"${etag}"`);

      const resource = `${hub.hostName}/devices/${DEVICE}/modules/${MODULE}`;
      const client = bareClient(hub, { password: token({ resource, key: secondaryKey }) });
      opened.push(client);
      await once(client, 'connect');
      assert.equal((await get()).body.connectionState, 'Connected');
    });

    it('shows a module, and lists the modules of the device only', async () => {
      hub.addModule(module);
      hub.addModule({ deviceId: DEVICE, moduleId: 'other' });
      hub.addModule({ deviceId: 'dev2', moduleId: 'foreign' });
      const shown = await get();
      assert.deepEqual([shown.status, shown.body.authentication.symmetricKey.primaryKey], [200, KEY]);
      const listed = await get(MODULES);
      assert.deepEqual(
        listed.body.map(({ moduleId }: { moduleId: string }) => moduleId),
        [MODULE, 'other'],
      );
      assert.deepEqual(hub.restRequests.at(-1)?.caller, { deviceId: DEVICE });
    });

    it('accepts the secondary key, and ids that need encoding', async () => {
      const deviceId = 'a?b';
      hub.addDevice({ deviceId, credential: DEVICE_KEYS });
      hub.addModule({ deviceId, moduleId: '100%' });
      const authorization = token({ resource: `${hub.hostName}/devices/${deviceId}`, key: OTHER_KEY });
      const shown = await get('/devices/a%3Fb/modules/100%25', { headers: { authorization } });
      assert.deepEqual([shown.status, shown.body.moduleId], [200, '100%']);
    });

    it('replaces a module if the etag matches, and keeps its generation', async () => {
      const made = await put();
      assert.deepEqual(errorOf(await put()), [409, 409301, 'ModuleAlreadyExistsOnDevice']);
      assert.deepEqual(errorOf(await put({}, '"old"')), [412, 412001, 'PreconditionFailed']);
      const keys = { primaryKey: OTHER_KEY, secondaryKey: KEY };
      const replaced = await put({ authentication: { type: 'sas', symmetricKey: keys } }, made.headers.etag as string);
      assert.deepEqual([replaced.status, replaced.body.authentication.symmetricKey], [200, keys]);
      assert.equal(replaced.body.generationId, made.body.generationId);
      assert.notEqual(replaced.body.etag, made.body.etag);
      assert.deepEqual((await put({}, '*')).body.authentication.symmetricKey, keys);
    });

    it('registers a thumbprint, or a module of an authority', async () => {
      const x509Thumbprint = { primaryThumbprint: 'ab'.repeat(32), secondaryThumbprint: null };
      const made = await put({ authentication: { type: 'selfSigned', x509Thumbprint } });
      assert.deepEqual(made.body.authentication, {
        type: 'selfSigned',
        symmetricKey: { primaryKey: null, secondaryKey: null },
        x509Thumbprint,
      });
      const changed = await put({ authentication: { type: 'certificateAuthority' } }, '*');
      assert.equal(changed.body.authentication.type, 'certificateAuthority');
    });

    it('removes a module, and closes its connection', async () => {
      hub.addModule(module);
      const client = bareClient(hub);
      opened.push(client);
      await once(client, 'connect');
      const closing = once(hub, 'disconnection');
      assert.equal((await ask('DELETE', `${MODULES}/${MODULE}${VERSION}`)).status, 204);
      assert.equal((await closing)[0].closedBecause, 'the module was removed');
      assert.equal(hub.hasModule(DEVICE, MODULE), false);
      assert.deepEqual(errorOf(await ask('DELETE', `${MODULES}/${MODULE}${VERSION}`)), [404, 404010, 'ModuleNotFound']);
    });

    it('has no more than 50 modules', async () => {
      for (let index = 0; index < 50; index++) hub.addModule({ deviceId: DEVICE, moduleId: `m${index}` });
      assert.deepEqual(errorOf(await put()), [413, 413003, 'TooManyModulesOnDevice']);
      hub.removeModule(DEVICE, 'm0');
      assert.equal((await put()).status, 201);
    });
  });

  describe('for a device with its certificate', () => {
    it('knows it by its thumbprint, and logs that', async () => {
      const own = await selfSigned({ commonName: DEVICE });
      hub.addDevice({ deviceId: DEVICE, credential: { type: 'selfSigned', primaryThumbprint: own.sha1Thumbprint } });
      hub.addModule(module);
      assert.equal((await get(undefined, withCertificate(own))).status, 200);
      assert.deepEqual(hub.restRequests.at(-1)?.caller, { deviceId: DEVICE, thumbprint: own.thumbprint });
    });

    it('knows it by its chain, also on a connection that is used again', async () => {
      const root = await CertificateAuthority.create();
      const own = await (await root.intermediate({ commonName: 'Factory' })).issue({ commonName: DEVICE });
      hub.addClientAuthority(root.certificatePem);
      hub.addDevice({ deviceId: DEVICE, credential: { type: 'certificateAuthority' } });
      hub.addModule(module);
      assert.equal((await get(undefined, withCertificate(own))).status, 200);
      assert.equal((await get(undefined, withCertificate(own))).status, 200);
      agent.destroy(); // the next one is a new connection, which could resume the session
      assert.equal((await get(undefined, withCertificate(own))).status, 200);
    });

    it('refuses another one, with the reason in the log', async () => {
      const [own, other] = [await selfSigned({ commonName: DEVICE }), await selfSigned({ commonName: DEVICE })];
      hub.addDevice({ deviceId: DEVICE, credential: { type: 'selfSigned', primaryThumbprint: own.thumbprint } });
      assert.deepEqual(errorOf(await get(undefined, withCertificate(other))), [401, 401003, 'IotHubUnauthorized']);
      assert.match(hub.restRequests.at(-1)?.reason ?? '', /thumbprint .* is not registered for dev1$/);
      assert.deepEqual(errorOf(await get()), [401, 401003, 'IotHubUnauthorized']);
      assert.equal(hub.restRequests.at(-1)?.reason, 'dev1 has no keys.');
    });
  });

  describe('for a policy', () => {
    const policy = (name: string, key = POLICY_KEY) => ({
      headers: { authorization: token({ resource: hub.hostName, key, policy: name }) },
    });

    it('does what the policy may do', async () => {
      hub.addModule(module);
      assert.equal((await get(undefined, policy('registryRead'))).status, 200);
      assert.deepEqual(hub.restRequests.at(-1)?.caller, { policy: 'registryRead' });
      const remove = (options: RequestOptions) => ask('DELETE', `${MODULES}/${MODULE}${VERSION}`, undefined, options);
      assert.deepEqual(errorOf(await remove(policy('registryRead'))), [401, 401002, 'IotHubUnauthorizedAccess']);
      assert.equal((await remove(policy('iothubowner'))).status, 204);
    });

    for (const form of ['device', 'service']) {
      it(`accepts a token for emulator.${form}.azure-devices.net at that name`, async () => {
        hub.addModule(module);
        const name = `emulator.${form}.azure-devices.net`;
        const headers = { authorization: token({ resource: name, key: POLICY_KEY, policy: 'registryRead' }) };
        assert.equal((await get(undefined, { headers, servername: name })).status, 200);
      });
    }

    it('refuses an unknown one, and a wrong key', async () => {
      assert.deepEqual(errorOf(await get(undefined, policy('nobody'))), [401, 401003, 'IotHubUnauthorized']);
      assert.deepEqual(errorOf(await get(undefined, policy('iothubowner', KEY))), [401, 401003, 'IotHubUnauthorized']);
    });
  });

  describe('refusals', () => {
    for (const [what, [expected, reason, authorization]] of Object.entries<
      [[number, number, string], RegExp, () => string | undefined]
    >({
      'a request without credentials': [[401, 401003, 'IotHubUnauthorized'], /neither a token/, () => undefined],
      'another form of authorization': [[401, 401003, 'IotHubUnauthorized'], /not a shared/, () => 'Bearer x'],
      'a wrong key': [
        [401, 401003, 'IotHubUnauthorized'],
        /not signed with a key/,
        () => token({ key: Buffer.from('another key here').toString('base64') }),
      ],
      'an expired token': [[401, 401003, 'IotHubUnauthorized'], /expired at/, () => token({ after: seconds(-1) })],
      'a token of another device': [
        [401, 401002, 'IotHubUnauthorizedAccess'],
        /The token is for/,
        () => token({ resource: `${hub.hostName}/devices/dev2` }),
      ],
    })) {
      it(what, async () => {
        const value = authorization();
        assert.deepEqual(errorOf(await get(undefined, { headers: value ? { authorization: value } : {} })), expected);
        assert.match(hub.restRequests.at(-1)?.reason ?? '', reason);
      });
    }

    it('a module that is not there, and a device that is not there', async () => {
      assert.deepEqual(errorOf(await get()), [404, 404010, 'ModuleNotFound']);
      const authorization = token({ resource: `${hub.hostName}/devices/dev2` });
      const missing = await get('/devices/dev2/modules/m', { headers: { authorization } });
      assert.deepEqual(errorOf(missing), [404, 404001, 'DeviceNotFound']);
    });

    it('a disabled device', async () => {
      hub.setStatus('disabled', DEVICE);
      assert.deepEqual(errorOf(await get()), [403, 403012, 'DeviceDisabled']);
    });

    it('a request without a version, an unknown path, an unsupported method', async () => {
      assert.deepEqual(errorOf(await ask('GET', MODULES)), [400, 400001, 'InvalidProtocolVersion']);
      assert.equal((await get('/configurations/x')).status, 404);
      assert.equal((await ask('POST', `${MODULES}/${MODULE}${VERSION}`)).status, 405);
      assert.deepEqual(errorOf(await get('/devices/%/modules/x')), [400, 400004, 'ArgumentInvalid']);
    });

    for (const [what, body] of Object.entries({
      'another module id': { moduleId: 'x' },
      'a key that is too short': { authentication: { symmetricKey: { primaryKey: 'YQ==', secondaryKey: 'YQ==' } } },
      'one key of two': { authentication: { symmetricKey: { primaryKey: KEY } } },
      'an unknown type of authentication': { authentication: { type: 'none' } },
      'a thumbprint that is missing': { authentication: { type: 'selfSigned' } },
      'an array': [],
    })) {
      it(`rejects a body with ${what}`, async () => {
        assert.deepEqual(errorOf(await put(body)), [400, 400004, 'ArgumentInvalid']);
        assert.equal(hub.hasModule(DEVICE, MODULE), false);
      });
    }

    it('a body that is not JSON, and one that is too large', async () => {
      assert.deepEqual(errorOf(await put('{')), [400, 400012, 'DeserializationError']);
      assert.deepEqual(errorOf(await put(' '.repeat(270_000))), [413, 413001, 'MessageTooLarge']);
    });
  });

  for (const importMode of ['constructor', '__proto__', 'toString', 'x']) {
    it(`refuses the mode of import ${importMode} in bulk, by an error of that device`, async () => {
      const [, key = ''] = /SharedAccessKey=(.*)$/.exec(hub.serviceConnectionString('iothubowner')) ?? [];
      const expiresAt = new Date(systemClock.now().getTime() + hours(1));
      const authorization = signSasToken(hub.hostName, key, expiresAt, 'iothubowner');
      const { status, body } = await ask('POST', `/devices${VERSION}`, [{ id: 'b1', importMode }], {
        headers: { authorization },
      });
      assert.deepEqual([status, body.isSuccessful, body.errors[0]?.errorCode], [200, false, 'ArgumentInvalid']);
    });
  }

  it('rejects a target that is not a path', async () => {
    assert.deepEqual(errorOf(await ask('GET', '//')), [400, 400004, 'ArgumentInvalid']);
  });

  it('words errors as JSON within JSON, if asked to', async () => {
    await start({ errorForm: 'json' });
    const { status, body, headers } = await get();
    const { errorCode, message } = JSON.parse(body.Message);
    assert.deepEqual(
      [status, errorCode, message, headers['iothub-errorcode']],
      [404, 404010, MODULE, 'ModuleNotFound'],
    );
  });

  describe('by a fault', () => {
    it('throttles, with the time to wait', async () => {
      hub.addModule(module);
      hub.faults.inject({ kind: 'restStatus', status: 429, retryAfter: 7, count: 1 });
      const throttled = await get();
      assert.deepEqual(errorOf(throttled), [429, 429001, 'ThrottlingException']);
      assert.equal(throttled.headers['retry-after'], '7');
      assert.equal((await get()).status, 200);
    });

    it('answers garbage', async () => {
      hub.faults.inject({ kind: 'restGarbage', count: 1 });
      const { status, text } = await get();
      assert.equal(status, 200);
      assert.match(text, /^<html>/);
    });

    it('answers late', async () => {
      hub.addModule(module);
      hub.faults.inject({ kind: 'restDelay', ms: 200, count: 1 });
      const before = systemClock.monotonic();
      assert.equal((await get()).status, 200);
      assert.ok(systemClock.monotonic() - before >= 199);
    });

    it('never answers', async () => {
      hub.faults.inject({ kind: 'restSilence', count: 1 });
      const asked = get();
      const failed = assert.rejects(asked, /hang up|ECONNRESET/);
      const { status, path } = await hub.waitForRestRequest(({ caller }) => caller === undefined);
      assert.deepEqual([status, path], [undefined, `${MODULES}/${MODULE}${VERSION}`]);
      await hub.offline();
      await failed;
      await hub.online();
      assert.deepEqual(errorOf(await get()), [404, 404010, 'ModuleNotFound']);
    });
  });

  it('never logs a key or a token', async () => {
    await put({ authentication: { symmetricKey: { primaryKey: OTHER_KEY, secondaryKey: KEY } } });
    await get();
    const logged = JSON.stringify(hub.restRequests);
    assert.ok(logged.includes(MODULES));
    for (const secret of [KEY, OTHER_KEY, 'SharedAccessSignature', 'sig=']) assert.ok(!logged.includes(secret), secret);
  });
});
