import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { request as requestHttps } from 'node:https';
import { CertificateAuthority } from '../../src/emulator/certificates.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { bareClient, DEVICE, MODULE, module, OTHER_KEY } from './clients.ts';

describe('the control API of the hub emulator', () => {
  let hub: HubEmulator;

  const call = async (method: string, path: string, body?: unknown, extraHeaders: Record<string, string> = {}) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body ?? '');
    const headers = { authorization: `Bearer ${hub.controlToken}`, ...extraHeaders };
    const outgoing = request({ host: '127.0.0.1', port: hub.controlPort, method, path, headers, agent: false });
    outgoing.on('error', () => {}); // when the answer comes before the whole body is sent
    const answered = once(outgoing, 'response');
    outgoing.end(body === undefined ? undefined : text);
    const [response] = await answered;
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    return { status: response.statusCode, body: JSON.parse(Buffer.concat(chunks).toString()) };
  };
  const sendMessage = async (body: string) => {
    const client = bareClient(hub);
    await once(client, 'connect');
    const received = hub.waitForMessage((message) => message.body === body);
    client.publish(`devices/${DEVICE}/modules/${MODULE}/messages/events/`, body, { qos: 1 });
    await received;
    client.end(true);
  };
  const stopped = async (other: HubEmulator) => {
    await other.stop();
    return other;
  };
  const twin = `/twins/${DEVICE}/${MODULE}`;

  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module], controlPort: 0 });
  });
  afterEach(() => hub.stop());

  it('refuses every request without the right token', async () => {
    for (const authorization of ['', 'Bearer ', 'Bearer x', hub.controlToken, `Basic ${hub.controlToken}`]) {
      for (const [method, path] of [
        ['GET', '/'],
        ['GET', '/messages'],
        ['POST', '/offline'],
        ['PATCH', `${twin}/desired`],
        ['GET', '/nothing'],
      ] as const)
        assert.equal((await call(method, path, undefined, { authorization })).status, 401, `${method} ${path}`);
    }
    assert.notEqual((await HubEmulator.start({ modules: [] }).then(stopped)).controlToken, hub.controlToken);
  });

  it('lists its routes and the kinds of faults', async () => {
    const { body } = await call('GET', '/');
    assert.equal(typeof body.routes['POST /faults'], 'string');
    assert.equal(typeof body.faults.twinSilence, 'string');
  });

  it('gives the messages after a sequence number, and forgets them', async () => {
    await sendMessage('one');
    await sendMessage('two');
    const { body } = await call('GET', '/messages?after=1');
    assert.deepEqual(
      body.messages.map((message: { body: string }) => message.body),
      ['two'],
    );
    await call('DELETE', '/messages');
    assert.deepEqual((await call('GET', '/messages')).body, { messages: [] });
    assert.equal((await call('GET', '/messages?after=x')).status, 400);
  });

  it('gives the events inside messages', async () => {
    await sendMessage('not JSON');
    await sendMessage(JSON.stringify({ Events: [{ Name: 'ListeningPorts' }, { Name: 'LocalUsers' }] }));
    const { body } = await call('GET', '/events');
    const from = { sequence: 2, deviceId: DEVICE, moduleId: MODULE };
    assert.deepEqual(body.events, [
      { ...from, Name: 'ListeningPorts' },
      { ...from, Name: 'LocalUsers' },
    ]);
  });

  it('reads, merges and replaces desired properties', async () => {
    assert.deepEqual((await call('PATCH', `${twin}/desired`, { a: 1, b: { c: 2 } })).body, {
      a: 1,
      b: { c: 2 },
      $version: 2,
    });
    assert.deepEqual((await call('PATCH', `${twin}/desired`, { a: null })).body, { b: { c: 2 }, $version: 3 });
    assert.deepEqual((await call('PUT', `${twin}/desired`, { d: 3 })).body, { d: 3, $version: 4 });
    assert.deepEqual((await call('GET', `${twin}/desired`)).body, { d: 3, $version: 4 });
    assert.deepEqual((await call('GET', twin)).body, { desired: { d: 3, $version: 4 }, reported: { $version: 1 } });
  });

  it('adds modules, with a key of its own making when none is given, and removes them', async () => {
    const { body } = await call('PUT', '/modules/dev2/m', {});
    assert.equal(body.connectionString, hub.connectionString('dev2', 'm'));
    await call('PUT', '/modules/dev2/m', { primaryKey: OTHER_KEY });
    assert.match(hub.connectionString('dev2', 'm'), new RegExp(OTHER_KEY));
    assert.equal((await call('GET', '/modules')).body.modules.length, 2);
    await call('DELETE', '/modules/dev2/m');
    assert.equal((await call('GET', '/modules')).body.modules.length, 1);
  });

  it('injects faults and ends them', async () => {
    await call('POST', '/faults', { kind: 'twinStatus', status: 429, count: 3 });
    assert.deepEqual((await call('GET', '/faults')).body.faults, [
      { kind: 'twinStatus', status: 429, count: 3, hits: 0 },
    ]);
    await call('DELETE', '/faults');
    assert.deepEqual(hub.faults.active(), []);
  });

  it('goes offline and online', async () => {
    await call('POST', '/offline');
    assert.equal((await call('GET', '/modules')).body.online, false);
    await call('POST', '/online');
    assert.equal(hub.isOnline, true);
  });

  it('lists connection attempts, without the token', async () => {
    await sendMessage('one');
    const { body } = await call('GET', '/connections');
    assert.equal(body.connections[0].clientId, `${DEVICE}/${MODULE}`);
    assert.doesNotMatch(JSON.stringify(body), /SharedAccess/);
  });

  describe('refusals', () => {
    for (const [what, [status, error, method, path, body, headers]] of Object.entries<
      [number, RegExp, string, string, unknown?, Record<string, string>?]
    >({
      'an unknown path': [404, /^\/x does not exist/, 'GET', '/x'],
      'a method that a path does not support': [405, /supports GET, DELETE, not POST/, 'POST', '/messages'],
      'an unknown module': [404, /Module dev9\/m does not exist/, 'GET', '/twins/dev9/m'],
      'a body that is not JSON': [400, /not JSON/, 'PATCH', `${twin}/desired`, '{'],
      'a body that is no object': [400, /JSON object/, 'PATCH', `${twin}/desired`, [1]],
      'properties no twin can hold': [400, /array/, 'PATCH', `${twin}/desired`, { a: [1] }],
      'a body too large': [413, /larger than/, 'PATCH', `${twin}/desired`, 'x'.repeat(300_000)],
      'an unknown kind of fault': [400, /not a kind of fault/, 'POST', '/faults', { kind: '__proto__' }],
      'a status that no answer can have': [
        400,
        /"status" must be from 200 to 599/,
        'POST',
        '/faults',
        { kind: 'restStatus', status: 99 },
      ],
      'a target that is no path': [400, /is not a path/, 'GET', '//'],
      'a certificate that is malformed': [
        400,
        /malformed/,
        'POST',
        '/client-authorities',
        { pem: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' },
      ],
      'an id with a wildcard of MQTT': [400, /not a valid id/, 'PUT', '/modules/dev%2B2/m', {}],
      'a count that is no number': [400, /"count"/, 'POST', '/faults', { kind: 'twinSilence', count: 'x' }],
      'a key that is not base64': [400, /base64/, 'PUT', '/modules/dev2/m', { primaryKey: '!' }],
      'an id no hub has': [400, /not a valid id/, 'PUT', '/modules/dev%202/m', {}],
      'another Host, as DNS rebinding brings': [
        403,
        /Host/,
        'GET',
        '/messages',
        undefined,
        { host: 'evil.example:80' },
      ],
      'a Host that only begins like ours': [
        403,
        /Host/,
        'GET',
        '/messages',
        undefined,
        { host: 'localhost.evil.example' },
      ],
      'a request from another site': [
        403,
        /other sites/,
        'POST',
        '/offline',
        undefined,
        { origin: 'http://evil.example' },
      ],
    })) {
      it(what, async () => {
        const answer = await call(method, path, body, headers);
        assert.equal(answer.status, status);
        assert.match(answer.body.error, error);
      });
    }
  });

  describe('of the registry', () => {
    it('adds devices with each credential, lists them without keys, and removes them', async () => {
      const made = (await call('PUT', '/devices/d1', {})).body;
      assert.equal(Buffer.from(made.credential.primaryKey, 'base64').length, 32);
      const selfSigned = {
        type: 'selfSigned',
        primaryThumbprint: 'ab'.repeat(20),
        secondaryThumbprint: 'cd'.repeat(32),
      };
      for (const credential of [selfSigned, { type: 'certificateAuthority' }]) {
        assert.deepEqual((await call('PUT', '/devices/d1', { credential })).body.credential, credential);
        assert.deepEqual(hub.getDevice('d1')?.credential, credential);
      }
      const { devices } = (await call('GET', '/devices')).body;
      assert.deepEqual(
        devices.map(({ deviceId, credential }: Record<string, unknown>) => [deviceId, credential]),
        [
          [DEVICE, 'sas'],
          ['d1', 'certificateAuthority'],
        ],
      );
      assert.equal((await call('DELETE', '/devices/d1')).status, 200);
      assert.equal((await call('DELETE', '/devices/d1')).status, 404);
    });

    it('regenerates the keys of a device and of a module', async () => {
      const device = (await call('POST', `/devices/${DEVICE}/keys`)).body;
      assert.deepEqual(hub.getDevice(DEVICE)?.credential, { type: 'sas', ...device });
      const ofModule = (await call('POST', `/modules/${DEVICE}/${MODULE}/keys`)).body;
      assert.notEqual(ofModule.primaryKey, module.primaryKey);
      assert.deepEqual(hub.getModule(DEVICE, MODULE)?.credential, { type: 'sas', ...ofModule });
      assert.equal((await call('POST', `/modules/${DEVICE}/x/keys`)).status, 404);
    });

    it('registers an authority, and a module that presents a certificate', async () => {
      const { certificatePem: pem } = await CertificateAuthority.create();
      assert.equal((await call('POST', '/client-authorities', { pem })).status, 200);
      const credential = { type: 'certificateAuthority' };
      assert.deepEqual((await call('PUT', `/modules/${DEVICE}/x`, { credential })).body.credential, credential);
    });

    for (const [what, path, body] of [
      ['an unknown type', '/devices/d1', { credential: { type: 'none' } }],
      ['missing keys', '/devices/d1', { credential: { type: 'sas' } }],
      ['a wrong thumbprint', '/devices/d1', { credential: { type: 'selfSigned', primaryThumbprint: 'x' } }],
      ['an unknown status', `/devices/${DEVICE}/status`, { status: 'off' }],
    ] as const) {
      it(`refuses ${what}`, async () => {
        assert.equal((await call('PUT', path, body)).status, 400);
        assert.equal(hub.getDevice('d1'), undefined);
        assert.equal(hub.getDevice(DEVICE)?.status, 'enabled');
      });
    }

    it('lists the requests to the REST API', async () => {
      const path = `/devices/${DEVICE}/modules?api-version=2021-04-12`;
      const asked = requestHttps({ host: 'localhost', port: hub.restPort, ca: hub.caPem, path, agent: false });
      asked.end();
      const [response] = await once(asked, 'response');
      response.resume();
      const { restRequests } = (await call('GET', '/rest-requests')).body;
      assert.deepEqual([restRequests.length, restRequests[0].path, restRequests[0].errorCode], [1, path, 401003]);
    });
  });
});
