import { X509Certificate } from 'node:crypto';
import { AgentError, messageOf } from '../base/errors.ts';
import { readNamedFile } from '../base/plain-file.ts';

/** In bytes; Debian's bundle of all authorities has 220 KB. */
const MAX_FILE_BYTES = 1024 * 1024;

/**
 * Reads the certificate authorities to trust instead of Node's own list. The SDK can't be left to read the file: if it is
 * unreadable, the SDK uses its name as the certificate, without an error.
 *
 * @param setting that names the file, for the message
 * @returns PEM
 * @throws AgentError CA_FILE_UNUSABLE
 */
export function readTrustedCa(path: string, setting: string): string {
  try {
    const pem = readNamedFile(path, MAX_FILE_BYTES);
    const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (certificates.length === 0) throw new Error('it contains no PEM certificate');
    for (const certificate of certificates) new X509Certificate(certificate); // throws if it is malformed
    return certificates.join('\n');
  } catch (error) {
    const remedy = `Write the authority's certificate in PEM form to ${path}, and make the file readable by this program.`;
    throw new AgentError('CA_FILE_UNUSABLE', `${setting} ${path} can't be used: ${messageOf(error)}`, remedy);
  }
}
