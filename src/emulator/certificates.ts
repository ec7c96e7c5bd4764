import 'reflect-metadata'; // must be loaded before @peculiar/x509
import { randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { systemClock } from '../core/base/clock.ts';
import { days } from '../core/base/duration.ts';

/** A TLS server's certificate with its chain, its key, and the root that its clients must trust. All PEM. */
export interface ServerCertificate {
  readonly caPem: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** A certificate with its private key. All PEM. */
export interface IssuedCertificate {
  readonly certificatePem: string;
  /** The certificate, followed by the intermediates up to the root, without it. */
  readonly chainPem: string;
  /** PKCS #8 */
  readonly keyPem: string;
  /** SHA-256 and SHA-1 of the certificate, as hexadecimal digits in lower case. */
  readonly thumbprint: string;
  readonly sha1Thumbprint: string;
  readonly notAfter: Date;
}

export interface CertificateOptions {
  readonly commonName: string;
  /** Default `ecdsa`, on P-256; RSA keys have 2048 bits. */
  readonly keyType?: 'ecdsa' | 'rsa';
  /** Default: from one day before to one year after the operating system's time, which TLS clients use too. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

export interface LeafOptions extends CertificateOptions {
  /** For a TLS server: its DNS names. The loopback addresses are always included. */
  readonly hostNames?: readonly string[];
}

/** The issuer of a certificate, with its certificates from itself up to the root. */
interface Issuer {
  readonly keys: webcrypto.CryptoKeyPair;
  readonly path: readonly x509.X509Certificate[];
}

const ALGORITHMS = {
  ecdsa: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  rsa: {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  },
} as const;

/**
 * A certificate authority: a root, or an intermediate below it. Issues certificates for servers, devices and modules,
 * including expired ones, for tests. Its key exists only in memory.
 */
export class CertificateAuthority {
  readonly #issuer: Issuer;

  private constructor(issuer: Issuer) {
    this.#issuer = issuer;
  }

  /** Creates a root. */
  static async create(options: Partial<CertificateOptions> = {}): Promise<CertificateAuthority> {
    return new CertificateAuthority(await authority({ commonName: 'Vakt hub emulator CA', ...options }, undefined));
  }

  /** Creates an intermediate authority, certified by this one. */
  async intermediate(options: CertificateOptions): Promise<CertificateAuthority> {
    return new CertificateAuthority(await authority(options, this.#issuer));
  }

  /** This authority's own certificate, to be registered at a hub. */
  get certificatePem(): string {
    return pem(this.#issuer.path.slice(0, 1));
  }

  /** The root's certificate, which clients of servers below it must trust. */
  get rootPem(): string {
    return pem(this.#issuer.path.slice(-1));
  }

  /** Issues a certificate for a client or, with `hostNames`, for a server. */
  issue(options: LeafOptions): Promise<IssuedCertificate> {
    return leaf(options, this.#issuer);
  }

  /** Issues a TLS server's certificate; the first name is its CN. */
  async issueServer(
    hostNames: readonly string[],
    options: Partial<CertificateOptions> = {},
  ): Promise<ServerCertificate> {
    const { chainPem, keyPem } = await this.issue({ commonName: hostNames[0] ?? 'localhost', hostNames, ...options });
    return { caPem: this.rootPem, certificatePem: chainPem, keyPem };
  }
}

/** Creates a certificate that is registered by its thumbprint. */
export const selfSigned = (options: LeafOptions): Promise<IssuedCertificate> => leaf(options, undefined);

/**
 * Creates a certificate authority, and a server certificate signed by it for the given names and the loopback addresses.
 * Both are valid from one day before `now` to one year after it.
 *
 * @param now the operating system's time, since TLS clients use that
 */
export async function createServerCertificate(hostNames: readonly string[], now: Date): Promise<ServerCertificate> {
  const validity = { notBefore: new Date(now.getTime() - days(1)), notAfter: new Date(now.getTime() + days(365)) };
  return (await CertificateAuthority.create(validity)).issueServer(hostNames, validity);
}

async function authority(options: CertificateOptions, issuer: Issuer | undefined): Promise<Issuer> {
  const keys = await makeKeys(options, false);
  const certificate = await sign(options, keys, issuer, [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
  ]);
  return { keys, path: [certificate, ...(issuer?.path ?? [])] };
}

async function leaf(options: LeafOptions, issuer: Issuer | undefined): Promise<IssuedCertificate> {
  const { hostNames } = options;
  const keys = await makeKeys(options, true);
  const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
  const { clientAuth, serverAuth } = x509.ExtendedKeyUsage;
  const certificate = await sign(options, keys, issuer, [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(
      options.keyType === 'rsa' ? digitalSignature | keyEncipherment : digitalSignature,
      true,
    ),
    new x509.ExtendedKeyUsageExtension([hostNames === undefined ? clientAuth : serverAuth]),
    ...(hostNames === undefined ? [] : [alternativeNames(hostNames)]),
  ]);
  const certificatePem = pem([certificate]);
  const { fingerprint, fingerprint256 } = new X509Certificate(certificatePem);
  const hexadecimal = (text: string) => text.replaceAll(':', '').toLowerCase();
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certificatePem,
    chainPem: pem([certificate, ...(issuer?.path.slice(0, -1) ?? [])]),
    keyPem: `${x509.PemConverter.encode(pkcs8, x509.PemConverter.PrivateKeyTag)}\n`,
    thumbprint: hexadecimal(fingerprint256),
    sha1Thumbprint: hexadecimal(fingerprint),
    notAfter: certificate.notAfter,
  };
}

const alternativeNames = (hostNames: readonly string[]) =>
  new x509.SubjectAlternativeNameExtension([
    ...hostNames.map((value) => ({ type: 'dns' as const, value })),
    ...['127.0.0.1', '::1'].map((value) => ({ type: 'ip' as const, value })),
  ]);

async function sign(
  { commonName, notBefore, notAfter }: CertificateOptions,
  keys: webcrypto.CryptoKeyPair,
  issuer: Issuer | undefined,
  extensions: readonly x509.Extension[],
): Promise<x509.X509Certificate> {
  const signer = issuer?.keys ?? keys;
  const subject = new x509.Name([{ CN: [commonName] }]).toString();
  const now = systemClock.now().getTime();
  return x509.X509CertificateGenerator.create(
    {
      subject,
      issuer: issuer?.path[0]?.subject ?? subject,
      serialNumber: serialNumber(),
      publicKey: keys.publicKey,
      signingKey: signer.privateKey,
      signingAlgorithm: ALGORITHMS[signer.privateKey.algorithm.name === 'ECDSA' ? 'ecdsa' : 'rsa'],
      notBefore: notBefore ?? new Date(now - days(1)),
      notAfter: notAfter ?? new Date(now + days(365)),
      extensions: [
        ...extensions,
        await x509.AuthorityKeyIdentifierExtension.create(signer.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
}

const makeKeys = ({ keyType = 'ecdsa' }: CertificateOptions, isExtractable: boolean) =>
  webcrypto.subtle.generateKey(ALGORITHMS[keyType], isExtractable, ['sign', 'verify']);

const pem = (certificates: readonly x509.X509Certificate[]) =>
  certificates.map((certificate) => `${certificate.toString('pem')}\n`).join('');

/** Positive (RFC 5280, 4.1.2.2), and random so that certificates of two emulators differ in a client's cache. */
const serialNumber = () => `01${randomBytes(15).toString('hex')}`;
