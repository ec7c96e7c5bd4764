import type { X509Certificate } from 'node:crypto';
import { type Clock, isPlausible } from '../../core/base/clock.ts';
import { thenUsed } from '../../core/base/credential-copies.ts';
import { type Duration, minutes, seconds } from '../../core/base/duration.ts';
import { AgentError, type FailureId, toAgentError } from '../../core/base/errors.ts';
import { HubFailure } from '../../core/contract/hub.ts';
import {
  beginningOf,
  type CertificateFiles,
  type ClientCertificate,
  dueDateOf,
  endOf,
  readClientCertificate,
} from './certificate-file.ts';
import type { PresentOptions, Proof, Step } from './identity.ts';

/** Whom a client certificate must be for. */
export interface ExpectedName {
  /** The subject's CN: `device`, `device/module` or a registration id. */
  readonly commonName: string;
  /** The settings that name it, for the remedy. */
  readonly settings: string;
  /** Whether a self-signed certificate may have another CN: the hub identifies it by its thumbprint. */
  readonly orThumbprint?: boolean;
}

export interface UsableCertificate extends ClientCertificate {
  readonly proof: Extract<Proof, { kind: 'certificate' }>;
}

/** A renewal writes two files; between the two they do not match. */
const RENEWAL: Duration = seconds(2);
/** A new certificate begins at its issuer's time, and this device's clock may be slow. */
const SKEW: Duration = minutes(5);

/**
 * Reads a client certificate, and checks all that can be checked without a network: that it belongs to its key, is valid
 * now, and is for the expected name. If it can't be used, the files are read a second time after 2 s, in case they are
 * being renewed.
 *
 * @throws HubFailure because of `credentials`
 */
export async function usableCertificate(
  files: CertificateFiles,
  expected: ExpectedName,
  { clock, signal, onStep }: PresentOptions & { readonly clock: Clock },
): Promise<UsableCertificate> {
  const read = () => checked(readClientCertificate(files), expected, clock.now());
  let certificate: ClientCertificate;
  try {
    certificate = read();
  } catch {
    await clock.sleep(RENEWAL, signal);
    signal.throwIfAborted();
    certificate = await orFail(read);
  }
  onStep?.(stepOf(certificate, expected, clock.now()));
  const { certificate: pem, key, certificates } = certificate;
  return {
    ...certificate,
    proof: {
      kind: 'certificate',
      certificate: pem,
      key,
      expiresAt: endOf(certificates[0]),
      dueAt: dueDateOf(certificates[0]),
    },
  };
}

async function orFail<T>(read: () => T): Promise<T> {
  try {
    return read();
  } catch (error) {
    throw new HubFailure(toAgentError(error), 'credentials');
  }
}

/** @throws AgentError CERTIFICATE_FILE_UNUSABLE, CERTIFICATE_WRONG_NAME, CERTIFICATE_EXPIRED, CERTIFICATE_NOT_YET_VALID */
function checked(certificate: ClientCertificate, expected: ExpectedName, now: Date): ClientCertificate {
  checkKey(certificate);
  checkName(certificate, expected);
  checkDates(certificate, now);
  return certificate;
}

function checkKey({ files, certificates: [own, ...chain], privateKey }: ClientCertificate): void {
  if (own.checkPrivateKey(privateKey)) return;
  const { certificateFile, keyFile } = files;
  const isLater = chain.some((certificate) => certificate.checkPrivateKey(privateKey));
  const remedy = isLater
    ? `Put the certificate of the key first in ${certificateFile}, then the authorities that signed it, each followed by its own`
    : `Copy the certificate and its private key again (a renewal with a new key writes both)`;
  const message = `the first certificate in ${certificateFile} does not belong to the key in ${keyFile}`;
  throw new AgentError('CERTIFICATE_FILE_UNUSABLE', message, `${remedy}${oncePut(files)}.`);
}

function checkName({ files, certificates: [own] }: ClientCertificate, expected: ExpectedName): void {
  const { commonName, settings, orThumbprint } = expected;
  const misnamed = misnamedAs(own, expected);
  if (misnamed === undefined || (orThumbprint === true && isSelfSigned(own))) return;
  const message = `the certificate in ${files.certificateFile} has ${misnamed}`;
  const remedy = `Use a certificate whose CN is ${JSON.stringify(commonName)}, or correct ${settings}${oncePut(files)}.`;
  throw new AgentError('CERTIFICATE_WRONG_NAME', message, remedy);
}

