import assert from 'node:assert/strict';
import { secretLinesOf } from '../../src/agent/identity/certificate-file.ts';
import { type Duration, minutes, seconds } from '../../src/core/base/duration.ts';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../src/emulator/certificates.ts';
import { newKey } from '../agent/hub/support.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, DEVICE, MODULE, STEADY, TestBed } from './test-bed.ts';

/**
 * Time limit for the first request for a missing module (contract §1), with a margin for a loaded machine. `npm run
 * test:restarts` measures the other limits of that clause.
 */
const ASKED_WITHIN = seconds(45);

let bed: TestBed;
let key: string;
beforeEach(async () => {
  bed = await TestBed.open();
  bed.startWith(STEADY); // events of other programs on this machine do not matter here
  bed.hub.removeModule(DEVICE, MODULE);
  key = newKey();
});
afterEach(async () => {
  if (!bed.hub.hasModule(DEVICE, MODULE)) bed.hub.addModule({ deviceId: DEVICE, moduleId: MODULE });
  keepHidden();
  await bed.close();
});

/** Adds the keys that the hub created to the secrets that must not appear anywhere. */
const keepHidden = () => {
  const { credential } = bed.hub.getModule(DEVICE, MODULE) ?? {};
  if (credential?.type !== 'sas') return;
  bed.secrets.add(credential.primaryKey);
  bed.secrets.add(credential.secondaryKey);
};
const configure = (identity: object) =>
  bed.writeConfiguration({
    hub: {
      hostName: bed.hub.hostName,
      gatewayHostName: `localhost:${bed.hub.port}`,
      restEndpoint: `localhost:${bed.hub.restPort}`,
      trustedCaFile: 'ca.pem',
    },
    identity: { deviceId: DEVICE, moduleId: MODULE, ...identity },
  });
const connected = (count = 1, limit: Duration = minutes(1)) =>
  until(
    () => `connection ${count}; there were ${JSON.stringify(bed.hub.connections)}`,
    () => bed.hub.connections.filter(({ admitted }) => admitted).length >= count,
    { limit },
  );
/** Resolves once the agent is connected and has applied the hub's settings. */
const settled = async (agent: AgentProcess) => {
  await connected();
  bed.desire(STEADY);
  await agent.waitForStatus(({ hub }) => hub.state === 'connected');
  keepHidden();
};
/** Resolves once the agent has sent an event. */
const sent = () => bed.waitForEvents(() => bed.events().length > 0, seconds(60));
const refusals = () => bed.hub.connections.filter(({ admitted }) => !admitted).length;
const requests = () => bed.hub.restRequests.map(({ method, status }) => `${method} ${status}`);

