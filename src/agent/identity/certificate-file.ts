import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { sourceOf } from '../../core/base/credential-copies.ts';
import { days } from '../../core/base/duration.ts';
import { AgentError, messageOf } from '../../core/base/errors.ts';
import { readNamedFile } from '../../core/base/plain-file.ts';
import { readSecretFile } from '../../core/base/secret-file.ts';
import { shellWord } from '../../core/base/text.ts';

/** Where a client certificate is. */
export interface CertificateFiles {
  /** PEM: the client's own certificate, then its chain. Not secret. */
  readonly certificateFile: string;
  /** PEM of its private key. */
  readonly keyFile: string;
}

/** A client certificate as its files have it; client-certificate.ts checks whether it can be used. */
export interface ClientCertificate {
  readonly files: CertificateFiles;
  /** The client's own, then its chain in the file's order. */
  readonly certificates: readonly [X509Certificate, ...X509Certificate[]];
  /** PEM of all of them, without the text between them. */
  readonly certificate: string;
  /** PEM. Secret. */
  readonly key: string;
  /** The same. Secret. */
  readonly privateKey: KeyObject;
}

/** In bytes. A chain of ten certificates has 20 KB. */
const MAX_FILE_BYTES = 64 * 1024;
/** OpenSSL's servers verify at most 100, hubs about 10; every connection sends them all. */
const LONGEST_CHAIN = 10;
/** The last part of its life in which a certificate expires soon. */
const NOTICE = 1 / 4;
const LONGEST_NOTICE = days(30);

/**
 * Reads a client certificate with its chain and its private key. Both files are read each time.
 *
 * @throws AgentError CERTIFICATE_FILE_UNUSABLE, SECRET_FILE_*; without anything of the key
 */
export function readClientCertificate(files: CertificateFiles): ClientCertificate {
  const blocks = certificateBlocks(files.certificateFile);
  const [own, ...chain] = blocks.map((pem) => parsed(pem, files.certificateFile));
  if (own === undefined) throw new RangeError('there is no certificate'); // certificateBlocks has thrown then
  const key = readPrivateKey(files.keyFile);
  return { files, certificates: [own, ...chain], certificate: `${blocks.join('\n')}\n`, ...key };
}

function certificateBlocks(path: string): string[] {
  const blocks = readText(path).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw unusable(path, 'contains no PEM certificate');
  if (blocks.length > LONGEST_CHAIN) {
    throw unusable(path, `contains ${blocks.length} certificates, more than ${LONGEST_CHAIN}`);
  }
  return blocks;
}

function readText(path: string): string {
  try {
    return readNamedFile(sourceOf(path), MAX_FILE_BYTES);
  } catch (error) {
    throw unusable(path, `can't be read: ${messageOf(error)}`);
  }
}

function parsed(pem: string, path: string): X509Certificate {
  try {
    const certificate = new X509Certificate(pem);
    if (Number.isNaN(dueDateOf(certificate).getTime())) throw new Error('its dates are malformed');
    return certificate;
  } catch (error) {
    throw unusable(path, `contains a malformed certificate: ${messageOf(error)}`);
  }
}

const unusable = (path: string, problem: string) => {
  const remedy = `Write the certificate in PEM form to ${path}, then the certificates of its chain, and make the file readable by the agent: chmod 644 ${shellWord(path)}`;
  return new AgentError('CERTIFICATE_FILE_UNUSABLE', `${path} ${problem}`, remedy);
};

/** The lines of a private key, without their ends, for those who must not show it: a text may contain it with others. */
export const secretLinesOf = (key: string): readonly string[] =>
  key.split(/\s+/).filter((line) => line.length >= 16 && !line.startsWith('-----'));

/** Node 20 has the dates only as text, such as `Nov 26 17:04:06 2027 GMT`. */
export const beginningOf = ({ validFrom }: X509Certificate): Date => new Date(validFrom);
export const endOf = ({ validTo }: X509Certificate): Date => new Date(validTo);

/** When the certificate begins to expire soon. Authorities issue certificates for years, but also for a day or an hour. */
export function dueDateOf(certificate: X509Certificate): Date {
  const [begins, ends] = [beginningOf(certificate).getTime(), endOf(certificate).getTime()];
  return new Date(ends - Math.min(LONGEST_NOTICE, (ends - begins) * NOTICE));
}

const PRIVATE_KEY = /-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----[^-]+-----END \1-----/;
/** By PKCS #8, or by the older form with headers (RFC 1421). */
const ENCRYPTED = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: *\d,ENCRYPTED/m;

function readPrivateKey(path: string): Pick<ClientCertificate, 'key' | 'privateKey'> {
  const text = readSecretFile(path);
  if (ENCRYPTED.test(text)) {
    const message = `the key in ${path} is encrypted, and the agent has no passphrase`;
    const remedy = `Decrypt it: sh -c 'umask 077; openssl pkey -in "$1" -out "$1.new" && cat "$1.new" >"$1"; rm -f "$1.new"' sh ${shellWord(path)}`;
    throw new AgentError('SECRET_FILE_MALFORMED', message, remedy);
  }
  const [key] = PRIVATE_KEY.exec(text) ?? [];
  if (key === undefined) throw malformedKey(path, 'contains no PEM private key');
  const privateKey = parsedKey(key, path);
  const { asymmetricKeyType: type = 'unknown' } = privateKey;
  if (type !== 'rsa' && type !== 'ec') throw malformedKey(path, `contains a key of type ${type}, not RSA or EC`);
  return { key: `${key}\n`, privateKey };
}

function parsedKey(key: string, path: string): KeyObject {
  try {
    return createPrivateKey(key);
  } catch {
    throw malformedKey(path, 'contains a malformed private key'); // OpenSSL's message could quote some of the key
  }
}

function malformedKey(path: string, problem: string): AgentError {
  const remedy = `Copy the private key of the certificate again to ${path}, in PEM form, without a passphrase.`;
  return new AgentError('SECRET_FILE_MALFORMED', `${path} ${problem}`, remedy);
}