function checkDates({ files, certificates: [own] }: ClientCertificate, now: Date): void {
  const { certificateFile, keyFile } = files;
  const clock = isPlausible(now)
    ? `the device's clock says ${now.toISOString()}`
    : `the device's clock is not set (${now.toISOString()})`;
  const invalid = (id: FailureId, problem: string, remedy: string) =>
    new AgentError(id, `the certificate in ${certificateFile} ${problem}; ${clock}`, remedy);
  const [begins, ends] = [beginningOf(own), endOf(own)];
  if (now.getTime() + SKEW < begins.getTime()) {
    const remedy = "Set the device's clock, for example by NTP; the agent then connects at once.";
    throw invalid('CERTIFICATE_NOT_YET_VALID', `is not valid before ${begins.toISOString()}`, remedy);
  }
  if (now > ends) {
    const remedy = `Renew it: write the new certificate to ${certificateFile} and its key to ${keyFile}${oncePut(files, '; the agent then connects, without a restart')}.`;
    throw invalid('CERTIFICATE_EXPIRED', `expired at ${ends.toISOString()}`, remedy);
  }
}

const oncePut = ({ certificateFile, keyFile }: CertificateFiles, byItself?: string): string =>
  thenUsed([certificateFile, keyFile], byItself);

/** Which name it has instead of the expected one. */
function misnamedAs(own: X509Certificate, { commonName }: ExpectedName): string | undefined {
  const actual = commonNameOf(own);
  if (actual === commonName) return undefined;
  const has = actual === undefined ? 'no CN' : `the CN ${JSON.stringify(actual)}`;
  return `${has} instead of ${JSON.stringify(commonName)}`;
}

const isSelfSigned = (own: X509Certificate): boolean => own.issuer === own.subject && own.verify(own.publicKey);

/** The subject's CN; the last one, the most specific, if there are several. */
export function commonNameOf(certificate: X509Certificate): string | undefined {
  const names = certificate.toLegacyObject().subject.CN as unknown as string | string[] | undefined;
  return Array.isArray(names) ? names.at(-1) : names;
}

/** For `vakt check`. */
function stepOf({ files, certificates }: ClientCertificate, expected: ExpectedName, now: Date): Step {
  const [own] = certificates;
  const { certificateFile, keyFile } = files;
  const issuer = isSelfSigned(own) ? 'self-signed' : `issued by ${shown(own.issuer)}`;
  const chain = certificates.length === 1 ? '' : `, with ${certificates.length - 1} more of its chain`;
  const text = `${certificateFile}: ${shown(own.subject)}, ${issuer}${chain}, valid until ${day(endOf(own))}`;
  const details = certificates.map((certificate, index) => detail(certificate, index));
  const broken = certificates.findIndex((certificate, index) => {
    const next = certificates[index + 1];
    return next !== undefined && !isIssuer(next, certificate);
  });
  const misnamed = misnamedAs(own, expected);
  const expired = certificates.find((certificate) => endOf(certificate) < now);
  const remedy =
    now > dueDateOf(own)
      ? `Renew it soon: write the new certificate to ${certificateFile} and its key to ${keyFile}${oncePut(files, '; the agent then connects with them, without a restart')}.`
      : expired !== undefined
        ? `Replace the certificate ${shown(expired.subject)} in ${certificateFile}, which expired on ${day(endOf(expired))}${oncePut(files)}.`
        : broken !== -1
          ? `Correct the order in ${certificateFile}: certificate ${broken + 2} did not sign certificate ${broken + 1}${oncePut(files)}.`
          : misnamed !== undefined
            ? `Register its thumbprint at the hub, which knows a self-signed certificate by that: its subject has ${misnamed}.`
            : undefined;
  return { name: 'certificate', text, details, ...(remedy === undefined ? {} : { remedy }) };
}

const detail = (certificate: X509Certificate, index: number): string => {
  const hex = (fingerprint: string) => fingerprint.replaceAll(':', '');
  const { subject, issuer, fingerprint, fingerprint256 } = certificate;
  const dates = `from ${beginningOf(certificate).toISOString()} to ${endOf(certificate).toISOString()}`;
  const thumbprints = `SHA-256 ${hex(fingerprint256)}, SHA-1 ${hex(fingerprint)}`;
  return `certificate ${index + 1}: ${shown(subject)}, issued by ${shown(issuer)}, ${dates}, ${thumbprints}`;
};

const isIssuer = (issuer: X509Certificate, certificate: X509Certificate): boolean =>
  certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);

/** A name has a line for each of its parts. */
const shown = (name: string | undefined) => (name ?? '(no name)').split('\n').join(', ');

const day = (date: Date) => date.toISOString().slice(0, 10);
