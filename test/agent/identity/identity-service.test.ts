import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import type { IdentityContext } from '../../../src/agent/identity/identity.ts';
import { identityService as kind } from '../../../src/agent/identity/identity-service.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { HubFailure } from '../../../src/core/contract/hub.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import {
  IdentityServiceEmulator,
  type IdentityServiceOptions,
  type IdentityState,
} from '../../../src/emulator/identity-service/service.ts';
import { isSignedWith, parseSasToken } from '../../../src/emulator/sas.ts';
import type { ServiceFault } from '../../../src/emulator/service/faults.ts';
import { DEVICE, KEY, MODULE, module } from '../../emulator/clients.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { asNobody } from '../../harness/nobody.ts';
import {
  abandonSocket,
  answering,
  assertIsFit,
  contextWith,
  failureOf,
  HASTY,
  httpAnswer,
  present,
} from './local-services.ts';

describe('the identity by the IoT Identity Service', () => {
  let hub: HubEmulator;
  let service: IdentityServiceEmulator;
  let directory: string;

  const start = async (options: Partial<IdentityServiceOptions> = {}) => {
    await service?.stop();
    service = await IdentityServiceEmulator.start({ directory, hub, deviceId: DEVICE, moduleId: MODULE, ...options });
  };
  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module] });
    directory = temporaryFolder();
    await start();
  });
  afterEach(async () => {
    await service?.stop();
    await hub?.stop();
  });

  const make = (changes: Partial<IdentityContext> = {}) =>
    kind.create({ kind: 'identityService', socketDirectory: directory }, contextWith(changes));
  const operations = () => service.requests.map(({ operation, status }) => `${operation} ${status}`);

  it('presents the module as the service names it, with a token that the key service has signed', async () => {
    const before = Date.now();
    const { module: address, proof, source } = await present(make());
    assert.ok(proof.kind === 'token');
    const token = parseSasToken(proof.token);
    assert.ok(token && isSignedWith(token, KEY));
    assert.equal(token.resource, `${hub.hostName}/devices/${DEVICE}/modules/${MODULE}`);
    assert.ok(Math.abs(proof.expiresAt.getTime() - before - 3_600_000) < 60_000);
    const ids = { hostName: hub.hostName, deviceId: DEVICE, moduleId: MODULE };
    assert.deepEqual(address, { ...ids, connectTo: `localhost:${hub.port}` });
    assert.equal(source, 'primary');
    assert.deepEqual(operations(), ['identity 200', 'sign 200']);
  });

  it('takes all steps again each time: another hub, another key', async () => {
    const identity = make();
    const first = await present(identity);
    const other = await HubEmulator.start({ modules: [module], hostName: 'other.azure-devices.net' });
    await service.moveTo(other);
    const second = await present(identity);
    await other.stop();
    assert.deepEqual([first.module.hostName, second.module.hostName], [hub.hostName, 'other.azure-devices.net']);
    assert.equal(second.module.connectTo, `localhost:${other.port}`);
    await service.moveTo(hub);
    await service.renewKey();
    const third = await present(identity);
    assert.ok(third.proof.kind === 'token' && first.proof.kind === 'token');
    const token = parseSasToken(third.proof.token);
    assert.ok(token && !isSignedWith(token, KEY));
    assert.equal(operations().length, 6);
  });

  it('connects to the hub itself if the service names no gateway, and to hub.gatewayHostName if that is set', async () => {
    await start({ gatewayHost: 'direct' });
    assert.equal((await present(make())).module.connectTo, hub.hostName);
    const withPort = make({ hub: { hostName: `${hub.hostName}:1234` } });
    assert.equal((await present(withPort)).module.connectTo, `${hub.hostName}:1234`);
    assert.equal((await present(make({ hub: { gatewayHostName: 'gateway:1' } }))).module.connectTo, 'gateway:1');
  });

  it('reports its steps without secrets', async () => {
    const identity = make();
    assert.deepEqual(identity.secrets(), []);
    const { steps, proof } = await present(identity);
    assert.ok(proof.kind === 'token');
    assert.deepEqual(identity.secrets(), [proof.token, service.keyHandle]);
    assert.deepEqual(
      steps.map(({ name }) => name),
      ['identity service', 'key service'],
    );
    const text = JSON.stringify(steps);
    for (const secret of [KEY, service.keyHandle, 'SharedAccess', 'sig=']) assert.ok(!text.includes(secret), text);
    assert.ok(text.includes(join(directory, 'identityd.sock')) && text.includes(`localhost:${hub.port}`));
  });

  it('refuses a directory whose sockets would have too long a path', () => {
    const create = (directory: string) =>
      kind.create({ kind: 'identityService', socketDirectory: directory }, contextWith());
    create(`/${'a'.repeat(91)}`); // with /identityd.sock 107 bytes
    const isInvalid = (error: unknown) => error instanceof AgentError && error.id === 'CONFIG_INVALID';
    assert.throws(() => create(`/${'a'.repeat(92)}`), isInvalid);
  });

  it('is wrong where the configuration names another hub', async () => {
    const { error, retryCause } = await failureOf(make({ hub: { hostName: 'fabrikam.azure-devices.net' } }));
    assert.deepEqual([error.id, retryCause], ['CONFIG_INVALID', 'credentials']);
    assert.match(error.message, /fabrikam.*emulator/);
    await present(make({ hub: { hostName: hub.hostName.toUpperCase() } }));
  });

  const unreachable = async (identity = make()) => {
    const { error, retryCause } = await failureOf(identity);
    assert.deepEqual([error.id, error.code, retryCause], ['IDENTITY_SERVICE_UNREACHABLE', 'Other', 'local']);
    return error;
  };

  for (const [daemon, group] of [
    ['identityd', 'aziotid'],
    ['keyd', 'aziotks'],
  ] as const) {
    const socket = () => join(directory, `${daemon}.sock`);
    const operation = daemon === 'keyd' ? 'sign' : 'identity';

    describe(`without ${daemon}`, () => {
      it('is not reached while the socket is missing, and is when it has come', async () => {
        await service.offline(daemon);
        const { message, remedy } = await unreachable();
        assert.ok(message.startsWith(`${daemon} of`) && message.endsWith(`${socket()} does not exist`), message);
        assert.ok(remedy.includes(`aziot-${daemon}`), remedy);
        await service.online(daemon);
        await present(make());
      });

      it('is not reached while nothing listens at the socket', async () => {
        await service.offline(daemon);
        await abandonSocket(socket());
        assert.match((await unreachable()).message, /refuses connections/);
      });

      it('names the group and the command if its user may not open the socket', async () => {
        chmodSync(directory, 0o711);
        for (const name of ['identityd', 'keyd']) chmodSync(join(directory, `${name}.sock`), 0o666);
        chmodSync(socket(), 0);
        const { message, remedy } = await asNobody(() => unreachable());
        assert.match(message, new RegExp(`${daemon}\\.sock may not be opened by user \\d+; its group is ${group}$`));
        assert.match(remedy, /^Run: usermod --append --groups aziotid,aziotks '[^']+'; then restart the agent/);
      });

      const faults: [ServiceFault, RegExp][] = [
        [{ kind: 'silence' }, daemon === 'keyd' ? /did not answer within 5 s/ : /did not answer within 8 s/],
        [{ kind: 'garbage' }, /answered with something else/],
        [{ kind: 'reset' }, /does not answer as it should/],
        [{ kind: 'status', status: 500 }, /status 500/],
        [{ kind: 'status', status: 429 }, /status 429/],
      ];
      for (const [fault, message] of faults) {
        it(`is not reached when it is answered by ${fault.kind} ${fault.status ?? ''}`, async () => {
          service.faults.inject({ ...fault, operation });
          const identity = make(fault.kind === 'silence' ? { clock: HASTY } : {});
          assert.match((await unreachable(identity)).message, message);
          service.faults.clear();
          await present(make());
        });
      }
    });
  }

  describe('reports a refusal', () => {
    const refused = async (cause: string, identity = make()) => {
      const failure = await failureOf(identity);
      const { id, code } = failure.error;
      assert.deepEqual([id, code, failure.retryCause], ['IDENTITY_SERVICE_REFUSED', 'Authentication', cause]);
      return failure.error;
    };

    const states: [IdentityState, string, RegExp, RegExp][] = [
      [
        'unknownPrincipal',
        'local',
        /authentication error: it has no principal of a module for user \d+/,
        /\[\[principal\]\]/,
      ],
      ['notAuthorized', 'local', /authorization error: it has no principal of a module/, /idtype = \["module"\]/],
      ['notProvisioned', 'local', /device identity not found: the device or its module/, /aziotctl config apply/],
      ['hubUnreachable', 'network', /Hub client error caused by: .*: it could not get/, /aziotctl check/],
    ];
    for (const [state, retryCause, message, remedy] of states) {
      it(`reports a refusal while the service reports ${state}, and recovers afterwards`, async () => {
        service.state = state;
        const error = await refused(retryCause);
        assert.match(error.message, message);
        assert.match(error.remedy, remedy);
        service.state = 'provisioned';
        await present(make());
      });
    }

    it('reports a refusal with the command that creates the file of the principal', async () => {
      service.state = 'unknownPrincipal';
      const { remedy } = await refused('local');
      const [, print = '', install = ''] = /Run: (printf '.*') \| (install .*)$/.exec(remedy) ?? [];
      const file = execFileSync('sh', ['-c', print], { encoding: 'utf8' });
      const uid = process.geteuid?.();
      assert.equal(file, `[[principal]]\nuid = ${uid}\nname = "azureiotsecurity"\nidtype = ["module"]\n`);
      assert.match(
        install,
        /^install -o aziotid -g aziotid -m 0600 \/dev\/stdin \/etc\/aziot\/identityd\/config\.d\/vakt\.toml && /,
      );
    });

    it('reports a refusal if the identity is the device, not a module', async () => {
      const spec = { hubName: hub.hostName, deviceId: DEVICE, auth: { type: 'sas', keyHandle: 'h' } };
      await service.offline('identityd');
      const listener = await answering(join(directory, 'identityd.sock'), () => httpAnswer(JSON.stringify({ spec })));
      assert.match((await refused('local')).message, /the identity of device dev1, not of a module/);
      await listener.close();
    });

    it('reports a refusal of a certificate whose key it cannot use, and then asks rarely', async () => {
      await start({ authentication: 'x509' });
      const { message, remedy } = await refused('credentials');
      assert.match(message, /gives module azureiotsecurity an X\.509 certificate whose key stays in keyd/);
      assert.match(remedy, /symmetric key .*TPM/);
    });

    it('reports a refusal if the key was replaced between the two requests, and recovers', async () => {
      service.faults.inject({ kind: 'status', status: 400, operation: 'sign', message: 'invalid handle', count: 1 });
      const identity = make();
      assert.match((await refused('local', identity)).message, /signature with status 400, invalid handle/);
      await present(identity);
    });
  });

  describe('rejects hostile answers', () => {
    beforeEach(() => service.stop());

    const attempt = async (answers: { identityd: string | Buffer; keyd?: string | Buffer }) => {
      const identityd = await answering(join(directory, 'identityd.sock'), () => answers.identityd);
      const keyd = await answering(join(directory, 'keyd.sock'), () => answers.keyd ?? '');
      try {
        const { proof, module: address } = await present(make({ clock: HASTY }));
        assert.ok(proof.kind === 'token');
        const token = parseSasToken(proof.token);
        assert.equal(token?.resource, `${address.hostName}/devices/${address.deviceId}/modules/${address.moduleId}`);
        assert.match(`${address.deviceId}/${address.moduleId}`, /^[^/\s]{1,128}\/[^/\s]{1,128}$/);
        assert.match(`${address.hostName} ${address.connectTo}`, /^[\w.:[\]-]{1,300} [\w.:[\]-]{1,300}$/);
      } catch (failure) {
        assert.ok(failure instanceof HubFailure, String(failure));
        assert.match(failure.error.id, /^IDENTITY_SERVICE_(UNREACHABLE|REFUSED)$/);
        assertIsFit(failure);
      } finally {
        await identityd.close();
        await keyd.close();
      }
    };
    const right = { hubName: 'h.net', deviceId: 'd', moduleId: 'm', auth: { type: 'sas', keyHandle: 'x' } };
    const signature = Buffer.alloc(32).toString('base64');

    it('rejects answers of random bytes', async () => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 2_000 }), fc.boolean(), async (bytes, isKeyd) => {
          const answer = Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n'), bytes]);
          const identity = httpAnswer(JSON.stringify({ spec: right }));
          await attempt(isKeyd ? { identityd: identity, keyd: answer } : { identityd: answer });
        }),
        { numRuns: fuzzRuns(500) },
      );
    });

    it('rejects identities with one invalid member', async () => {
      const value = fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.string({ minLength: 100, maxLength: 3_000 }),
        fc.jsonValue(),
      );
      const member = fc.constantFrom('hubName', 'deviceId', 'moduleId', 'gatewayHost', 'auth');
      const keyd = httpAnswer(JSON.stringify({ signature }));
      await attempt({ identityd: httpAnswer(JSON.stringify({ spec: right })), keyd });
      await fc.assert(
        fc.asyncProperty(member, value, async (name, wrong) => {
          await attempt({ identityd: httpAnswer(JSON.stringify({ spec: { ...right, [name]: wrong } })), keyd });
        }),
        { numRuns: fuzzRuns(1_000) },
      );
    });

    it('rejects answers of random JSON, with any status', async () => {
      const body = fc.oneof(
        fc.json(),
        fc.record({ message: fc.string({ unit: 'binary' }) }).map((it) => JSON.stringify(it)),
      );
      await fc.assert(
        fc.asyncProperty(body, fc.integer({ min: 200, max: 599 }), fc.boolean(), async (text, status, isKeyd) => {
          const identity = httpAnswer(JSON.stringify({ spec: right }));
          const answer = httpAnswer(text, status);
          await attempt(isKeyd ? { identityd: identity, keyd: answer } : { identityd: answer });
        }),
        { numRuns: fuzzRuns(1_000) },
      );
    });
  });
});
