import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { covers, isSignedWith, parseSasToken } from '../sas.ts';
import { type Attestation, deriveDeviceKey, type Enrollment } from './enrollments.ts';
import {
  invalidCertificate,
  type ProvisioningError,
  unauthorized,
  unknownAuthority,
  unknownEnrollment,
} from './errors.ts';
import type { DeviceCredential } from './hub-registry.ts';

/** What a client presents. */
export interface Proof {
  /** The leaf first, then what else it sent. Empty without a client certificate. */
  readonly chain: readonly X509Certificate[];
  readonly token: string | undefined;
}

/** Who a client says it is, and what it is judged by. */
export interface Claim {
  readonly idScope: string;
  readonly registrationId: string;
  readonly now: Date;
  readonly individual: Enrollment | undefined;
  readonly groups: readonly Enrollment[];
}

/** A device that has proved itself. */
export interface Attested {
  readonly enrollment: Enrollment;
  readonly registrationType: 'symmetricKey' | 'x509';
  /** What the device gets in its hub's registry. */
  readonly credential: DeviceCredential;
}

/** @throws ProvisioningError */
export function attest(proof: Proof, claim: Claim): Attested {
  const [leaf] = proof.chain;
  if (leaf !== undefined) return attestCertificate(leaf, proof.chain, claim);
  if (proof.token === undefined) throw unauthorized('neither a token nor a client certificate was presented');
  return attestToken(proof.token, claim);
}

function attestToken(text: string, { idScope, registrationId, now, individual, groups }: Claim): Attested {
  const token = parseSasToken(text);
  if (token === undefined) throw unauthorized('the token is not a shared access signature');
  if (token.policy !== 'registration')
    throw unauthorized(`the token's policy (skn) is "${token.policy ?? ''}", not "registration"`);
  const path = ['registrations', registrationId];
  if (!covers(token.resource, idScope, path) || token.resource.split('/').length !== 3)
    throw unauthorized(`the token is for ${token.resource}`);
  if (now.getTime() >= token.expiresAt.getTime())
    throw unauthorized(`the token expired at ${token.expiresAt.toISOString()}`);
  const candidates = individual === undefined ? groups : [individual];
  let withKeys = false;
  for (const enrollment of candidates) {
    const credential = keysOf(enrollment.attestation, registrationId);
    if (credential === undefined) continue;
    withKeys = true;
    if ([credential.primaryKey, credential.secondaryKey].some((key) => isSignedWith(token, key)))
      return { enrollment, registrationType: 'symmetricKey', credential };
  }
  if (withKeys) throw unauthorized(`the token is not signed with a key of ${registrationId}`);
  if (individual !== undefined) throw unauthorized(`${registrationId} is enrolled with a certificate, not with keys`);
  throw unknownEnrollment(`${registrationId} is not enrolled`);
}

function keysOf(attestation: Attestation, registrationId: string) {
  if (attestation.type !== 'keys' && attestation.type !== 'groupKeys') return undefined;
  const { type, primaryKey, secondaryKey } = attestation;
  const own = (key: string) => (type === 'keys' ? key : deriveDeviceKey(key, registrationId));
  return { type: 'sas', primaryKey: own(primaryKey), secondaryKey: own(secondaryKey) } as const;
}

function attestCertificate(leaf: X509Certificate, chain: readonly X509Certificate[], claim: Claim): Attested {
  const { registrationId, now, individual, groups } = claim;
  const name = commonName(leaf);
  if (name !== registrationId) throw unauthorized(`the certificate is for "${name}", not for "${registrationId}"`);
  if (!isValidAt(leaf, now))
    throw invalidCertificate(`the certificate is valid from ${leaf.validFrom} to ${leaf.validTo}`);
  const primaryThumbprint = thumbprint(leaf.fingerprint256);
  const attested = (enrollment: Enrollment): Attested => ({
    enrollment,
    registrationType: 'x509',
    credential: { type: 'selfSigned', primaryThumbprint },
  });
  if (individual !== undefined) {
    const { attestation } = individual;
    if (attestation.type !== 'thumbprint')
      throw unauthorized(`${registrationId} is enrolled with keys, not with a certificate`);
    const own = [primaryThumbprint, thumbprint(leaf.fingerprint)];
    if (attestation.thumbprints.some((wanted) => own.includes(thumbprint(wanted)))) return attested(individual);
    throw refusedThumbprint(registrationId);
  }
  const group = groups.find(({ attestation }) => {
    return (
      attestation.type === 'certificateAuthority' && isIssuedBy(chain, new X509Certificate(attestation.caPem), now)
    );
  });
  if (group === undefined) throw unknownAuthority('the certificate chains to no authority of an enrolment group');
  return attested(group);
}

const refusedThumbprint = (registrationId: string): ProvisioningError =>
  invalidCertificate(`the certificate is not one that ${registrationId} is enrolled with`);

/** Whether the chain, as far as it was sent in order, leads to the authority. */
function isIssuedBy(chain: readonly X509Certificate[], authority: X509Certificate, now: Date): boolean {
  for (const [index, certificate] of chain.entries()) {
    if (!isValidAt(certificate, now)) return false;
    if (certificate.checkIssued(authority) && certificate.verify(authority.publicKey)) return isValidAt(authority, now);
    const next = chain[index + 1];
    if (next === undefined || !next.ca || !certificate.checkIssued(next) || !certificate.verify(next.publicKey))
      return false;
  }
  return false;
}

const isValidAt = ({ validFrom, validTo }: X509Certificate, now: Date) =>
  Date.parse(validFrom) <= now.getTime() && now.getTime() < Date.parse(validTo);

/** Without colons, in capitals. */
const thumbprint = (text: string) => text.replaceAll(':', '').toUpperCase();

/** The CN of the subject; empty if there is none. */
const commonName = ({ subject }: X509Certificate) => /^CN=(.*)$/m.exec(subject ?? '')?.[1] ?? '';

/** The certificates that a TLS client sent, the leaf first. */
export function chainOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let certificate = socket.getPeerCertificate(true);
  while (certificate?.raw !== undefined && chain.length < 10) {
    chain.push(new X509Certificate(certificate.raw));
    if (certificate.issuerCertificate === undefined || certificate.issuerCertificate === certificate) break;
    certificate = certificate.issuerCertificate;
  }
  return chain;
}
