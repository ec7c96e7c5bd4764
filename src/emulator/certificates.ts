import 'reflect-metadata'; // must be loaded before @peculiar/x509
import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { days } from '../base/duration.ts';

/** A TLS server's certificate and key, and the authority that its clients must trust. All PEM. */
export interface ServerCertificate {
  readonly caPem: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/**
 * Creates a certificate authority, and a server certificate signed by it for the given names. Both are valid from one day
 * before `now` to one year after it. The authority's key is not kept, so it can't sign anything else.
 *
 * @param now the operating system's time, since TLS clients use that
 */
export async function createServerCertificate(hostNames: readonly string[], now: Date): Promise<ServerCertificate> {
  const validity = { notBefore: new Date(now.getTime() - days(1)), notAfter: new Date(now.getTime() + days(365)) };
  const caKeys = await webcrypto.subtle.generateKey(ALGORITHM, false, ['sign', 'verify']);
  const ca = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=Vakt hub emulator CA',
      serialNumber: serialNumber(),
      keys: caKeys,
      signingAlgorithm: ALGORITHM,
      ...validity,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(caKeys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const server = await x509.X509CertificateGenerator.create(
    {
      subject: `CN=${hostNames[0]}`,
      issuer: ca.subject,
      serialNumber: serialNumber(),
      publicKey: keys.publicKey,
      signingKey: caKeys.privateKey,
      signingAlgorithm: ALGORITHM,
      ...validity,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension([
          ...hostNames.map((value) => ({ type: 'dns' as const, value })),
          { type: 'ip', value: '127.0.0.1' },
        ]),
        await x509.AuthorityKeyIdentifierExtension.create(caKeys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    caPem: ca.toString('pem'),
    certificatePem: server.toString('pem'),
    keyPem: x509.PemConverter.encode(pkcs8, x509.PemConverter.PrivateKeyTag),
  };
}

/** Positive (RFC 5280, 4.1.2.2), and random so that certificates of two emulators differ in a client's cache. */
const serialNumber = () => `01${randomBytes(15).toString('hex')}`;
