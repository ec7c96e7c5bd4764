import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { edge as kind } from '../../../src/agent/identity/edge.ts';
import type { IdentityContext } from '../../../src/agent/identity/identity.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { HubFailure } from '../../../src/core/contract/hub.ts';
import { EdgeEmulator } from '../../../src/emulator/edge/workload.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { covers, isSignedWith, parseSasToken } from '../../../src/emulator/sas.ts';
import type { ServiceFault } from '../../../src/emulator/service/faults.ts';
import { DEVICE, KEY, MODULE, module } from '../../emulator/clients.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { asNobody } from '../../harness/nobody.ts';
import { until } from '../../harness/until.ts';
import {
  abandonSocket,
  answering,
  assertIsFit,
  contextWith,
  failureOf,
  HASTY,
  httpAnswer,
  Listener,
  present,
} from './local-services.ts';

const make = (environment: NodeJS.ProcessEnv, changes: Partial<IdentityContext> = {}) =>
  kind.create({ kind: 'edge' }, contextWith({ environment, ...changes }));

const VARIABLES = {
  IOTEDGE_WORKLOADURI: 'unix:///run/workload.sock',
  IOTEDGE_DEVICEID: DEVICE,
  IOTEDGE_MODULEID: MODULE,
  IOTEDGE_MODULEGENERATIONID: '638000000000000001',
  IOTEDGE_IOTHUBHOSTNAME: 'contoso.azure-devices.net',
  IOTEDGE_GATEWAYHOSTNAME: 'gateway',
  IOTEDGE_AUTHSCHEME: 'sasToken',
  IOTEDGE_APIVERSION: '2020-07-07',
};

describe('edge.create', () => {
  const refusal = (environment: NodeJS.ProcessEnv, hub: IdentityContext['hub'] = {}): AgentError => {
    try {
      make(environment, { hub });
    } catch (error) {
      assert.ok(error instanceof AgentError, String(error));
      return error;
    }
    assert.fail('was accepted');
  };

  it('lists all variables if all are missing', () => {
    const { id, message, exitStatus } = refusal({});
    assert.deepEqual([id, exitStatus], ['CONFIG_INCOMPLETE', 78]);
    for (const name of Object.keys(VARIABLES)) {
      const hasDefault = ['IOTEDGE_AUTHSCHEME', 'IOTEDGE_APIVERSION'].includes(name);
      assert.equal(message.includes(name), !hasDefault, name);
    }
  });

  for (const name of Object.keys(VARIABLES).slice(0, 6)) {
    it(`lists ${name} if it is missing or empty`, () => {
      for (const value of [undefined, '']) {
        const { id, message } = refusal({ ...VARIABLES, [name]: value });
        assert.equal(id, 'CONFIG_INCOMPLETE');
        assert.ok(message.endsWith(`missing: ${name}`), message);
      }
    });
  }

  const invalid: Record<string, string> = {
    IOTEDGE_WORKLOADURI: 'https://127.0.0.1:1',
    IOTEDGE_DEVICEID: 'a/b',
    IOTEDGE_MODULEID: 'a\nb',
    IOTEDGE_IOTHUBHOSTNAME: 'https://contoso.azure-devices.net/',
    IOTEDGE_GATEWAYHOSTNAME: 'a gateway',
    IOTEDGE_AUTHSCHEME: 'x509',
    IOTEDGE_APIVERSION: '1&genid=2',
  };
  for (const [name, value] of Object.entries(invalid)) {
    it(`rejects ${name} = ${JSON.stringify(value)}`, () => {
      const { id, message } = refusal({ ...VARIABLES, [name]: value });
      assert.equal(id, 'CONFIG_INVALID');
      assert.match(message, new RegExp(`^${name} `));
    });
  }

  for (const [name, value] of [
    ['IOTEDGE_GATEWAYHOSTNAME', 'gw:70000'],
    ['IOTEDGE_DEVICEID', 'a+b'],
    ['IOTEDGE_MODULEID', 'a#b'],
  ] as const) {
    it(`rejects ${name} = ${value}`, () => {
      const { id, message, exitStatus } = refusal({ ...VARIABLES, [name]: value });
      assert.deepEqual([id, exitStatus], ['CONFIG_INVALID', 78]);
      assert.match(message, new RegExp(`^${name} `));
    });
  }

  for (const uri of [
    'unix:///run/%zz',
    'unix://',
    'unix:///',
    'unix://host/a.sock',
    'tcp://127.0.0.1:1',
    'http://h/path',
    'x',
    '/a.sock',
  ]) {
    it(`rejects the workload URI ${uri}`, () => {
      assert.equal(refusal({ ...VARIABLES, IOTEDGE_WORKLOADURI: uri }).id, 'CONFIG_INVALID');
    });
  }

  it('rejects a socket path that the kernel would truncate', () => {
    const { message } = refusal({ ...VARIABLES, IOTEDGE_WORKLOADURI: `unix:///${'a'.repeat(107)}` });
    assert.match(message, /108 bytes, more than the 107/);
    make({ ...VARIABLES, IOTEDGE_WORKLOADURI: `unix:///${'a'.repeat(106)}` });
  });

  it('must name the hub of the configuration, if that names one', () => {
    const { id, message } = refusal(VARIABLES, { hostName: 'fabrikam.azure-devices.net' });
    assert.equal(id, 'CONFIG_INVALID');
    assert.match(message, /fabrikam.*contoso/);
    make(VARIABLES, { hub: { hostName: 'Contoso.azure-devices.net:8883' } });
    make(VARIABLES, { hub: { hostName: 'contoso.azure-devices.net.' } });
    make(VARIABLES, { hub: { hostName: 'contoso.device.azure-devices.net' } });
  });
});

