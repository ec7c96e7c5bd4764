import { X509Certificate } from 'node:crypto';
import { AgentError, messageOf } from '../base/errors.ts';
import { readNamedFile } from '../base/plain-file.ts';

/** In bytes; Debian's list of all authorities has 220 KB. */
const LARGEST = 1024 * 1024;

/**
 * Reads the certificate authorities to trust instead of Node's own list. The SDK would take an unreadable file's name
 * for the certificate itself, and say nothing.
 *
 * @returns PEM
 * @throws AgentError CA_FILE_UNUSABLE
 */
export function readTrustedCa(path: string): string {
  try {
    const pem = readNamedFile(path, LARGEST);
    const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (certificates.length === 0) throw new Error('it holds no certificate in PEM form');
    for (const certificate of certificates) new X509Certificate(certificate); // throws when it is damaged
    return certificates.join('\n');
  } catch (error) {
    const remedy = `Put the authority's certificate, in PEM form, into ${path}, readable by the agent.`;
    throw new AgentError('CA_FILE_UNUSABLE', `hub.trustedCaFile ${path} can't be used: ${messageOf(error)}`, remedy);
  }
}
