import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import mqtt from 'mqtt';
import * as v from 'valibot';
import { secretLinesOf } from '../../../src/agent/identity/certificate-file.ts';
import type { Identity, IdentityContext, Presentation } from '../../../src/agent/identity/identity.ts';
import { deriveDeviceKey } from '../../../src/agent/identity/provisioning/attestation.ts';
import { provisioning } from '../../../src/agent/identity/provisioning.ts';
import { StateFolder } from '../../../src/agent/state/state-folder.ts';
import type { Clock } from '../../../src/core/base/clock.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { HubFailure } from '../../../src/core/contract/hub.ts';
import { Network } from '../../../src/core/network/network.ts';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../../src/emulator/certificates.ts';
import type { HubEmulator } from '../../../src/emulator/hub.ts';
import { fastClock, newKey, temporaryDirectory } from '../hub/support.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { ProvisioningBed, SERVICE } from './provisioning-bed.ts';
import { contextWith, errorOf, failureOf, presenting } from './support.ts';

const ID = 'gateway7';
const DEVICE = 'device7';
const MODULE = 'azureiotsecurity';
const NO_HUB = { errorCode: 400207, errorMessage: 'no hub' };
const unreachable = new HubFailure(new AgentError('HUB_UNREACHABLE', 'no route', ''), 'network');
const refusedByHub = new HubFailure(new AgentError('CREDENTIAL_REFUSED', 'refused', ''), 'credentials');

/** Refuses connections by HTTPS and MQTT. */
function refuseService({ proxy }: ProvisioningBed): void {
  for (const port of [443, 8883]) proxy.behave('refuse', `${SERVICE}:${port}`);
}

