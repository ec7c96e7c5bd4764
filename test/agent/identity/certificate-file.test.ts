import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { readClientCertificate, secretLinesOf } from '../../../src/agent/identity/certificate-file.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import { CertificateAuthority, type IssuedCertificate, selfSigned } from '../../../src/emulator/certificates.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { suiteFolder, temporaryFolder } from '../../harness/folders.ts';
import { errorOf, writer } from './support.ts';

describe('readClientCertificate', () => {
  let own: IssuedCertificate;
  let write: ReturnType<typeof writer>;
  before(async () => {
    own = await selfSigned({ commonName: 'dev1/m' });
  });
  beforeEach(() => {
    write = writer(temporaryFolder());
  });

  const read = (certificate: string, key: string, mode?: number) =>
    readClientCertificate({ certificateFile: write('c.pem', certificate, 0o644), keyFile: write('k.pem', key, mode) });

  it('reads a certificate and its key', () => {
    const { certificates, certificate, key, privateKey } = read(own.chainPem, own.keyPem);
    assert.equal(certificates.length, 1);
    assert.equal(certificate, own.certificatePem);
    assert.equal(key.trim(), own.keyPem.trim());
    assert.ok(certificates[0].checkPrivateKey(privateKey));
  });

  it('finds the secret lines of a key whatever its line ends', () => {
    const { key } = read(own.chainPem, own.keyPem.replaceAll('\n', '\r\n'));
    assert.ok(secretLinesOf(own.keyPem).length > 0);
    assert.deepEqual(secretLinesOf(key), secretLinesOf(own.keyPem));
  });

  it('reads a chain in its order, without the text between the certificates', async () => {
    const root = await CertificateAuthority.create();
    const middle = await root.intermediate({ commonName: 'middle' });
    const leaf = await middle.issue({ commonName: 'dev1/m' });
    const [one = '', two = ''] = leaf.chainPem.split(/(?<=-----END CERTIFICATE-----\n)/);
    const { certificates, certificate } = read(`Bag Attributes\n${one}\nsubject=middle\n${two}`, leaf.keyPem);
    assert.deepEqual(
      certificates.map(({ subject }) => subject),
      ['CN=dev1/m', 'CN=middle'],
    );
    assert.equal(certificate.match(/BEGIN/g)?.length, 2);
    assert.doesNotMatch(certificate, /Bag|subject/);
  });

  for (const [what, label, pem] of [
    ['RSA in PKCS #8', 'PRIVATE KEY', () => rsa().export({ type: 'pkcs8', format: 'pem' })],
    ['RSA in PKCS #1', 'RSA PRIVATE KEY', () => rsa().export({ type: 'pkcs1', format: 'pem' })],
    ['EC in SEC 1', 'EC PRIVATE KEY', () => ec().export({ type: 'sec1', format: 'pem' })],
    [
      'EC with its parameters before it, as openssl ecparam -genkey writes it',
      'EC PRIVATE KEY',
      () =>
        `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${ec().export({ type: 'sec1', format: 'pem' })}`,
    ],
  ] as const) {
    it(`reads a key of the form ${what}`, () => {
      const { key } = read(own.certificatePem, String(pem()));
      assert.match(key, new RegExp(`^-----BEGIN ${label}-----\n[^-]+-----END ${label}-----\n$`));
    });
  }
  const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const ec = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

  it('reads both from one file, if only its owner can read that', () => {
    const file = write('both.pem', `${own.keyPem}${own.certificatePem}`);
    assert.equal(readClientCertificate({ certificateFile: file, keyFile: file }).certificates.length, 1);
  });

  it('follows links of this user, as Kubernetes and certbot make them', () => {
    const folder = temporaryFolder();
    const files = ['c.pem', 'k.pem'].map((name) => {
      const target = writer(folder)(`real-${name}`, name === 'c.pem' ? own.chainPem : own.keyPem);
      symlinkSync(target, join(folder, name));
      return join(folder, name);
    });
    assert.ok(readClientCertificate({ certificateFile: files[0] ?? '', keyFile: files[1] ?? '' }));
  });

  for (const [what, text, says] of [
    ['that is empty', () => '', /contains no PEM certificate/],
    ['with a key only', () => own.keyPem, /contains no PEM certificate/],
    ['that is cut off', () => own.certificatePem.slice(0, -60), /contains no PEM certificate/],
    [
      'with a damaged certificate',
      () => own.certificatePem.replace(/\n[^\n]{20}/, '\nAAAAAAAAAAAAAAAAAAAA'),
      /contains a malformed certificate/,
    ],
    ['with eleven certificates', () => own.certificatePem.repeat(11), /contains 11 certificates, more than 10/],
    ['of 70 KB', () => `${own.certificatePem}${'x'.repeat(70_000)}`, /is larger than 65536 bytes/],
  ] as const) {
    it(`refuses a certificate file ${what}`, () => {
      const { message, remedy } = errorOf(() => read(text(), own.keyPem), 'CERTIFICATE_FILE_UNUSABLE', [own.keyPem]);
      assert.match(message, says);
      assert.match(message, /c\.pem/);
      assert.match(remedy, /Write the certificate in PEM form to .*c\.pem/);
    });
  }

  it('names a certificate file that does not exist', () => {
    const keyFile = write('k.pem', own.keyPem);
    const files = { certificateFile: '/nonexistent/c.pem', keyFile };
    assert.match(
      errorOf(() => readClientCertificate(files), 'CERTIFICATE_FILE_UNUSABLE').message,
      /\/nonexistent\/c\.pem can't be read.*ENOENT/,
    );
  });

  const passphrase = 'correct horse';
  for (const [what, key, says] of [
    ['that is empty', () => '', /contains no PEM private key/],
    ['with the certificate', () => own.certificatePem, /contains no PEM private key/],
    ['with a shared access key', () => Buffer.alloc(32, 7).toString('base64'), /contains no PEM private key/],
    ['that is cut off', () => own.keyPem.slice(0, -40), /contains no PEM private key/],
    [
      'with a damaged key',
      () => own.keyPem.replace(/\n[^\n]{20}/, '\nAAAAAAAAAAAAAAAAAAAA'),
      /contains a malformed private key/,
    ],
    [
      'with an Ed25519 key',
      () => String(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })),
      /type ed25519, not RSA or EC/,
    ],
    [
      'encrypted by PKCS #8',
      () =>
        String(
          createPrivateKey(own.keyPem).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-128-cbc', passphrase }),
        ),
      /is encrypted, and the agent has no passphrase/,
    ],
    [
      'encrypted in the older form',
      () =>
        String(createPrivateKey(own.keyPem).export({ type: 'sec1', format: 'pem', cipher: 'aes-128-cbc', passphrase })),
      /is encrypted, and the agent has no passphrase/,
    ],
  ] as const) {
    it(`refuses a key file ${what}`, () => {
      const text = key();
      const { message } = errorOf(() => read(own.certificatePem, text), 'SECRET_FILE_MALFORMED', [own.keyPem, text]);
      assert.match(message, says);
      assert.match(message, /k\.pem/);
    });
  }

  it('names the command that decrypts a key, and the command works', () => {
    const text = createPrivateKey(own.keyPem).export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-128-cbc',
      passphrase,
    });
    const { remedy } = errorOf(() => read(own.certificatePem, String(text)), 'SECRET_FILE_MALFORMED');
    const command = remedy
      .replace('Decrypt it: ', '')
      .replace('openssl pkey', `openssl pkey -passin "pass:${passphrase}"`); // instead of typing it
    execFileSync('sh', ['-c', command], { stdio: 'pipe' });
    const keyFile = /'([^']*k\.pem)'/.exec(remedy)?.[1] ?? '';
    assert.match(readFileSync(keyFile, 'utf8'), /BEGIN PRIVATE KEY/);
    assert.ok(read(own.certificatePem, readFileSync(keyFile, 'utf8')));
  });

  it('refuses a key that others can read', () => {
    assert.match(errorOf(() => read(own.certificatePem, own.keyPem, 0o644), 'SECRET_FILE_EXPOSED').remedy, /chmod 600/);
  });

  it('refuses a key file that does not exist', () => {
    const certificateFile = write('c.pem', own.certificatePem);
    errorOf(() => readClientCertificate({ certificateFile, keyFile: '/nonexistent' }), 'SECRET_FILE_MISSING');
  });

  it('never fails otherwise, whatever the files contain', () => {
    const folder = writer(suiteFolder());
    const pem = (label: string) =>
      fc
        .uint8Array({ maxLength: 200 })
        .map((bytes) => `-----BEGIN ${label}-----\n${Buffer.from(bytes).toString('base64')}\n-----END ${label}-----\n`);
    const cut = (text: string) => fc.nat(text.length).map((length) => text.slice(0, length));
    const text = (good: string, label: string) =>
      fc.oneof(fc.string({ maxLength: 100 }), pem(label), cut(good), fc.constant(good));
    fc.assert(
      fc.property(text(own.chainPem, 'CERTIFICATE'), text(own.keyPem, 'PRIVATE KEY'), (certificate, key) => {
        const files = { certificateFile: folder('c.pem', certificate), keyFile: folder('k.pem', key) };
        try {
          assert.ok(readClientCertificate(files).certificates.length > 0);
        } catch (error) {
          assert.ok(error instanceof AgentError, String(error));
          assert.match(error.id, /^(?:CERTIFICATE_FILE_UNUSABLE|SECRET_FILE_MALFORMED)$/);
        }
      }),
      { numRuns: fuzzRuns(2_000) },
    );
  });
});
