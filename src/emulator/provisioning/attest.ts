import type { X509Certificate } from 'node:crypto';
import { commonNameOf, thumbprintOf, whyRefused, whyUntrusted } from '../client-certificates.ts';
import type { Credential } from '../identity.ts';
import { covers, isSignedWith, parseSasToken } from '../sas.ts';
import { type Attestation, deriveDeviceKey, type Enrollment } from './enrollments.ts';
import { invalidCertificate, unauthorized, unknownAuthority, unknownEnrollment } from './errors.ts';

/** The credentials that a client presents. */
export interface Proof {
  /** The leaf first, then the rest of the chain as sent. Empty without a client certificate. */
  readonly chain: readonly X509Certificate[];
  readonly token: string | undefined;
}

/** The client's claimed identity, and the enrolments that decide about it. */
export interface Claim {
  readonly idScope: string;
  readonly registrationId: string;
  readonly now: Date;
  readonly individual: Enrollment | undefined;
  readonly groups: readonly Enrollment[];
}

/** An authenticated device. */
export interface Attested {
  readonly enrollment: Enrollment;
  readonly registrationType: 'symmetricKey' | 'x509';
  /** The device's credential in its hub's registry. */
  readonly credential: Credential;
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
  const name = commonNameOf(leaf) ?? '';
  if (name !== registrationId) throw unauthorized(`the certificate's CN is "${name}", not "${registrationId}"`);
  const credential = { type: 'selfSigned', primaryThumbprint: thumbprintOf(leaf) } as const;
  if (individual !== undefined) {
    const { attestation } = individual;
    if (attestation.type !== 'thumbprint')
      throw unauthorized(`${registrationId} is enrolled with keys, not with a certificate`);
    const refusal = whyRefused(chain, { deviceId: registrationId }, attestation.credential, { authorities: [], now });
    if (refusal !== undefined) throw invalidCertificate(refusal);
    return { enrollment: individual, registrationType: 'x509', credential };
  }
  const refusals: string[] = [];
  for (const enrollment of groups) {
    const { attestation } = enrollment;
    if (attestation.type !== 'certificateAuthority') continue;
    const refusal = whyUntrusted(chain, { authorities: [attestation.authority], now });
    if (refusal === undefined) return { enrollment, registrationType: 'x509', credential };
    refusals.push(refusal);
  }
  const invalid = refusals.find((refusal) => !refusal.includes('does not end at'));
  if (invalid !== undefined) throw invalidCertificate(invalid);
  throw unknownAuthority('the certificate chains to no authority of an enrolment group');
}