describe('Identity by the provisioning service', () => {
  let bed: ProvisioningBed;
  let authority: CertificateAuthority;
  let directory: ReturnType<typeof temporaryDirectory>;
  let key: string;
  let groupKey: string;
  let clock: Clock;
  let log: ReturnType<typeof contextWith>['captured'];

  before(async () => {
    authority = await CertificateAuthority.create();
  });
  beforeEach(async () => {
    [key, groupKey] = [newKey(), newKey()];
    directory = temporaryDirectory();
    clock = fastClock(100);
    bed = await ProvisioningBed.open(
      {
        individuals: [{ registrationId: ID, deviceId: DEVICE, primaryKey: key }],
        groups: [{ name: 'group', primaryKey: groupKey }],
      },
      authority,
    );
    directory.write('ca.pem', bed.caPem);
    directory.write('device.key', key);
    directory.write('group.key', groupKey);
  });
  afterEach(async () => {
    await bed.close();
    directory.remove();
  });

  /** An identity as a start of the agent makes it. */
  const started = (settings: object = {}, changes: Partial<IdentityContext> = {}): Identity => {
    const context = contextWith({
      clock,
      network: new Network({
        trustedCaFile: join(directory.path, 'ca.pem'),
        proxy: bed.proxyUrl,
        environment: {},
        clock,
      }),
      state: new StateFolder(directory.path, immediateStateFiles),
      ...changes,
    });
    log = context.captured;
    const given = { keyFile: join(directory.path, 'device.key'), ...settings };
    const read = v.parse(provisioning.schema, {
      kind: 'provisioning',
      idScope: bed.service.idScope,
      registrationId: ID,
      ...given,
    });
    return provisioning.create(read, context);
  };

  const present = (identity: Identity) => identity.present(presenting());

  /** Connects as the agent does, and disconnects. */
  const connect = (hub: HubEmulator, { module, proof }: Presentation): Promise<boolean> => {
    assert.ok(proof.kind === 'token');
    const { hostName, deviceId, moduleId } = module;
    const client = mqtt.connect({
      protocol: 'mqtts',
      host: 'localhost',
      port: hub.port,
      ca: hub.caPem,
      reconnectPeriod: 0,
      clientId: `${deviceId}/${moduleId}`,
      username: `${hostName}/${deviceId}/${moduleId}/?api-version=2021-04-12`,
      password: proof.token,
    });
    return new Promise((resolve) => {
      client.once('connect', () => client.end(true, () => resolve(true)));
      client.once('error', () => client.end(true, () => resolve(false)));
    });
  };

  /** Presents, and connects as the agent does, which reports the result to the identity. */
  const arrive = async (identity: Identity, hub: HubEmulator): Promise<Presentation> => {
    const presentation = await present(identity);
    assert.equal(presentation.module.hostName, hub.hostName);
    assert.ok(await connect(hub, presentation), 'the hub refused the presentation');
    identity.accepted?.(presentation);
    return presentation;
  };

  it('registers, creates its module, and connects to the assigned hub', async () => {
    const [hub] = bed.hubs;
    const options = presenting();
    const identity = started();
    const presentation = await identity.present(options);
    assert.deepEqual(presentation.module, {
      hostName: hub.hostName,
      deviceId: DEVICE,
      moduleId: MODULE,
      connectTo: hub.hostName,
    });
    assert.ok(await connect(hub, presentation));
    assert.deepEqual(
      options.steps.map(({ name }) => name),
      ['provisioning', 'registry'],
    );
    assert.equal(options.steps[0]?.text, `${ID} is registered: device ${DEVICE} at ${hub.hostName}`);
    assert.match(options.steps[0]?.details?.join() ?? '', /:443 \(HTTPS\)/);
    assert.equal(bed.registrations, 1);
    const { idScope } = bed.service;
    assert.deepEqual(JSON.parse(readFileSync(join(directory.path, 'assignment.json'), 'utf8')), {
      idScope,
      registrationId: ID,
      hub: hub.hostName,
      deviceId: DEVICE,
    });
  });

  it('registers with a key derived from the key of its group', async () => {
    const registrationId = 'sn-1';
    const identity = started({ registrationId, keyFile: undefined, groupKeyFile: join(directory.path, 'group.key') });
    await arrive(identity, bed.hubs[0]);
    const own = deriveDeviceKey(groupKey, registrationId);
    const { credential } = bed.hubs[0].getModule(registrationId, MODULE) ?? {};
    assert.ok(credential?.type === 'sas');
    for (const secret of [groupKey, own, credential.primaryKey]) assert.ok(identity.secrets().includes(secret));
    const texts = [
      log.text(),
      ...readdirSync(directory.path)
        .filter((name) => name !== 'group.key' && name !== 'device.key')
        .map((name) => readFileSync(join(directory.path, name), 'utf8')),
    ];
    for (const text of texts) {
      for (const secret of [...identity.secrets(), 'SharedAccessSignature']) assert.ok(!text.includes(secret));
    }
  });

  it('registers with a certificate, and reads its module by the certificate', async () => {
    const leaf = await selfSigned({ commonName: 'by-certificate' });
    bed.service.enroll({ registrationId: 'by-certificate', thumbprint: leaf.thumbprint });
    const certificateFile = directory.write('leaf.pem', leaf.chainPem, 0o644);
    const keyFile = directory.write('leaf.key', leaf.keyPem);
    const identity = started({ registrationId: 'by-certificate', certificateFile, keyFile });
    assert.deepEqual(identity.files, [certificateFile, keyFile]);
    const lines = secretLinesOf(leaf.keyPem);
    assert.ok(lines.length > 0 && lines.every((line) => identity.secrets().includes(line)));
    const { deviceCertificate } = await arrive(identity, bed.hubs[0]);
    assert.equal(deviceCertificate?.expiresAt.getTime(), Math.floor(leaf.notAfter.getTime() / 1_000) * 1_000);
    assert.ok(lines.every((line) => identity.secrets().includes(line)));
    const [request] = bed.hubs[0].restRequests;
    assert.equal(
      request?.caller !== undefined && 'thumbprint' in request.caller && request.caller.thumbprint,
      leaf.thumbprint,
    );
  });

  it('registers again with a renewed certificate, since the hub stores the thumbprint of the old one', async () => {
    const fleet = await CertificateAuthority.create({ commonName: 'fleet' });
    bed.service.enrollGroup({ name: 'certificates', caPem: fleet.certificatePem });
    const registrationId = 'sn-2';
    const write = ({ chainPem, keyPem }: IssuedCertificate) => ({
      certificateFile: directory.write('leaf.pem', chainPem, 0o644),
      keyFile: directory.write('leaf.key', keyPem),
    });
    const identity = started({ registrationId, ...write(await fleet.issue({ commonName: registrationId })) });
    await arrive(identity, bed.hubs[0]);
    write(await fleet.issue({ commonName: registrationId }));
    await arrive(identity, bed.hubs[0]);
    assert.equal(bed.registrations, 2);
    await arrive(identity, bed.hubs[0]);
    assert.equal(bed.registrations, 2);
  });

  it('sends no request with a certificate for another name', async () => {
    const leaf = await selfSigned({ commonName: 'gateway8' });
    const certificateFile = directory.write('leaf.pem', leaf.chainPem, 0o644);
    const keyFile = directory.write('leaf.key', leaf.keyPem);
    const identity = started({ certificateFile, keyFile });
    const { error } = await failureOf(present(identity), 'CERTIFICATE_WRONG_NAME', 'credentials');
    assert.match(error.message, /"gateway8" instead of "gateway7"/);
    assert.deepEqual(bed.proxy.requests, []);
  });

  it('starts by the kept assignment while the service is offline', async () => {
    await arrive(started(), bed.hubs[0]);
    await bed.service.offline();
    const options = presenting();
    const presentation = await started().present(options);
    assert.ok(await connect(bed.hubs[0], presentation));
    assert.match(options.steps[0]?.text ?? '', /by an earlier registration$/);
    assert.equal(bed.registrations, 1);
  });

  it('reads the saved assignment only at the first attempt: later changes of the file do not matter', async () => {
    const identity = started();
    await arrive(identity, bed.hubs[0]);
    const file = join(directory.path, 'assignment.json');
    for (const change of [
      () => writeFileSync(file, readFileSync(file, 'utf8').replace('hub-a', 'hub-b')),
      () => writeFileSync(file, '{"idScope":'),
      () => rmSync(file),
    ]) {
      change();
      await arrive(identity, bed.hubs[0]);
    }
    assert.equal(bed.registrations, 1);
    assert.doesNotMatch(log.text(), /Could not read the saved hub assignment/);
  });

  it('does not use an assignment that is saved in the file after the first attempt', async () => {
    const identity = started();
    bed.service.setStatus(ID, 'disabled');
    await failureOf(present(identity), 'PROVISIONING_DISABLED', 'credentials');
    const { idScope } = bed.service;
    const saved = { idScope, registrationId: ID, hub: bed.hubs[0].hostName, deviceId: DEVICE };
    writeFileSync(join(directory.path, 'assignment.json'), JSON.stringify(saved));
    await failureOf(present(identity), 'PROVISIONING_DISABLED', 'credentials');
  });

  it('follows its device to another hub when the first one refuses the device', async () => {
    const [first, second] = bed.hubs;
    const identity = started();
    const presentation = await arrive(identity, first);
    bed.service.reassign(ID, second);
    assert.equal(await connect(first, presentation), false);
    assert.equal(identity.failed?.(presentation, refusedByHub), true);
    await arrive(identity, second);
    assert.equal(bed.registrations, 2);
    assert.match(log.text(), /"previousHub":"hub-a/);
  });

  it('adopts another form of the same hub’s name without reading the keys again', async () => {
    const [hub] = bed.hubs;
    const identity = started();
    const presentation = await arrive(identity, hub);
    const requests = hub.restRequests.length;
    hub.hostName = 'hub-a.device.azure-devices.net';
    for (let tries = 0; tries < 20 && bed.registrations === 1; tries += 1) {
      identity.failed?.(presentation, unreachable);
      await present(identity);
    }
    await arrive(identity, hub);
    assert.equal(bed.registrations, 2);
    assert.equal(hub.restRequests.length, requests);
    assert.match(readFileSync(join(directory.path, 'assignment.json'), 'utf8'), /hub-a\.device\./);
    assert.doesNotMatch(log.text(), /previousHub/);
  });

  it('follows its device at a start, from the kept assignment', async () => {
    const [first, second] = bed.hubs;
    await arrive(started(), first);
    bed.service.reassign(ID, second);
    await arrive(started(), second);
    assert.equal(bed.registrations, 2);
  });

  it('does not ask again at once if the hub refuses the module right after the service assigned it', async () => {
    const identity = started();
    const first = await present(identity);
    assert.equal(identity.failed?.(first, refusedByHub), true, 'the module has a second key');
    const second = await present(identity);
    assert.notEqual(second.source, first.source);
    assert.equal(identity.failed?.(second, refusedByHub), false);
    assert.equal(bed.registrations, 1);
    await present(identity); // after the delay that refusals have
    assert.equal(bed.registrations, 2);
  });

  it('reads the keys of the module again before it asks the service', async () => {
    const [hub] = bed.hubs;
    const identity = started();
    const presentation = await arrive(identity, hub);
    hub.regenerateKeys({ deviceId: DEVICE, moduleId: MODULE });
    assert.equal(identity.failed?.(presentation, refusedByHub), true);
    await arrive(identity, hub);
    assert.equal(bed.registrations, 1);
  });

  it('asks after ten failed connections, and keeps its hub if the service is not reached either', async () => {
    const [first, second] = bed.hubs;
    const identity = started();
    const presentation = await arrive(identity, first);
    await bed.service.offline();
    for (let attempt = 0; attempt < 10; attempt++) identity.failed?.(presentation, unreachable);
    const asked = bed.proxy.requests.length;
    assert.equal((await present(identity)).module.hostName, first.hostName);
    const targets = bed.proxy.requests.slice(asked).map(({ target }) => target);
    assert.ok(
      targets.some((target) => target.startsWith('global.')),
      `asked ${targets.join()}`,
    );

    await bed.service.online();
    bed.service.reassign(ID, second);
    for (let attempt = 0; attempt < 9; attempt++) identity.failed?.(presentation, unreachable);
    assert.equal((await present(identity)).module.hostName, first.hostName, 'asked too early');
    assert.equal(bed.registrations, 1);
    identity.failed?.(presentation, unreachable);
    await arrive(identity, second);
    assert.equal(bed.registrations, 2);
  });

  for (const [what, id, spoil] of [
    ['its enrolment is disabled', 'PROVISIONING_DISABLED', () => bed.service.setStatus(ID, 'disabled')],
    ['the service fails to assign it', 'PROVISIONING_FAILED', () => bed.service.setFailure(ID, NO_HUB)],
    [
      'the service throttles',
      'PROVISIONING_UNREACHABLE',
      () => bed.service.faults.inject({ kind: 'status', status: 429 }),
    ],
    ['the proxy refuses the service', 'PROXY_REFUSED', () => refuseService(bed)],
  ] as const) {
    it(`keeps its hub after ten failed connections when ${what}`, async () => {
      const [hub] = bed.hubs;
      const identity = started();
      const presentation = await arrive(identity, hub);
      spoil();
      for (let attempt = 0; attempt < 10; attempt++) identity.failed?.(presentation, unreachable);
      await arrive(identity, hub);
      const warnings = log.messages().filter(({ level }) => level === 'warn');
      assert.deepEqual(
        warnings.map((line) => line.id),
        [id],
      );
    });
  }

  it('does not keep a hub that has refused the device, when the enrolment is disabled', async () => {
    const identity = started();
    const presentation = await arrive(identity, bed.hubs[0]);
    bed.service.setStatus(ID, 'disabled');
    bed.hubs[0].setStatus('disabled', DEVICE);
    for (let attempt = 0; attempt < 10; attempt++) identity.failed?.(presentation, unreachable);
    identity.failed?.(presentation, refusedByHub);
    await failureOf(present(identity), 'PROVISIONING_DISABLED', 'credentials');
  });

  it('waits for the service when the hub has refused the device, and the service is not reached', async () => {
    const [first, second] = bed.hubs;
    await arrive(started(), first);
    bed.service.reassign(ID, second);
    await bed.service.offline();
    const identity = started();
    await failureOf(present(identity), 'PROVISIONING_UNREACHABLE', 'network', [key]);
    await bed.service.online();
    await arrive(identity, second);
  });

  it('reports a wrong key, and recovers when its file is fixed', async () => {
    const file = directory.write('wrong.key', newKey());
    const identity = started({ keyFile: file });
    const { error } = await failureOf(present(identity), 'PROVISIONING_REFUSED', 'credentials', [key]);
    assert.ok(error.remedy.includes(file));
    directory.write('wrong.key', key);
    await arrive(identity, bed.hubs[0]);
  });

  it('recovers when the enrolment is enabled, and when it no longer fails', async () => {
    bed.service.setStatus(ID, 'disabled');
    const identity = started();
    await failureOf(present(identity), 'PROVISIONING_DISABLED', 'credentials');
    bed.service.setStatus(ID, 'enabled');
    bed.service.setFailure(ID, { errorCode: 400207, errorMessage: 'no hub' });
    await failureOf(present(identity), 'PROVISIONING_FAILED', 'credentials');
    bed.service.setFailure(ID);
    await arrive(identity, bed.hubs[0]);
  });

  it('waits for a module that it may not create, and asks the service only once for it', async () => {
    const identity = started({ createModule: false });
    for (let attempt = 0; attempt < 3; attempt++) await failureOf(present(identity), 'MODULE_UNKNOWN', 'absent');
    assert.equal(bed.registrations, 1);
    bed.hubs[0].addModule({ deviceId: DEVICE, moduleId: MODULE });
    await arrive(identity, bed.hubs[0]);
  });

  it('looks up the assignment for a check, and writes neither a file nor a module', async () => {
    const [hub] = bed.hubs;
    await arrive(started(), hub);
    const before = readdirSync(directory.path);
    hub.removeModule(DEVICE, MODULE);
    const identity = started({}, { state: undefined, mayCreate: false });
    const options = presenting();
    await failureOf(identity.present(options), 'MODULE_UNKNOWN', 'absent');
    assert.match(options.steps[0]?.text ?? '', /^gateway7 is assigned: device device7 at hub-a/);
    assert.equal(bed.registrations, 1);
    assert.deepEqual([readdirSync(directory.path), hub.modulesOf(DEVICE)], [before, []]);
  });

  it('does not start with a key that others can read, or without a key', () => {
    errorOf(() => started({ keyFile: directory.write('open.key', key, 0o644) }), 'SECRET_FILE_EXPOSED', [key]);
    errorOf(() => started({ keyFile: join(directory.path, 'none') }), 'SECRET_FILE_MISSING');
    const short = directory.write('short.key', 'QUJD');
    const { remedy } = errorOf(() => started({ keyFile: undefined, groupKeyFile: short }), 'SECRET_FILE_MALFORMED');
    assert.match(remedy, /az iot dps enrollment-group show/);
  });

  describe('settings', () => {
    const faultsOf = (settings: object): string[] => {
      const given = { kind: 'provisioning', idScope: '0ne00A12B34', registrationId: ID, ...settings };
      return (v.safeParse(provisioning.schema, given).issues ?? []).map(({ message }) => message);
    };
    const MISSING_PROOF = /must have one of keyFile .*, groupKeyFile .*, or certificateFile with keyFile/;

    for (const settings of [{ keyFile: 'a' }, { groupKeyFile: 'a' }, { certificateFile: 'a', keyFile: 'b' }]) {
      it(`can be ${Object.keys(settings).join(' with ')}`, () => {
        assert.deepEqual(faultsOf(settings), []);
      });
    }
    for (const settings of [
      {},
      { certificateFile: 'a' },
      { keyFile: 'a', groupKeyFile: 'b' },
      { certificateFile: 'a', groupKeyFile: 'b' },
      { certificateFile: 'a', keyFile: 'b', groupKeyFile: 'c' },
    ]) {
      it(`cannot be ${Object.keys(settings).join(' with ') || 'without a secret'}`, () => {
        const [fault = '', ...more] = faultsOf(settings);
        assert.match(fault, MISSING_PROOF);
        assert.deepEqual(more, []);
      });
    }
    for (const registrationId of ['gateway7-', '-', '.a', 'a:b_c.d-', 'x'.repeat(128)]) {
      it(`can have the registrationId ${JSON.stringify(registrationId.slice(0, 20))}`, () => {
        assert.deepEqual(faultsOf({ keyFile: 'a', registrationId }), []);
      });
    }
    for (const [name, values] of Object.entries({
      idScope: ['', 'a b', '../x', 'x'.repeat(65)],
      registrationId: ['', 'a.', 'a_', 'a:', 'a b', 'a/b', 'ä', 'x'.repeat(129)],
      endpoint: ['https://dps', 'a b'],
      other: ['x'],
    })) {
      for (const value of values) {
        it(`refuse ${name} ${JSON.stringify(value.slice(0, 20))}`, () => {
          assert.notDeepEqual(faultsOf({ keyFile: 'a', [name]: value }), []);
        });
      }
    }
  });
});
