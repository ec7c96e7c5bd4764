import assert from 'node:assert/strict';
import { secretLinesOf } from '../../src/agent/identity/certificate-file.ts';
import { days, minutes, seconds } from '../../src/core/base/duration.ts';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../src/emulator/certificates.ts';
import type { ConnectionRecord } from '../../src/emulator/connection-log.ts';
import { until } from '../harness/until.ts';
import { DEVICE, MODULE, STEADY, TestBed } from './test-bed.ts';

const COMMON_NAME = `${DEVICE}/${MODULE}`;
/** Time limit for the use of a changed file on a loaded machine. `npm run test:restarts` measures the 25 s of contract §1. */
const USED_WITHIN = minutes(1);

describe('An agent with a module certificate', function () {
  this.timeout('120s');
  let bed: TestBed;
  let first: IssuedCertificate;
  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    bed.startWith(STEADY); // events of other programs on this machine do not matter here
    first = await selfSigned({ commonName: COMMON_NAME });
    bed.writeConfiguration({
      identity: {
        kind: 'moduleCertificate',
        deviceId: DEVICE,
        moduleId: MODULE,
        certificateFile: 'module.pem',
        keyFile: 'module.pem.key',
      },
    });
  });
  afterEach(() => bed.close());

  const put = ({ chainPem, keyPem }: Pick<IssuedCertificate, 'chainPem' | 'keyPem'>, { reload = true } = {}) => {
    bed.write('module.pem', chainPem, 0o644);
    bed.write('module.pem.key', keyPem);
    for (const line of secretLinesOf(keyPem)) bed.secrets.add(line);
    if (reload) bed.lookNow();
  };
  const register = (primary: IssuedCertificate, secondary?: IssuedCertificate) =>
    bed.hub.addModule({
      deviceId: DEVICE,
      moduleId: MODULE,
      credential: {
        type: 'selfSigned',
        primaryThumbprint: primary.thumbprint,
        ...(secondary === undefined ? {} : { secondaryThumbprint: secondary.thumbprint }),
      },
    });
  const issued = async (commonName: string) => (await CertificateAuthority.create()).issue({ commonName });
  const connectedBy = ({ thumbprint }: IssuedCertificate, limit = USED_WITHIN): Promise<ConnectionRecord> =>
    bed.hub.waitForConnection((record) => record.admitted && record.thumbprint === thumbprint, limit);

  it('connects with a self-signed certificate, sends, and reports its expiry', async () => {
    put(first);
    register(first);
    const agent = bed.startAgent();
    await connectedBy(first);
    await bed.waitForEvents(() => bed.events().length > 0);
    const { credential } = await agent.waitForStatus(({ credential }) => credential.expiresAt !== undefined);
    assert.equal(credential.kind, 'moduleCertificate');
    assert.equal(credential.expiresSoon, false);
    assert.equal(Date.parse(credential.expiresAt ?? ''), Math.floor(first.notAfter.getTime() / 1_000) * 1_000);
  });

  it('connects with a certificate that an authority signed, with its chain', async () => {
    const root = await CertificateAuthority.create();
    const middle = await root.intermediate({ commonName: 'middle' });
    const leaf = await middle.issue({ commonName: COMMON_NAME, keyType: 'rsa' });
    bed.hub.addClientAuthority(root.certificatePem);
    bed.hub.addModule({ deviceId: DEVICE, moduleId: MODULE, credential: { type: 'certificateAuthority' } });
    put(leaf);
    bed.startAgent();
    await connectedBy(leaf);
    await bed.waitForEvents(() => bed.events().length > 0);
  });

  it('warns in the last quarter of its life', async () => {
    const notBefore = new Date(Date.now() - days(4));
    const notAfter = new Date(Date.now() + days(1));
    const short = await selfSigned({ commonName: COMMON_NAME, notBefore, notAfter });
    put(short);
    register(short);
    const agent = bed.startAgent();
    const { state } = await agent.waitForStatus(({ credential }) => credential.expiresSoon === true);
    assert.equal(state, 'degraded');
  });

  it('uses a renewed certificate within 25 s without disconnecting first', async () => {
    put(first);
    const next = await selfSigned({ commonName: COMMON_NAME });
    register(first, next);
    bed.startAgent();
    const before = await connectedBy(first);
    put(next, { reload: false });
    await connectedBy(next);
    await until('the end of the first connection', () => before.closedAt !== undefined);
    const admitted = bed.hub.connections.filter((record) => record.admitted);
    assert.equal(admitted.length, 2);
    assert.ok((before.closedAt?.getTime() ?? 0) >= (admitted[1]?.connectedAt.getTime() ?? 0), 'it left the hub first');
  });

  it('keeps the connection if the new file is invalid, and uses the next one', async () => {
    put(first);
    const next = await selfSigned({ commonName: COMMON_NAME });
    register(first, next);
    const agent = bed.startAgent();
    const before = await connectedBy(first);
    bed.write('module.pem', next.chainPem); // without its key
    bed.lookNow();
    await agent.waitForLog(({ id }) => id === 'CERTIFICATE_FILE_UNUSABLE', USED_WITHIN);
    await agent.waitForStatus(
      ({ hub, credential }) => hub.state === 'connected' && credential.error?.id === 'CERTIFICATE_FILE_UNUSABLE',
    );
    assert.equal(before.closedAt, undefined);
    put(next);
    await connectedBy(next);
    await agent.waitForStatus(({ credential }) => credential.error === undefined);
  });

  it('tries a refused certificate at most three times, and uses another one as soon as it exists', async () => {
    put(first);
    const other = await selfSigned({ commonName: COMMON_NAME });
    register(other);
    const agent = bed.startAgent();
    const refusals = () => bed.hub.connections.filter(({ admitted }) => !admitted).length;
    await until('three refusals', () => refusals() === 3, { limit: seconds(60) });
    const { remedy = '' } = (await agent.waitForStatus(({ hub }) => hub.state === 'refused')).hub;
    assert.match(remedy, /certificate/);
    put(other);
    await connectedBy(other);
    assert.equal(refusals(), 3);
    await agent.waitForStatus(({ hub }) => hub.state === 'connected');
  });

  for (const [certificate, id, make] of [
    ['a certificate with another CN', 'CERTIFICATE_WRONG_NAME', () => issued(DEVICE)],
    [
      'an expired certificate',
      'CERTIFICATE_EXPIRED',
      () => selfSigned({ commonName: COMMON_NAME, notAfter: new Date(Date.now() - 1_000) }),
    ],
    [
      'a certificate that is valid from tomorrow',
      'CERTIFICATE_NOT_YET_VALID',
      () => selfSigned({ commonName: COMMON_NAME, notBefore: new Date(Date.now() + 86_400_000) }),
    ],
  ] as const) {
    it(`does not connect with ${certificate}, keeps collecting, and uses a right one within 25 s`, async () => {
      const wrong = await make();
      put(wrong);
      register(first);
      const agent = bed.startAgent();
      const line = await agent.waitForLog((record) => record.id === id);
      assert.match(line.msg, /module\.pem/);
      assert.match(line.msg, /^vakt encountered an error! Error in: Authentication, /);
      await agent.waitForStatus(({ hub, delivery }) => hub.state === 'refused' && delivery.collected > 0);
      await agent.waitForStatus(({ credential }) => credential.error?.id === id);
      assert.deepEqual(bed.hub.connections, []);
      put(first);
      await connectedBy(first);
      await bed.waitForEvents(() => bed.events().length > 0);
    });
  }

  for (const [fault, spoil, id] of [
    ['no certificate', () => bed.write('module.pem', 'no certificate'), 'CERTIFICATE_FILE_UNUSABLE'],
    ['a key that others can read', () => bed.write('module.pem.key', first.keyPem, 0o644), 'SECRET_FILE_EXPOSED'],
    ['no key', () => bed.write('module.pem.key', ''), 'SECRET_FILE_MALFORMED'],
  ] as const) {
    it(`does not start with ${fault}`, async () => {
      put(first);
      spoil();
      const agent = bed.startAgent();
      assert.equal((await agent.exited).status, 77);
      assert.match(agent.output, new RegExp(`"id":"${id}"`));
    });
  }
});
