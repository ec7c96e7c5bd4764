import 'reflect-metadata'; // @peculiar/x509 needs it loaded before itself
import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { days } from '../base/duration.ts';

/** What a TLS server needs, and what its clients must trust. All PEM. */
export interface ServerCertificate {
  readonly caPem: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/**
 * Makes a certificate authority and, signed by it, a server's certificate for the given names, both valid from a day
 * ago for a year. The authority's key is forgotten at once: nobody can ever sign anything else with it.
 *
 * @param now the operating system's time, since that is what TLS clients go by
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

/** Positive, and random so that no two emulators' certificates clash in a client's cache (RFC 5280, 4.1.2.2). */
const serialNumber = () => `01${randomBytes(15).toString('hex')}`;
