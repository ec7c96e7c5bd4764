import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { usableCertificate } from '../../../src/agent/identity/client-certificate.ts';
import { type Duration, days, hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { FailureId } from '../../../src/core/base/errors.ts';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../../src/emulator/certificates.ts';
import { withCopies } from '../../harness/copies.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { clockAt, failureOf, presenting, writer } from './support.ts';

describe('usableCertificate', () => {
  const notBefore = new Date('2026-01-01T00:00:00.000Z');
  const notAfter = new Date('2027-01-01T00:00:00.000Z');
  const during = new Date('2026-06-01T12:00:00.000Z');
  const expected = { commonName: 'dev1/m', settings: 'identity.deviceId and identity.moduleId' };
  let own: IssuedCertificate;
  let other: IssuedCertificate;
  before(async () => {
    own = await selfSigned({ commonName: 'dev1/m', notBefore, notAfter });
    other = await selfSigned({ commonName: 'dev1/m', notBefore, notAfter });
  });

  let files: { certificateFile: string; keyFile: string };
  let options: ReturnType<typeof presenting>;
  const put = (certificate: string, key: string) => {
    const write = writer(temporaryFolder());
    files = { certificateFile: write('c.pem', certificate), keyFile: write('k.pem', key) };
  };
  beforeEach(() => {
    put(own.chainPem, own.keyPem);
    options = presenting();
  });

  const use = (at: Date = during, commonName = expected.commonName) =>
    usableCertificate(files, { ...expected, commonName }, { ...options, clock: clockAt(at) });
  const refusal = (work: Promise<unknown>, id: FailureId) => failureOf(work, id, 'credentials', [own.keyPem]);
  const later = (date: Date, by: number) => new Date(date.getTime() + by);

  it('returns the proof, with the end of its validity', async () => {
    const { proof } = await use();
    assert.deepEqual(proof, {
      kind: 'certificate',
      certificate: own.certificatePem,
      key: `${own.keyPem.trim()}\n`,
      expiresAt: notAfter,
      dueAt: later(notAfter, -days(30)),
    });
  });

  it('refuses a certificate of another key', async () => {
    put(other.chainPem, own.keyPem);
    const { error } = await refusal(use(), 'CERTIFICATE_FILE_UNUSABLE');
    assert.match(error.message, /first certificate in .*c\.pem does not belong to the key in .*k\.pem/);
  });

  it('refuses a chain that does not begin with the certificate of the key', async () => {
    put(`${other.chainPem}${own.chainPem}`, own.keyPem);
    const { error } = await refusal(use(), 'CERTIFICATE_FILE_UNUSABLE');
    assert.match(error.remedy, /Put the certificate of the key first in .*c\.pem/);
  });

  for (const commonName of ['dev1/M', 'dev1', 'dev1/m2', '']) {
    it(`refuses the CN dev1/m where ${JSON.stringify(commonName)} is expected, naming both and the file`, async () => {
      const { error } = await refusal(use(during, commonName), 'CERTIFICATE_WRONG_NAME');
      assert.match(error.message, /c\.pem has the CN "dev1\/m" instead of /);
      assert.ok(error.message.includes(`instead of ${JSON.stringify(commonName)}`));
      assert.match(error.remedy, /correct identity\.deviceId and identity\.moduleId/);
    });
  }

  it('accepts a CN with every character that an id can have', async () => {
    const commonName = "a-.+%_#*?!(),:=@$'/b,c+d=e";
    const { chainPem, keyPem } = await selfSigned({ commonName, notBefore, notAfter });
    put(chainPem, keyPem);
    assert.ok(await use(during, commonName));
  });

  it('refuses an expired certificate, with the time of the clock', async () => {
    const { error } = await refusal(use(later(notAfter, 1_000)), 'CERTIFICATE_EXPIRED');
    assert.match(
      error.message,
      /c\.pem expired at 2027-01-01T00:00:00\.000Z; the device's clock says 2027-01-01T00:00:01/,
    );
    assert.match(
      error.remedy,
      /write the new certificate to .*c\.pem and its key to .*k\.pem; the agent then connects, without a restart\.$/,
    );
  });

  it('asks for a restart where a new file would not be used without one, and names the files', async () => {
    const [certificateFile, keyFile] = ['/etc/vakt/secrets/c.pem', '/etc/vakt/secrets/k.pem'];
    const copies = { [certificateFile]: files.certificateFile, [keyFile]: files.keyFile };
    const restart = '; then run: systemctl restart vakt.';
    const renew = `write the new certificate to ${certificateFile} and its key to ${keyFile}`;
    await withCopies(copies, async () => {
      files = { certificateFile, keyFile };
      const expired = await refusal(use(later(notAfter, 1_000)), 'CERTIFICATE_EXPIRED');
      assert.match(expired.error.message, /^the certificate in \/etc\/vakt\/secrets\/c\.pem expired/);
      assert.equal(expired.error.remedy, `Renew it: ${renew}${restart}`);
      const misnamed = await refusal(use(during, 'dev2/m'), 'CERTIFICATE_WRONG_NAME');
      assert.ok(misnamed.error.remedy.endsWith(`or correct identity.deviceId and identity.moduleId${restart}`));
      await use(later(notAfter, -days(29)));
      assert.equal(options.steps.at(-1)?.remedy, `Renew it soon: ${renew}${restart}`);
      writeFileSync(copies[keyFile] ?? '', other.keyPem);
      const mixed = await refusal(use(), 'CERTIFICATE_FILE_UNUSABLE');
      assert.ok(mixed.error.remedy.endsWith(restart), mixed.error.remedy);
    });
  });

  for (const [life, notice] of [
    [days(365), days(30)],
    [days(30), days(7.5)],
    [hours(1), minutes(15)],
  ] as const) {
    it(`reports that a certificate of ${life / days(1)} days expires soon when ${notice / days(1)} days are left`, async () => {
      const ends = later(notBefore, life);
      const short = await selfSigned({ commonName: 'dev1/m', notBefore, notAfter: ends });
      put(short.chainPem, short.keyPem);
      const { proof } = await use(later(ends, -notice));
      assert.deepEqual(proof.dueAt, later(ends, -notice));
      assert.equal(options.steps.at(-1)?.remedy, undefined);
      await use(later(ends, -notice + 1));
      assert.match(options.steps.at(-1)?.remedy ?? '', /^Renew it soon: /);
    });
  }

  it('accepts a self-signed certificate with another CN where the hub knows it by its thumbprint', async () => {
    const useAs = (more: object) =>
      usableCertificate(files, { commonName: 'dev2', settings: 's', ...more }, { ...options, clock: clockAt(during) });
    assert.ok(await useAs({ orThumbprint: true }));
    assert.match(
      options.steps.at(-1)?.remedy ?? '',
      /^Register its thumbprint at the hub.*the CN "dev1\/m" instead of "dev2"/,
    );
    await refusal(useAs({}), 'CERTIFICATE_WRONG_NAME');
    const issued = await (await CertificateAuthority.create()).issue({ commonName: 'dev1/m', notBefore, notAfter });
    put(issued.chainPem, issued.keyPem);
    await refusal(useAs({ orThumbprint: true }), 'CERTIFICATE_WRONG_NAME');
  });

  it('refuses a certificate that begins later, with the time of the clock', async () => {
    const { error } = await refusal(use(later(notBefore, -days(2))), 'CERTIFICATE_NOT_YET_VALID');
    assert.match(error.message, /is not valid before 2026-01-01.*; the device's clock says 2025-12-30/);
    assert.match(error.remedy, /Set the device's clock/);
  });

  it('reports that the clock is not set', async () => {
    const { error } = await refusal(use(new Date('1970-01-01T00:01:00Z')), 'CERTIFICATE_NOT_YET_VALID');
    assert.match(error.message, /the device's clock is not set \(1970-01-01/);
  });

  it('accepts a certificate that was issued just now, by a clock that is 5 minutes ahead', async () => {
    assert.ok(await use(later(notBefore, -minutes(5))));
    await refusal(use(later(notBefore, -minutes(5) - 1)), 'CERTIFICATE_NOT_YET_VALID');
  });

  for (const [what, first, second] of [
    ['has written the certificate only', () => [other.chainPem, own.keyPem], () => [other.chainPem, other.keyPem]],
    [
      'has written a part of the certificate',
      () => [own.chainPem.slice(0, 99), own.keyPem],
      () => [own.chainPem, own.keyPem],
    ],
    ['has written a part of the key', () => [own.chainPem, own.keyPem.slice(0, 50)], () => [own.chainPem, own.keyPem]],
  ] as const) {
    it(`waits 2 s for a renewal that ${what}`, async () => {
      const [certificate = '', key = ''] = first();
      put(certificate, key);
      const slept: Duration[] = [];
      const clock = clockAt(during, slept);
      const [newCertificate = '', newKey = ''] = second();
      const sleep: typeof clock.sleep = async (wait, signal) => {
        writeFileSync(files.certificateFile, newCertificate);
        writeFileSync(files.keyFile, newKey);
        await clock.sleep(wait, signal);
      };
      const { proof } = await usableCertificate(files, expected, { ...options, clock: { ...clock, sleep } });
      assert.deepEqual(slept, [seconds(2)]);
      assert.equal(proof.key.trim(), newKey.trim());
    });
  }

  it('ends at once when it is cancelled during that wait', async () => {
    put(other.chainPem, own.keyPem);
    const cancelled = new AbortController();
    const clock = clockAt(during);
    const sleep: typeof clock.sleep = async () => cancelled.abort(new Error('stopped'));
    const work = usableCertificate(files, expected, { signal: cancelled.signal, clock: { ...clock, sleep } });
    await assert.rejects(work, /stopped/);
  });

  describe('for vakt check', () => {
    const remedyOf = () => {
      assert.equal(options.steps.length, 1);
      return options.steps[0]?.remedy;
    };

    it('describes the certificate', async () => {
      await use();
      const [step] = options.steps;
      assert.equal(step?.name, 'certificate');
      assert.match(step?.text ?? '', /c\.pem: CN=dev1\/m, self-signed, valid until 2027-01-01$/);
      assert.equal(remedyOf(), undefined);
      const [detail = ''] = step?.details ?? [];
      assert.match(detail, /^certificate 1: CN=dev1\/m, issued by CN=dev1\/m, from 2026-01-01T.* to 2027-01-01T/);
      assert.ok(detail.toLowerCase().includes(own.thumbprint) && detail.toLowerCase().includes(own.sha1Thumbprint));
      assert.ok(!JSON.stringify(step).includes(own.keyPem.split('\n')[1] ?? ''));
    });

    it('lists the chain', async () => {
      const root = await CertificateAuthority.create({ commonName: 'the root', notBefore, notAfter });
      const middle = await root.intermediate({ commonName: 'the middle', notBefore, notAfter });
      const leaf = await middle.issue({ commonName: 'dev1/m', notBefore, notAfter });
      put(leaf.chainPem, leaf.keyPem);
      await use();
      assert.match(options.steps[0]?.text ?? '', /issued by CN=the middle, with 1 more of its chain/);
      assert.match(options.steps[0]?.details?.[1] ?? '', /^certificate 2: CN=the middle, issued by CN=the root/);
      assert.equal(remedyOf(), undefined);
    });

    it('asks for a renewal from 30 days before the end', async () => {
      await use(later(notAfter, -days(30)));
      assert.equal(remedyOf(), undefined);
      options = presenting();
      await use(later(notAfter, -days(30) + 1));
      assert.match(remedyOf() ?? '', /Renew it soon: write the new certificate to .*c\.pem/);
    });

    it('names a chain that is not in order', async () => {
      const otherAuthority = await CertificateAuthority.create({ commonName: 'otherAuthority', notBefore, notAfter });
      put(`${own.chainPem}${otherAuthority.certificatePem}`, own.keyPem);
      await use();
      assert.match(remedyOf() ?? '', /c\.pem: certificate 2 did not sign certificate 1/);
    });

    it('names an authority that has expired', async () => {
      const root = await CertificateAuthority.create({ notBefore, notAfter });
      const end = new Date('2026-03-01T00:00:00Z');
      const middle = await root.intermediate({ commonName: 'old', notBefore, notAfter: end });
      const leaf = await middle.issue({ commonName: 'dev1/m', notBefore, notAfter });
      put(leaf.chainPem, leaf.keyPem);
      await use();
      assert.match(remedyOf() ?? '', /certificate CN=old in .*c\.pem, which expired on 2026-03-01/);
    });

    it('does not describe an unusable certificate', async () => {
      await refusal(use(later(notAfter, 1_000)), 'CERTIFICATE_EXPIRED');
      assert.deepEqual(options.steps, []);
    });
  });
});