describe('An agent with a device key', function () {
  this.timeout('150s');

  const put = (text = key) => {
    bed.write('device.key', text);
    bed.secrets.add(text);
    bed.lookNow();
  };
  const register = (status: 'enabled' | 'disabled' = 'enabled') => {
    const credential = { type: 'sas', primaryKey: key, secondaryKey: newKey() } as const;
    bed.hub.addDevice({ deviceId: DEVICE, credential, status });
  };
  const start = (settings: object = {}) => {
    configure({ kind: 'deviceKey', keyFile: 'device.key', ...settings });
    return bed.startAgent();
  };
  beforeEach(() => {
    put();
    register();
  });

  it('creates its module with one log line, connects and sends', async () => {
    const agent = start();
    await settled(agent);
    await sent();
    assert.deepEqual(requests(), ['GET 404', 'PUT 201']);
    assert.equal(agent.log.filter(({ msg }) => msg.startsWith('Created the module')).length, 1);
    const { credential } = await agent.waitForStatus(({ hub }) => hub.state === 'connected');
    assert.equal(credential.kind, 'deviceKey');
  });

  it('reads a key that was regenerated at the hub, and connects with it', async () => {
    await settled(start());
    bed.hub.regenerateKeys({ deviceId: DEVICE, moduleId: MODULE });
    await connected(2);
    assert.equal(refusals(), 1);
    assert.deepEqual(requests(), ['GET 404', 'PUT 201', 'GET 200']);
  });

  it('creates its module again after it was removed', async () => {
    await settled(start());
    bed.hub.removeModule(DEVICE, MODULE);
    await connected(2);
    assert.deepEqual(requests(), ['GET 404', 'PUT 201', 'GET 404', 'PUT 201']);
  });

  it('polls for a module that it may not create at most six times per minute @release', async () => {
    const agent = start({ createModule: false });
    const line = await agent.waitForLog(({ id }) => id === 'MODULE_UNKNOWN');
    assert.match(String(line.remedy), /az iot hub module-identity create/);
    await until('three requests', () => requests().length === 3, { limit: seconds(70) });
    const times = bed.hub.restRequests.map(({ at }) => at.getTime());
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    for (const wait of waits) assert.ok(wait >= seconds(10) && wait <= ASKED_WITHIN, `it waited ${wait} ms`);
    bed.hub.addModule({ deviceId: DEVICE, moduleId: MODULE });
    await connected();
    assert.ok(requests().every((request) => request.startsWith('GET')));
  });

  it('tries a wrong key three times, and uses a right one', async () => {
    const wrong = newKey();
    put(wrong);
    const agent = start();
    const line = await agent.waitForLog(({ id }) => id === 'CREDENTIAL_REFUSED');
    assert.match(`${line.msg} ${line.remedy}`, /credential of the device device1 \(401 .*device\.key/);
    await until('three requests', () => requests().length === 3, { limit: seconds(60) });
    await agent.waitForStatus(({ hub, delivery }) => hub.state === 'refused' && delivery.collected > 0);
    put(key);
    await connected();
    assert.deepEqual(requests(), ['GET 401', 'GET 401', 'GET 401', 'GET 404', 'PUT 201']);
    assert.equal(refusals(), 0); // no MQTT connection was tried
  });

  it('keeps its connection if the new key is invalid, and uses the next one', async () => {
    const agent = start();
    await settled(agent);
    put('no key, but something else');
    await agent.waitForLog(({ id }) => id === 'SECRET_FILE_MALFORMED');
    await agent.waitForStatus(
      ({ hub, credential }) => hub.state === 'connected' && credential.error?.id === 'SECRET_FILE_MALFORMED',
    );
    key = bed.hub.regenerateKeys({ deviceId: DEVICE }).primaryKey;
    put(key);
    await connected(2);
    assert.equal(requests().at(-1), 'GET 200');
    await agent.waitForStatus(({ credential }) => credential.error === undefined);
  });

  it('waits for a registry that is unreachable at the start', async () => {
    await bed.hub.offline('rest');
    const agent = start();
    await agent.waitForLog(({ id }) => id === 'HUB_UNREACHABLE');
    await agent.waitForStatus(({ delivery }) => delivery.collected > 0);
    await bed.hub.online();
    await connected();
  });

  it('does not need the registry to reconnect', async () => {
    await settled(start());
    await bed.hub.offline('rest');
    bed.hub.disconnect(DEVICE, MODULE);
    await connected(2);
  });

  it('respects Retry-After of a registry that throttles', async () => {
    bed.hub.faults.inject({ kind: 'restStatus', status: 429, retryAfter: 8, count: 1 });
    const agent = start();
    await agent.waitForLog(({ id }) => id === 'HUB_THROTTLED');
    await connected();
    const [first, second] = bed.hub.restRequests;
    assert.ok((second?.at.getTime() ?? 0) - (first?.at.getTime() ?? 0) >= seconds(8));
  });

  it('names the command that enables a disabled device', async () => {
    register('disabled');
    const agent = start();
    const line = await agent.waitForLog(({ id }) => id === 'CREDENTIAL_REFUSED');
    assert.match(String(line.remedy), /az iot hub device-identity update .*--set status=enabled/);
  });

  it('does not start without its key file', async () => {
    const agent = start({ keyFile: 'missing.key' });
    assert.equal((await agent.exited).status, 77);
    assert.match(agent.output, /"id":"SECRET_FILE_MISSING"/);
  });
});

describe('An agent with a device certificate', function () {
  this.timeout('150s');
  let own: IssuedCertificate;

  const put = ({ chainPem, keyPem }: IssuedCertificate) => {
    bed.write('device.pem', chainPem, 0o644);
    bed.write('device.pem.key', keyPem);
    for (const line of secretLinesOf(keyPem)) bed.secrets.add(line);
    bed.lookNow();
  };
  const register = (primary: IssuedCertificate, secondary?: IssuedCertificate) =>
    bed.hub.addDevice({
      deviceId: DEVICE,
      credential: {
        type: 'selfSigned',
        primaryThumbprint: primary.thumbprint,
        ...(secondary === undefined ? {} : { secondaryThumbprint: secondary.thumbprint }),
      },
    });
  const start = () => {
    configure({ kind: 'deviceCertificate', certificateFile: 'device.pem', keyFile: 'device.pem.key' });
    return bed.startAgent();
  };
  beforeEach(async () => {
    own = await selfSigned({ commonName: DEVICE });
    put(own);
    register(own);
  });

  it('creates its module, connects and sends', async () => {
    await settled(start());
    await sent();
    assert.deepEqual(requests(), ['GET 404', 'PUT 201']);
    assert.deepEqual(bed.hub.restRequests[0]?.caller, { deviceId: DEVICE, thumbprint: own.thumbprint });
  });

  it('connects by a certificate that an authority signed, with its chain', async () => {
    const root = await CertificateAuthority.create();
    const middle = await root.intermediate({ commonName: 'middle' });
    const leaf = await middle.issue({ commonName: DEVICE });
    bed.hub.addClientAuthority(root.certificatePem);
    bed.hub.addDevice({ deviceId: DEVICE, credential: { type: 'certificateAuthority' } });
    put(leaf);
    start();
    await connected();
  });

  it('uses a renewed certificate within 25 s', async () => {
    await settled(start());
    const next = await selfSigned({ commonName: DEVICE });
    register(own, next);
    put(next);
    await connected(2);
    assert.deepEqual(bed.hub.restRequests.at(-1)?.caller, { deviceId: DEVICE, thumbprint: next.thumbprint });
  });

  it('does not connect with the certificate of another device, and uses a right one', async () => {
    put(await (await CertificateAuthority.create()).issue({ commonName: 'device2' }));
    const agent = start();
    const line = await agent.waitForLog(({ id }) => id === 'CERTIFICATE_WRONG_NAME');
    assert.match(line.msg, /device\.pem has the CN "device2" instead of "device1"/);
    put(own);
    await connected();
    assert.deepEqual(requests(), ['GET 404', 'PUT 201']);
  });

  it('is refused with a certificate that the hub does not know, and uses a right one', async () => {
    put(await selfSigned({ commonName: DEVICE }));
    const agent = start();
    await agent.waitForLog(({ id }) => id === 'CREDENTIAL_REFUSED');
    await until('three requests', () => requests().length === 3, { limit: seconds(60) });
    put(own);
    await connected();
    assert.deepEqual(requests(), ['GET 401', 'GET 401', 'GET 401', 'GET 404', 'PUT 201']);
  });

  it('reads a key that was regenerated at the hub, and connects with it', async () => {
    await settled(start());
    bed.hub.regenerateKeys({ deviceId: DEVICE, moduleId: MODULE });
    await connected(2);
  });
});
