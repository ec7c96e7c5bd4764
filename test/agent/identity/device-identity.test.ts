import assert from 'node:assert/strict';
import type { Identity, IdentityContext, Presentation } from '../../../src/agent/identity/identity.ts';
import { createIdentity, type IdentitySettings } from '../../../src/agent/identity/kinds.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { HubFailure, type RetryCause } from '../../../src/core/contract/hub.ts';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../../src/emulator/certificates.ts';
import { HubEmulator } from '../../../src/emulator/hub.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { newKey } from '../hub/support.ts';
import { contextWith, errorOf, failureOf, presenting, writer } from './support.ts';

const DEVICE = 'dev1';
const MODULE = 'azureiotsecurity';

/** As a certificate has it: without milliseconds. */
const inSeconds = (date: Date) => new Date(date.getTime() - (date.getTime() % 1_000));

describe('deviceIdentity', () => {
  let authority: CertificateAuthority;
  let own: IssuedCertificate;
  before(async () => {
    authority = await CertificateAuthority.create();
    own = await selfSigned({ commonName: DEVICE });
  });

  let hub: HubEmulator;
  let write: ReturnType<typeof writer>;
  let key: string;
  let context: ReturnType<typeof contextWith>;
  beforeEach(async () => {
    hub = await HubEmulator.start({ certificateAuthority: authority });
    write = writer(temporaryFolder());
    key = newKey();
    hub.addDevice({ deviceId: DEVICE, credential: { type: 'sas', primaryKey: key, secondaryKey: newKey() } });
    context = contextWith({ trustedCaFile: write('ca.pem', hub.caPem), hub: hubSettings() });
  });
  afterEach(() => hub.stop());

  const hubSettings = (): IdentityContext['hub'] => ({
    hostName: hub.hostName,
    gatewayHostName: `localhost:${hub.port}`,
    restEndpoint: `localhost:${hub.restPort}`,
  });
  const byKey = (changes: { createModule?: boolean } = {}, with_: IdentityContext = context): Identity =>
    createIdentity(
      {
        kind: 'deviceKey',
        deviceId: DEVICE,
        moduleId: MODULE,
        keyFile: write('device.key', key),
        createModule: true,
        ...changes,
      },
      with_,
    );
  const settings = (): IdentitySettings => ({
    kind: 'deviceCertificate',
    deviceId: DEVICE,
    moduleId: MODULE,
    certificateFile: write('device.pem', own.chainPem, 0o644),
    keyFile: write('device.pem.key', own.keyPem),
    createModule: true,
  });
  const refused = (cause: RetryCause = 'credentials') =>
    new HubFailure(new AgentError('CREDENTIAL_REFUSED', 'refused', 'Wait.'), cause);
  const keysOf = () => {
    const { credential } = hub.getModule(DEVICE, MODULE) ?? {};
    assert.ok(credential?.type === 'sas');
    return credential;
  };
  /** Whether a token was signed by a key. */
  const isSignedBy = async ({ proof, module }: Presentation, signer: string) => {
    assert.ok(proof.kind === 'token');
    const { signSasToken, resourceOf } = await import('../../../src/agent/identity/sas-token.ts');
    return signSasToken(resourceOf(module), signer, proof.expiresAt).text === proof.token;
  };
  const requests = () => hub.restRequests.map(({ method, status }) => `${method} ${status}`);

  it('creates a missing module, logs it, and connects as the module', async () => {
    const identity = byKey();
    const options = presenting();
    const presentation = await identity.present(options);
    assert.deepEqual(presentation.module, {
      hostName: hub.hostName,
      deviceId: DEVICE,
      moduleId: MODULE,
      connectTo: `localhost:${hub.port}`,
    });
    assert.equal(presentation.source, 'primary');
    assert.ok(await isSignedBy(presentation, keysOf().primaryKey));
    const lines = context.captured.messages().filter(({ msg }) => msg.startsWith('Created the module'));
    assert.equal(lines.length, 1);
    assert.equal(lines[0]?.level, 'info');
    assert.deepEqual(
      options.steps.map(({ name, text }) => `${name}: ${text}`),
      [
        `identity: dev1/azureiotsecurity at ${hub.hostName}, by deviceKey`,
        `registry: created the module dev1/azureiotsecurity at ${hub.hostName}`,
      ],
    );
  });

  it('reports no expiry of a certificate if it uses a key', async () => {
    const presentation = await byKey().present(presenting());
    assert.ok(!('deviceCertificate' in presentation));
  });

  it('asks the registry once, while the keys work', async () => {
    const identity = byKey();
    for (let i = 0; i < 3; i++) {
      const presentation = await identity.present(presenting());
      identity.accepted?.(presentation);
    }
    const presentation = await identity.present(presenting());
    assert.equal(identity.failed?.(presentation, refused('network')), false);
    await identity.present(presenting());
    assert.deepEqual(requests(), ['GET 404', 'PUT 201']);
  });

  for (const id of ['PROXY_REFUSED', 'CA_FILE_UNUSABLE'] as const) {
    it(`keeps its keys at ${id}, which is no answer of the hub`, async () => {
      const identity = byKey();
      identity.accepted?.(await identity.present(presenting()));
      const failure = new HubFailure(new AgentError(id, 'refused', ''), 'credentials');
      assert.equal(identity.failed?.(await identity.present(presenting()), failure), false);
      assert.equal((await identity.present(presenting())).source, 'primary');
      assert.deepEqual(requests(), ['GET 404', 'PUT 201']);
    });
  }

  it('reads the keys again at once if one that worked is refused', async () => {
    const identity = byKey();
    const first = await identity.present(presenting());
    identity.accepted?.(first);
    const { primaryKey } = hub.regenerateKeys({ deviceId: DEVICE, moduleId: MODULE });
    assert.equal(identity.failed?.(await identity.present(presenting()), refused()), true);
    const second = await identity.present(presenting());
    assert.ok(await isSignedBy(second, primaryKey));
    assert.deepEqual(requests(), ['GET 404', 'PUT 201', 'GET 200']);
  });

  it('tries the secondary key, when the primary is still the refused one', async () => {
    const identity = byKey();
    identity.accepted?.(await identity.present(presenting()));
    assert.equal(identity.failed?.(await identity.present(presenting()), refused()), true);
    const second = await identity.present(presenting());
    assert.equal(second.source, 'secondary');
    assert.ok(await isSignedBy(second, keysOf().secondaryKey));
  });

  it('asks for no attempt at once, when the hub refuses all that its registry has', async () => {
    const identity = byKey();
    const refusals = async () => identity.failed?.(await identity.present(presenting()), refused());
    assert.deepEqual([await refusals(), await refusals()], [true, false]); // primary, secondary
    // Then one attempt with the keys that were just read, each time.
    assert.deepEqual([await refusals(), await refusals(), await refusals()], [false, false, false]);
    assert.deepEqual(requests().slice(2), ['GET 200', 'GET 200', 'GET 200']);
  });

  it('creates the module again after it was removed', async () => {
    const identity = byKey();
    identity.accepted?.(await identity.present(presenting()));
    hub.removeModule(DEVICE, MODULE);
    assert.equal(identity.failed?.(await identity.present(presenting()), refused()), true);
    assert.ok(await isSignedBy(await identity.present(presenting()), keysOf().primaryKey));
  });

  it('waits for the module, if it may not create it', async () => {
    const identity = byKey({ createModule: false });
    const { error } = await failureOf(identity.present(presenting()), 'MODULE_UNKNOWN', 'absent', [key]);
    assert.match(error.message, /has no module dev1\/azureiotsecurity/);
    const create =
      /az iot hub module-identity create --hub-name 'emulator' --device-id 'dev1' --module-id 'azureiotsecurity'/;
    assert.match(error.remedy, create);
    hub.addModule({ deviceId: DEVICE, moduleId: MODULE });
    assert.equal((await identity.present(presenting())).source, 'primary');
    assert.deepEqual(requests(), ['GET 404', 'GET 200']);
  });

  it('never writes to the registry for vakt check, which reports what the agent will do', async () => {
    const options = presenting();
    const identity = byKey({}, { ...context, mayCreate: false });
    await failureOf(identity.present(options), 'MODULE_UNKNOWN', 'absent');
    assert.deepEqual(requests(), ['GET 404']);
    assert.match(options.steps.at(-1)?.remedy ?? '', /^Start the agent, which creates it/);
  });

  it('uses a device key that was replaced, and reads the keys again with it', async () => {
    const identity = byKey();
    identity.accepted?.(await identity.present(presenting()));
    key = hub.regenerateKeys({ deviceId: DEVICE }).primaryKey;
    write('device.key', key);
    await identity.present(presenting());
    assert.deepEqual(requests(), ['GET 404', 'PUT 201', 'GET 200']);
  });

  it('keeps the keys, when a new device key does not work', async () => {
    const identity = byKey();
    identity.accepted?.(await identity.present(presenting()));
    write('device.key', newKey());
    await failureOf(identity.present(presenting()), 'CREDENTIAL_REFUSED', 'credentials');
    write('device.key', 'garbage');
    await failureOf(identity.present(presenting()), 'SECRET_FILE_MALFORMED', 'credentials');
    write('device.key', key);
    await identity.present(presenting());
    assert.deepEqual(requests(), ['GET 404', 'PUT 201', 'GET 401']);
  });

  it('knows its secrets: the key of the device, and those of the module', async () => {
    const identity = byKey();
    assert.deepEqual(identity.secrets(), [key]);
    await identity.present(presenting());
    const { primaryKey, secondaryKey } = keysOf();
    assert.deepEqual(new Set(identity.secrets()), new Set([key, primaryKey, secondaryKey]));
  });

  it('writes no secret to its log and into its steps', async () => {
    const identity = byKey();
    const options = presenting();
    await identity.present(options);
    identity.failed?.(await identity.present(options), refused());
    await identity.present(options);
    const text = `${context.captured.text()}${JSON.stringify(options.steps)}`;
    for (const secret of identity.secrets()) assert.ok(!text.includes(secret.slice(0, 12)));
    assert.doesNotMatch(text, /SharedAccessSignature|sig=/);
  });

  it('names the file of the key, and the hub, when the hub refuses the key', async () => {
    const identity = byKey();
    write('device.key', newKey());
    const { error } = await failureOf(identity.present(presenting()), 'CREDENTIAL_REFUSED', 'credentials');
    assert.match(`${error.message} ${error.remedy}`, /emulator\.azure-devices\.net .*device\.key/);
  });

  it('aborts the start without a hub, without the file, and with a module key instead', () => {
    errorOf(() => byKey({}, contextWith({})), 'CONFIG_INCOMPLETE');
    key = 'no key';
    const { remedy } = errorOf(() => byKey(), 'SECRET_FILE_MALFORMED');
    assert.match(remedy, /device's primary key .*az iot hub device-identity show/);
  });

  describe('by certificate', () => {
    beforeEach(() => {
      hub.addDevice({ deviceId: DEVICE, credential: { type: 'selfSigned', primaryThumbprint: own.thumbprint } });
    });

    it('reads the keys as the device, and is the module', async () => {
      const identity = createIdentity(settings(), context);
      const options = presenting();
      const presentation = await identity.present(options);
      assert.ok(await isSignedBy(presentation, keysOf().primaryKey));
      assert.deepEqual(
        options.steps.map(({ name }) => name),
        ['certificate', 'registry'],
      );
      assert.deepEqual(hub.restRequests[0]?.caller, { deviceId: DEVICE, thumbprint: own.thumbprint });
      assert.equal(presentation.deviceCertificate?.expiresAt.toISOString(), inSeconds(own.notAfter).toISOString());
    });

    it('sends no request with a certificate of another device', async () => {
      const identity = createIdentity(settings(), context);
      const other = await (await CertificateAuthority.create()).issue({ commonName: 'dev2' });
      write('device.pem', other.chainPem);
      write('device.pem.key', other.keyPem);
      const { error } = await failureOf(identity.present(presenting()), 'CERTIFICATE_WRONG_NAME', 'credentials');
      assert.match(error.message, /device\.pem has the CN "dev2" instead of "dev1"/);
      assert.deepEqual(requests(), []);
    });

    it('uses a renewed certificate', async () => {
      const identity = createIdentity(settings(), context);
      identity.accepted?.(await identity.present(presenting()));
      const next = await selfSigned({ commonName: DEVICE });
      hub.addDevice({
        deviceId: DEVICE,
        credential: { type: 'selfSigned', primaryThumbprint: own.thumbprint, secondaryThumbprint: next.thumbprint },
      });
      write('device.pem', next.chainPem);
      write('device.pem.key', next.keyPem);
      await identity.present(presenting());
      assert.deepEqual(hub.restRequests.at(-1)?.caller, { deviceId: DEVICE, thumbprint: next.thumbprint });
    });

    it('reports that the hub refused the certificate, and names its file', async () => {
      hub.addDevice({ deviceId: DEVICE, credential: { type: 'selfSigned', primaryThumbprint: 'ab'.repeat(32) } });
      const identity = createIdentity(settings(), context);
      const { error } = await failureOf(identity.present(presenting()), 'CREDENTIAL_REFUSED', 'credentials');
      assert.match(error.remedy, /the certificate in .*device\.pem/);
    });
  });
});

/** The parts of a private key that must not be shown: all of its lines except a short last one. */
function assertHides(identity: Identity, key: string): void {
  const lines = key.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
  const long = lines.filter((line) => line.length >= 16);
  assert.ok(long.length >= 2);
  assert.deepEqual(identity.secrets(), long);
}

describe('moduleCertificate', () => {
  let own: IssuedCertificate;
  let write: ReturnType<typeof writer>;
  beforeEach(async () => {
    own = await selfSigned({ commonName: `${DEVICE}/${MODULE}` });
    write = writer(temporaryFolder());
  });

  const create = (context: IdentityContext = contextWith({ hub: { hostName: 'hub.example' } })) =>
    createIdentity(
      {
        kind: 'moduleCertificate',
        deviceId: DEVICE,
        moduleId: MODULE,
        certificateFile: write('m.pem', own.chainPem),
        keyFile: write('m.key', own.keyPem),
      },
      context,
    );

  it('presents the certificate as the proof', async () => {
    const identity = create();
    const { module, proof, source } = await identity.present(presenting());
    assert.deepEqual(module, {
      hostName: 'hub.example',
      deviceId: DEVICE,
      moduleId: MODULE,
      connectTo: 'hub.example',
    });
    assert.ok(proof.kind === 'certificate');
    assert.equal(proof.certificate, own.chainPem);
    assert.deepEqual(proof.expiresAt, inSeconds(own.notAfter));
    assert.equal(source, 'primary');
    assert.deepEqual(
      identity.files.map((file) => file.split('/').at(-1)),
      ['m.pem', 'm.key'],
    );
    assertHides(identity, proof.key);
  });

  it('reads the certificate again each time', async () => {
    const identity = create();
    const next = await selfSigned({ commonName: `${DEVICE}/${MODULE}` });
    write('m.pem', next.chainPem);
    write('m.key', next.keyPem);
    const { proof } = await identity.present(presenting());
    assert.ok(proof.kind === 'certificate');
    assert.equal(proof.certificate, next.chainPem);
    assertHides(identity, proof.key);
  });

  it('does not abort the start for a certificate with a wrong CN, but reports it before connecting', async () => {
    own = await (await CertificateAuthority.create()).issue({ commonName: DEVICE });
    const { error } = await failureOf(create().present(presenting()), 'CERTIFICATE_WRONG_NAME', 'credentials');
    assert.match(error.message, /has the CN "dev1" instead of "dev1\/azureiotsecurity"/);
  });

  it('aborts the start if the certificate is missing or malformed', () => {
    own = { ...own, keyPem: 'no key' };
    errorOf(() => create(), 'SECRET_FILE_MALFORMED');
    own = { ...own, chainPem: 'no certificate' };
    errorOf(() => create(), 'CERTIFICATE_FILE_UNUSABLE');
    errorOf(() => create(contextWith({})), 'CONFIG_INCOMPLETE');
  });
});
