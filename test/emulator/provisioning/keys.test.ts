import assert from 'node:assert/strict';
import { systemClock } from '../../../src/core/base/clock.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { deriveDeviceKey } from '../../../src/emulator/provisioning/enrollments.ts';
import { ProvisioningEmulator } from '../../../src/emulator/provisioning/service.ts';
import { ask, register, token } from './clients.ts';

const KEY = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64');
const SECOND_KEY = Buffer.from('00000000111111112222222233333333').toString('base64');
const OTHER_KEY = Buffer.from('fedcba9876543210fedcba9876543210').toString('base64');
const API = 'api-version=2021-06-01';

describe('the provisioning service emulator, with keys', () => {
  let hub: HubEmulator;
  let second: HubEmulator;
  let service: ProvisioningEmulator;

  before(async () => {
    hub = await HubEmulator.start();
    second = await HubEmulator.start({ hostName: 'second.azure-devices.net' });
  });
  after(async () => {
    await hub.stop();
    await second.stop();
  });
  beforeEach(async () => {
    service = await ProvisioningEmulator.start({
      hubs: [hub, second],
      retryAfterSeconds: 0,
      individuals: [{ registrationId: 'dev-1', deviceId: 'Device1', primaryKey: KEY, secondaryKey: SECOND_KEY }],
      groups: [{ name: 'fleet', hub: second, primaryKey: KEY, secondaryKey: SECOND_KEY }],
    });
  });
  afterEach(async () => {
    await service.stop();
    for (const { deviceId } of hub.devices) hub.removeDevice(deviceId);
    for (const { deviceId } of second.devices) second.removeDevice(deviceId);
  });

  const path = (rest = '/register', registrationId = 'dev-1', idScope = service.idScope) =>
    `/${idScope}/registrations/${registrationId}${rest}?${API}`;
  const authorization = () => token('dev-1', KEY);
  const body = { registrationId: 'dev-1' };
  const put = (options: Parameters<typeof ask>[3] = { authorization: authorization(), body }) =>
    ask(service, 'PUT', path(), options);

  for (const transport of ['https', 'mqtt', 'mqttWebSocket'] as const) {
    describe(`and the SDK over ${transport}`, () => {
      for (const [which, key] of [
        ['primary', KEY],
        ['secondary', SECOND_KEY],
      ] as const) {
        it(`assigns an individual device by its ${which} key, and adds it to the hub with both keys`, async () => {
          const result = await register(service, transport, 'dev-1', { key });
          assert.equal(result.assignedHub, hub.hostName);
          assert.equal(result.deviceId, 'Device1');
          assert.equal(result.status, 'assigned');
          const credential = { type: 'sas', primaryKey: KEY, secondaryKey: SECOND_KEY };
          assert.deepEqual(hub.getDevice('Device1')?.credential, credential);
          assert.deepEqual(
            service.requests.filter(({ operation }) => operation !== 'connect').map((r) => [r.operation, r.status]),
            [
              ['register', 202],
              ['operation', 202],
              ['operation', 200],
            ],
          );
          assert.ok(service.requests.every((record) => record.transport === transport && record.subject === 'dev-1'));
        });
      }

      it('assigns a device of a group by its derived key', async () => {
        const result = await register(service, transport, 'sn-42', { key: deriveDeviceKey(KEY, 'sn-42') });
        assert.equal(result.assignedHub, second.hostName);
        assert.equal(result.deviceId, 'sn-42');
        assert.deepEqual(second.getDevice('sn-42')?.credential, {
          type: 'sas',
          primaryKey: deriveDeviceKey(KEY, 'sn-42'),
          secondaryKey: deriveDeviceKey(SECOND_KEY, 'sn-42'),
        });
      });

      it('refuses a wrong key, the group key itself, and another ID scope', async () => {
        const unauthorized = transport === 'https' ? { name: 'UnauthorizedError' } : { message: /Not authorized/ };
        await assert.rejects(register(service, transport, 'dev-1', { key: OTHER_KEY }), unauthorized);
        await assert.rejects(register(service, transport, 'sn-42', { key: KEY }), unauthorized);
        await assert.rejects(register(service, transport, 'dev-1', { key: KEY }, '0ne00000002'), unauthorized);
        const reasons = service.requests.map(({ reason }) => reason);
        assert.deepEqual(reasons, [
          'the token is not signed with a key of dev-1',
          'the token is not signed with a key of sn-42',
          'the ID scope is 0ne00000002, not 0ne00000001',
        ]);
        assert.deepEqual(hub.devices, []);
      });

      it('answers with a failure that the operator set', async () => {
        const failure = { errorCode: 400207, errorMessage: 'Custom allocation failed with status code: 400' };
        service.setFailure('dev-1', failure);
        await assert.rejects(register(service, transport, 'dev-1', { key: KEY }), (error: Error) => {
          const { registrationState } = (error as Error & { result: { registrationState: object } }).result;
          assert.equal(error.name, 'ProvisioningRegistrationFailedError');
          assert.deepEqual({ ...registrationState, ...failure, status: 'failed' }, registrationState);
          return true;
        });
        assert.deepEqual(hub.devices, []);
        service.setFailure('dev-1');
        assert.equal((await register(service, transport, 'dev-1', { key: KEY })).status, 'assigned');
      });

      it('is asked again after 429 and 503, as it says', async () => {
        service.faults.inject({ kind: 'status', operation: 'register', status: 429, retryAfterSeconds: 1, count: 1 });
        service.faults.inject({ kind: 'status', operation: 'operation', status: 503, retryAfterSeconds: 0, count: 1 });
        if (transport === 'https') {
          // Over HTTPS this version of the SDK treats every status from 300 on as an error.
          await assert.rejects(register(service, transport, 'dev-1', { key: KEY }), { name: 'ThrottlingError' });
          return;
        }
        await register(service, transport, 'dev-1', { key: KEY });
        const [refused, again] = service.requests.filter(({ operation }) => operation === 'register');
        assert.deepEqual([refused?.status, again?.status], [429, 202]);
        assert.ok((again?.monotonic ?? 0) - (refused?.monotonic ?? 0) >= 990);
        assert.ok(service.requests.some(({ status, fault }) => status === 503 && fault === 'status'));
      });

      it('waits between polls for the time in Retry-After', async () => {
        service.settings.retryAfterSeconds = 1;
        service.settings.polls = 1;
        await register(service, transport, 'dev-1', { key: KEY });
        const [registered, polled] = service.requests.filter(({ operation }) => operation !== 'connect');
        assert.ok((polled?.monotonic ?? 0) - (registered?.monotonic ?? 0) >= 990);
      });
    });
  }

  it('answers as documented, step by step', async () => {
    service.settings.retryAfterSeconds = 3;
    const first = await put();
    assert.equal(first.status, 202);
    assert.equal(first.headers['retry-after'], '3');
    const { operationId } = first.body;
    assert.deepEqual(first.body, { operationId, status: 'assigning' });
    const poll = () => ask(service, 'GET', path(`/operations/${operationId}`), { authorization: authorization() });
    assert.equal((await poll()).status, 202);
    const last = await poll();
    assert.equal(last.status, 200);
    assert.equal(last.headers['retry-after'], undefined);
    const { createdDateTimeUtc, lastUpdatedDateTimeUtc, etag } = last.body.registrationState;
    const registrationState = {
      symmetricKey: {},
      registrationId: 'dev-1',
      createdDateTimeUtc,
      assignedHub: hub.hostName,
      deviceId: 'Device1',
      status: 'assigned',
      substatus: 'initialAssignment',
      lastUpdatedDateTimeUtc,
      etag,
    };
    assert.deepEqual(last.body, { operationId, status: 'assigned', registrationState });
    assert.deepEqual((await poll()).body, last.body);
    const lookedUp = await ask(service, 'POST', path(''), { authorization: authorization(), body });
    assert.deepEqual([lookedUp.status, lookedUp.body], [200, registrationState]);
  });

  it('ends the registration of a disabled enrolment with the status disabled', async () => {
    service.settings.polls = 0;
    service.setStatus('dev-1', 'disabled');
    const { status, body: answer } = await put();
    assert.deepEqual([status, answer.status, answer.registrationState.status], [200, 'disabled', 'disabled']);
    assert.deepEqual(hub.devices, []);
    service.setStatus('dev-1', 'enabled');
    assert.equal((await put()).body.status, 'assigned');
  });

  const refusals: Record<
    string,
    [number, number, string, () => Promise<{ status: number; body: { errorCode: number } }>]
  > = {
    'no token': [401, 401002, 'neither a token nor a client certificate was presented', () => put({ body })],
    'a token of another policy': [
      401,
      401002,
      `the token's policy (skn) is "device", not "registration"`,
      () => put({ authorization: token('dev-1', KEY, { policy: 'device' }), body }),
    ],
    'a token without a policy': [
      401,
      401002,
      `the token's policy (skn) is "", not "registration"`,
      () => put({ authorization: token('dev-1', KEY, { policy: '' }), body }),
    ],
    'a token for another registration': [
      401,
      401002,
      'the token is for 0ne00000001/registrations/dev-2',
      () => put({ authorization: token('dev-2', KEY), body }),
    ],
    'an expired token': [
      401,
      401002,
      'the token expired at 2020-01-01T00:00:00.000Z',
      () => put({ authorization: token('dev-1', KEY, { expiresAt: new Date('2020-01-01') }), body }),
    ],
    'a token that is none': [
      401,
      401002,
      'the token is not a shared access signature',
      () => put({ authorization: 'Bearer x', body }),
    ],
    'another registration id in the body': [
      400,
      400004,
      "the body's registrationId is not dev-1",
      () => put({ authorization: authorization(), body: { registrationId: 'dev-2' } }),
    ],
    'an unknown operation': [
      404,
      404202,
      'dev-1 has no operation 5.1',
      () => ask(service, 'GET', path('/operations/5.1'), { authorization: authorization() }),
    ],
    'a look-up before the registration': [
      404,
      404202,
      'dev-1 has not registered',
      () => ask(service, 'POST', path(''), { authorization: authorization(), body }),
    ],
  };
  for (const [what, [status, errorCode, reason, run]] of Object.entries(refusals)) {
    it(`refuses ${what}`, async () => {
      const answer = await run();
      assert.deepEqual([answer.status, answer.body.errorCode], [status, errorCode]);
      assert.deepEqual(Object.keys(answer.body), ['errorCode', 'trackingId', 'message', 'timestampUtc']);
      assert.equal(service.requests.at(-1)?.reason, reason);
      assert.deepEqual(hub.devices, []);
    });
  }

  it('answers 404 for an enrolment that does not exist or was removed, a path that does not, and 405 and 400', async () => {
    assert.equal(service.removeEnrollment('fleet'), true);
    const unknown = await ask(service, 'PUT', path('/register', 'sn-1'), {
      authorization: token('sn-1', deriveDeviceKey(KEY, 'sn-1')),
      body: { registrationId: 'sn-1' },
    });
    assert.deepEqual([unknown.status, unknown.body.errorCode], [404, 404201]);
    assert.equal((await ask(service, 'GET', '/elsewhere')).status, 404);
    assert.equal((await ask(service, 'POST', path(), { authorization: authorization(), body })).status, 405);
    const noVersion = await ask(service, 'PUT', '/s/registrations/dev-1/register', { body });
    assert.deepEqual([noVersion.status, service.requests.at(-1)?.reason], [400, 'the api-version is missing']);
  });

  it('takes a registration id in any case', async () => {
    service.settings.polls = 0;
    const answer = await ask(service, 'PUT', path('/register', 'DEV-1'), {
      authorization: token('DEV-1', KEY),
      body: { registrationId: 'DEV-1' },
    });
    assert.equal(answer.body.registrationState.deviceId, 'Device1');
  });

  describe('reassignment', () => {
    beforeEach(async () => {
      service.settings.polls = 0;
      await put();
      hub.addModule({ deviceId: 'Device1', moduleId: 'azureiotsecurity' });
    });

    it('moves the device immediately: the first hub removes it with its modules, the other adds it at registration', async () => {
      service.reassign('dev-1', second);
      assert.deepEqual([hub.devices, hub.modules, second.devices], [[], [], []]);
      const { registrationState } = (await put()).body;
      assert.deepEqual(
        [registrationState.assignedHub, registrationState.substatus],
        [second.hostName, 'deviceDataMigrated'],
      );
      assert.ok(second.getDevice('Device1'));
      assert.equal(service.hubOf('dev-1'), second);
    });

    it('moves the device at its next registration, as the service does', async () => {
      service.reassign('dev-1', second, 'nextRegistration');
      assert.ok(hub.getDevice('Device1'));
      assert.equal((await put()).body.registrationState.assignedHub, second.hostName);
      assert.equal(hub.getDevice('Device1'), undefined);
    });

    it('moves the device with its data reset, or never, depending on the enrolment', async () => {
      const common = { registrationId: 'dev-1', deviceId: 'Device1', primaryKey: KEY, secondaryKey: SECOND_KEY };
      service.enroll({ ...common, hub: second, reprovisioning: 'never' });
      assert.equal((await put()).body.registrationState.assignedHub, hub.hostName);
      service.enroll({ ...common, hub: second, reprovisioning: 'reset' });
      assert.equal((await put()).body.registrationState.substatus, 'deviceDataReset');
      assert.equal(service.hubOf('dev-1'), second);
    });

    it('reassigns the device to its current hub with the same substatus as the service', async () => {
      assert.equal((await put()).body.registrationState.substatus, 'reprovisionedToInitialAssignment');
      assert.ok(hub.hasModule('Device1', 'azureiotsecurity'));
    });
  });

  describe('has faults:', () => {
    it('garbage', async () => {
      service.faults.inject({ kind: 'garbage', operation: 'register', count: 1 });
      const { status, text } = await put();
      assert.deepEqual([status, text.slice(0, 6)], [200, '<html>']);
      assert.equal((await put()).status, 202);
    });

    it('reset', async () => {
      service.faults.inject({ kind: 'reset' });
      await assert.rejects(put(), { code: 'ECONNRESET' });
      service.faults.clear();
      assert.equal((await put()).status, 202);
    });

    it('silence, until the client gives up', async () => {
      service.faults.inject({ kind: 'silence', operation: 'register' });
      const answer = put().then(
        () => 'answered',
        () => 'ended',
      );
      await service.waitForRequest(({ fault }) => fault === 'silence');
      await service.offline();
      assert.equal(await answer, 'ended');
      assert.deepEqual(
        service.faults.active().map(({ hits }) => hits),
        [1],
      );
    });

    it('slowness', async () => {
      service.faults.inject({ kind: 'slow', ms: 300, count: 1 });
      const began = systemClock.monotonic();
      assert.equal((await put()).status, 202);
      assert.ok(systemClock.monotonic() - began >= 290);
    });

    it('an error body with a status', async () => {
      service.faults.inject({ kind: 'status', status: 500, message: 'Internal error', count: 1 });
      const { status, body: answer } = await put();
      assert.deepEqual([status, answer.errorCode, answer.message], [500, 500001, 'Internal error']);
    });

    it('none of other kinds', () => {
      assert.throws(() => service.faults.inject({ kind: 'lies' as 'slow' }), RangeError);
      assert.throws(() => service.faults.inject({ kind: 'slow', ms: -1 }), RangeError);
      assert.throws(() => service.faults.inject({ kind: 'status', status: 99 }), RangeError);
    });

    it('an absence, after which it listens on the same port', async () => {
      const { port } = service;
      await service.offline();
      await assert.rejects(put(), { code: 'ECONNREFUSED' });
      await service.online();
      assert.equal(service.port, port);
      assert.equal((await put()).status, 202);
    });
  });

  it('never logs a key or a token', async () => {
    await put();
    const log = JSON.stringify(service.requests);
    assert.ok(!log.includes(KEY) && !log.includes('SharedAccessSignature'));
  });

  it('refuses to enrol with bad ids and keys', () => {
    assert.throws(() => service.enroll({ registrationId: 'no spaces' }), RangeError);
    assert.throws(() => service.enroll({ registrationId: 'dot-last.' }), RangeError);
    assert.throws(() => service.enroll({ registrationId: 'x', deviceId: 'no/slash' }), RangeError);
    assert.throws(() => service.enroll({ registrationId: 'x', primaryKey: 'short' }), RangeError);
    assert.throws(() => service.enrollGroup({ name: 'x', primaryKey: 'not base64 at all' }), RangeError);
  });
});