describe('the identity of an IoT Edge module', () => {
  let hub: HubEmulator;
  let edge: EdgeEmulator;
  let socketPath: string;

  beforeEach(async () => {
    hub = await HubEmulator.start({ modules: [module] });
    socketPath = join(temporaryFolder(), 'workload.sock');
    edge = await EdgeEmulator.start({ hub, deviceId: DEVICE, address: { socketPath } });
  });
  afterEach(async () => {
    await edge?.stop();
    await hub?.stop();
  });

  const identity = (changes: Partial<IdentityContext> = {}) => make(edge.environmentOf(MODULE), changes);

  it("presents the module at the gateway, with the runtime's authorities and a token that it has signed", async () => {
    const before = Date.now();
    const { module: address, proof, source } = await present(identity());
    assert.ok(proof.kind === 'token');
    const token = parseSasToken(proof.token);
    assert.ok(token && isSignedWith(token, KEY));
    assert.equal(token.resource, `${hub.hostName}/devices/${DEVICE}/modules/${MODULE}`);
    assert.ok(covers(token.resource, hub.hostName, ['devices', DEVICE, 'modules', MODULE]));
    assert.deepEqual(token.expiresAt, proof.expiresAt);
    assert.ok(Math.abs(proof.expiresAt.getTime() - before - 3_600_000) < 60_000);
    const { trustedCa, ...rest } = address;
    assert.equal(new X509Certificate(trustedCa ?? '').fingerprint, new X509Certificate(hub.caPem).fingerprint);
    assert.deepEqual(rest, {
      hostName: hub.hostName,
      deviceId: DEVICE,
      moduleId: MODULE,
      connectTo: `localhost:${hub.port}`,
    });
    assert.equal(source, 'primary');
  });

  it('asks for everything again each time', async () => {
    const same = identity();
    const first = await present(same);
    hub.regenerateKeys({ deviceId: DEVICE, moduleId: MODULE });
    const other = await HubEmulator.start({ modules: [module] });
    const { hostName, port, caPem } = other;
    edge.moveTo({ hostName, port, caPem, getModule: hub.getModule.bind(hub), modulesOf: () => [] });
    const second = await present(same);
    await other.stop();
    assert.notEqual(first.module.trustedCa, second.module.trustedCa);
    assert.notDeepEqual(first.proof, second.proof);
    assert.deepEqual(
      edge.requests.map(({ operation }) => operation),
      ['trustBundle', 'sign', 'trustBundle', 'sign'],
    );
  });

  it('asks in the version that the runtime names, and else in the first one', async () => {
    const asked: string[] = [];
    await edge.stop();
    const listener = await answering(socketPath, (path) => {
      asked.push(path);
      return httpAnswer('{}');
    });
    for (const version of ['2019-01-30', undefined]) {
      await failureOf(make({ ...VARIABLES, IOTEDGE_WORKLOADURI: `unix://${socketPath}`, IOTEDGE_APIVERSION: version }));
    }
    await listener.close();
    assert.deepEqual(asked, ['/trust-bundle?api-version=2019-01-30', '/trust-bundle?api-version=2018-06-28']);
  });

  it('connects to hub.gatewayHostName instead, if that is set', async () => {
    const { module: address } = await present(identity({ hub: { gatewayHostName: 'other:1' } }));
    assert.equal(address.connectTo, 'other:1');
  });

  it('asks over http, too, and tries each address of the name', async () => {
    const overHttp = await EdgeEmulator.start({ hub, deviceId: DEVICE, address: { port: 0 } });
    for (const host of ['127.0.0.1', 'localhost']) {
      const uri = overHttp.workloadUri.replace('127.0.0.1', host);
      const environment = { ...overHttp.environmentOf(MODULE), IOTEDGE_WORKLOADURI: uri };
      assert.equal((await present(make(environment))).module.deviceId, DEVICE);
    }
    await overHttp.offline();
    const { error, retryCause } = await failureOf(make(overHttp.environmentOf(MODULE)));
    assert.deepEqual([error.id, retryCause], ['EDGE_UNREACHABLE', 'local']);
    assert.match(error.message, /http:\/\/127\.0\.0\.1:\d+ refuses connections/);
  });

  it('reports its steps without secrets', async () => {
    const same = identity();
    assert.deepEqual(same.secrets(), []);
    const { steps, proof } = await present(same);
    assert.ok(proof.kind === 'token');
    assert.deepEqual(same.secrets(), [proof.token]);
    const [step] = steps;
    assert.ok(step && steps.length === 1);
    assert.ok(step.text.includes(socketPath) && step.text.includes(`${DEVICE}/${MODULE}`), step.text);
    assert.match(step.details?.join() ?? '', /version 2020-07-07, generation \d{18} .*trusts CN=/);
    const text = JSON.stringify(steps);
    assert.ok(!text.includes(KEY) && !text.includes('SharedAccess') && !/sig=/.test(text));
  });

  describe('reports IoT Edge as unreachable', () => {
    it('reports IoT Edge as unreachable while the socket is missing', async () => {
      await edge.offline();
      const { error, retryCause } = await failureOf(identity());
      assert.deepEqual([error.id, error.code, retryCause], ['EDGE_UNREACHABLE', 'Other', 'local']);
      assert.ok(error.message.endsWith(`${socketPath} does not exist`), error.message);
      assert.match(error.remedy, /iotedge system restart/);
      await edge.online();
      await present(identity());
    });

    it('reports IoT Edge as unreachable while nothing listens at the socket', async () => {
      await edge.offline();
      await abandonSocket(socketPath);
      const { error, retryCause } = await failureOf(identity());
      assert.deepEqual([error.id, retryCause], ['EDGE_UNREACHABLE', 'local']);
      assert.match(error.message, /refuses connections/);
    });

    it('reports IoT Edge as unreachable if its user has no permission for the socket', async () => {
      chmodSync(socketPath, 0);
      const { error, retryCause } = await asNobody(() => failureOf(identity()));
      assert.deepEqual([error.id, retryCause], ['EDGE_UNREACHABLE', 'local']);
      assert.match(error.message, /may not be opened by user \d+/);
      assert.match(error.remedy, /0666/);
    });

    for (const operation of ['trustBundle', 'sign']) {
      const faults: [ServiceFault, RegExp][] = [
        [{ kind: 'silence' }, /did not answer within 5 s/],
        [{ kind: 'garbage' }, /answered with something else/],
        [{ kind: 'reset' }, /does not answer as it should/],
        [{ kind: 'status', status: 503, message: 'by\na fault' }, /with status 503, by a fault/],
        [{ kind: 'status', status: 429 }, /with status 429/],
        [{ kind: 'status', status: 302 }, /with status 302/],
      ];
      for (const [fault, message] of faults) {
        it(`reports IoT Edge as unreachable after ${fault.kind} ${fault.status ?? ''} for ${operation}`, async () => {
          edge.faults.inject({ ...fault, operation });
          const { error, retryCause } = await failureOf(identity(fault.kind === 'silence' ? { clock: HASTY } : {}));
          assert.deepEqual([error.id, retryCause], ['EDGE_UNREACHABLE', 'local']);
          assert.match(error.message, message);
          edge.faults.clear();
          await present(identity());
        });
      }
    }
  });

  describe('reports a refusal by IoT Edge', () => {
    const isRefused = async (who: ReturnType<typeof identity>) => {
      const { error, retryCause } = await failureOf(who);
      assert.deepEqual([error.id, error.code, retryCause], ['EDGE_REFUSED', 'Authentication', 'local']);
      return error;
    };

    it('reports a refusal if the module was re-created, and explains how to get its new variables', async () => {
      const old = identity();
      hub.removeModule(DEVICE, MODULE);
      assert.match((await isRefused(old)).message, /Module azureiotsecurity not found: .*was removed, or made again/);
      hub.addModule(module);
      const { message, remedy } = await isRefused(old);
      assert.match(message, /has no generation \d{18}/);
      assert.ok(remedy.endsWith(`docker rm --force ${MODULE}`));
      await present(identity());
    });

    for (const status of [401, 403]) {
      it(`reports a refusal if the runtime does not recognise this process (${status})`, async () => {
        edge.faults.inject({ kind: 'status', status, operation: 'sign' });
        assert.match((await isRefused(identity())).message, /does not take this process for module azureiotsecurity/);
      });
    }

    it('reports a refusal if the runtime does not support the API version', async () => {
      const { message, remedy } = await isRefused(
        make({ ...edge.environmentOf(MODULE), IOTEDGE_APIVERSION: '2031-01-01' }),
      );
      assert.match(message, /trust bundle with status 400, Invalid api-version: 2031-01-01/);
      assert.match(remedy, /IOTEDGE_APIVERSION/);
    });

    it('reports a refusal without a trust bundle, without mentioning the module', async () => {
      edge.faults.inject({ kind: 'status', status: 404, operation: 'trustBundle', message: 'no bundle' });
      assert.doesNotMatch((await isRefused(identity())).message, /made again/);
    });
  });

  it('gives up when it is told to, and closes its connection', async () => {
    await edge.stop();
    const listener = await Listener.open(socketPath, () => {});
    const stop = new AbortController();
    const presenting = present(make({ ...VARIABLES, IOTEDGE_WORKLOADURI: `unix://${socketPath}` }), stop.signal);
    await until('the connection', () => listener.connections === 1);
    const reason = new Error('stopped');
    stop.abort(reason);
    await assert.rejects(presenting, (error) => error === reason);
    await until('the end of the connection', () => listener.connections === 0);
    await listener.close();
  });

  it('omits invalid certificates, and trusts the others', async () => {
    await edge.stop();
    const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    const listener = await answering(socketPath, (path) =>
      httpAnswer(
        JSON.stringify(
          path.startsWith('/trust')
            ? { certificate: `# roots\n${broken}${hub.caPem}` }
            : { digest: Buffer.alloc(32).toString('base64') },
        ),
      ),
    );
    const { module: address } = await present(make({ ...VARIABLES, IOTEDGE_WORKLOADURI: `unix://${socketPath}` }));
    await listener.close();
    assert.equal(address.trustedCa?.trim(), hub.caPem.trim());
  });

  describe('rejects hostile answers', () => {
    const withAnswers = async (answer: (path: string) => string | Buffer, work: () => Promise<void>) => {
      const listener = await answering(socketPath, answer);
      await work().finally(() => listener.close());
    };
    const attempt = async () => {
      const who = make({ ...VARIABLES, IOTEDGE_WORKLOADURI: `unix://${socketPath}` }, { clock: HASTY });
      try {
        const { proof, module: address } = await present(who);
        assert.ok(proof.kind === 'token' && parseSasToken(proof.token));
        assert.ok(new X509Certificate(address.trustedCa ?? ''));
      } catch (failure) {
        assert.ok(failure instanceof HubFailure, String(failure));
        assert.match(failure.error.id, /^EDGE_(UNREACHABLE|REFUSED)$/);
        assert.equal(failure.retryCause, 'local');
        assertIsFit(failure);
      }
    };
    beforeEach(() => edge.stop());

    it('rejects answers of random bytes', async () => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 2_000 }), fc.boolean(), async (bytes, isHttp) => {
          const head = isHttp ? 'HTTP/1.1 200 OK\r\n' : '';
          await withAnswers(() => Buffer.concat([Buffer.from(head), bytes]), attempt);
        }),
        { numRuns: fuzzRuns(500) },
      );
    });

    it('rejects answers of random JSON, with any status', async () => {
      const bodies = fc.oneof(
        fc.json(),
        fc.record({ certificate: fc.oneof(fc.string(), fc.constant(hub.caPem)), digest: fc.anything() }).map(stringify),
        fc.record({ message: fc.string({ unit: 'binary', maxLength: 2_000 }) }).map(stringify),
      );
      await fc.assert(
        fc.asyncProperty(bodies, fc.integer({ min: 200, max: 599 }), async (body, status) => {
          await withAnswers((path) => httpAnswer(path.startsWith('/trust') ? body : body, status), attempt);
        }),
        { numRuns: fuzzRuns(1_000) },
      );
    });

    it('rejects random signatures', async () => {
      await fc.assert(
        fc.asyncProperty(fc.oneof(fc.base64String(), fc.string(), fc.anything()), async (digest) => {
          const bundle = { certificate: hub.caPem };
          const answer = (path: string) => httpAnswer(stringify(path.startsWith('/trust') ? bundle : { digest }));
          await withAnswers(answer, attempt);
        }),
        { numRuns: fuzzRuns(1_000) },
      );
    });

    it('rejects an endless answer', async () => {
      const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
      const chunk = `10000\r\n${'a'.repeat(65_536)}\r\n`;
      let written = 0;
      const listener = await Listener.open(socketPath, (socket) => {
        socket.write(head);
        const more = () => {
          written += chunk.length;
          if (!socket.destroyed) socket.write(chunk, () => more());
        };
        more();
      });
      const who = make({ ...VARIABLES, IOTEDGE_WORKLOADURI: `unix://${socketPath}` });
      assert.match((await failureOf(who)).error.message, /larger than \d+ bytes/);
      await listener.close();
      assert.ok(written < 8 * 1024 * 1024, `${written} bytes`);
    });
  });
});

const stringify = (value: unknown) =>
  JSON.stringify(value, (_key, part) => (typeof part === 'bigint' ? String(part) : part)) ?? 'null';
