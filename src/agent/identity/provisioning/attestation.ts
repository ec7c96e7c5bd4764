import { createHmac } from 'node:crypto';
import { readSecretFile } from '../../../core/base/secret-file.ts';
import { type CertificateFiles, readClientCertificate, secretLinesOf } from '../certificate-file.ts';
import { checkedKey, type KeyOwner } from '../sas-token.ts';

/** Where the device's proof is: one of the three ways that the settings allow. */
export type AttestationFiles =
  | { readonly proof: 'key'; readonly keyFile: string }
  | { readonly proof: 'groupKey'; readonly groupKeyFile: string }
  | ({ readonly proof: 'certificate' } & CertificateFiles);

/** Names the proof in messages. */
export const describeProof = (files: AttestationFiles): string => {
  if (files.proof === 'certificate') return `the certificate in ${files.certificateFile}`;
  return files.proof === 'key' ? `the key in ${files.keyFile}` : `the group's key in ${files.groupKeyFile}`;
};

export const filesOf = (files: AttestationFiles): readonly string[] => {
  if (files.proof === 'certificate') return [files.certificateFile, files.keyFile];
  return [files.proof === 'key' ? files.keyFile : files.groupKeyFile];
};

export interface DeviceKey {
  /** The device's own key, base64. Secret. */
  readonly key: string;
  /** Everything secret that was read or derived. */
  readonly secrets: readonly string[];
}

/**
 * Reads the device's key, or derives it from its group's.
 *
 * @throws AgentError SECRET_FILE_*
 */
export function readDeviceKey(
  files: Exclude<AttestationFiles, { proof: 'certificate' }>,
  registrationId: string,
): DeviceKey {
  if (files.proof === 'key') {
    const key = keyIn(files.keyFile, 'enrolment');
    return { key, secrets: [key] };
  }
  const groupKey = keyIn(files.groupKeyFile, 'enrolment group');
  const key = deriveDeviceKey(groupKey, registrationId);
  return { key, secrets: [groupKey, key] };
}

/**
 * Reads all files, as at the start of the agent.
 *
 * @returns everything secret in them
 * @throws AgentError SECRET_FILE_*, CERTIFICATE_FILE_UNUSABLE
 */
export const readSecrets = (files: AttestationFiles, registrationId: string): readonly string[] =>
  files.proof === 'certificate'
    ? secretLinesOf(readClientCertificate(files).key)
    : readDeviceKey(files, registrationId).secrets;

const keyIn = (file: string, owner: KeyOwner) => checkedKey(readSecretFile(file), file, owner);

/**
 * The key of a device in an enrolment group.
 * Source: "Symmetric key attestation with DPS", Group enrollments.
 *
 * @param groupKey base64
 * @returns base64
 */
export const deriveDeviceKey = (groupKey: string, registrationId: string): string =>
  createHmac('sha256', Buffer.from(groupKey, 'base64')).update(registrationId).digest('base64');
