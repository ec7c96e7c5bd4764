import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { messageOf } from '../core/base/errors.ts';
import { type Credential, type IdentityId, nameOf } from './identity.ts';

/** Cached, because Node returns the chain only to the first call of getPeerX509Certificate for a connection. */
const read = new WeakMap<TLSSocket, readonly X509Certificate[]>();

/** The certificates that a TLS client presented: its own, then its chain as sent. Not verified. */
export function certificatesOf(stream: TLSSocket): readonly X509Certificate[] {
  const known = read.get(stream);
  if (known !== undefined) return known;
  const sent: X509Certificate[] = [];
  let next = stream.getPeerX509Certificate();
  while (next !== undefined && sent.length < LONGEST_CHAIN) {
    sent.push(next);
    next = next.issuerCertificate;
  }
  read.set(stream, sent);
  return sent;
}

const LONGEST_CHAIN = 10;

/**
 * Validates a client certificate as a hub does: by its thumbprint, or by its chain to a registered authority and its CN.
 * Source: "Authenticate identities with X.509 certificates" (IoT Hub).
 *
 * @returns the reason for a refusal, or `undefined`
 */
export function whyRefused(
  certificates: readonly X509Certificate[],
  id: IdentityId,
  credential: Credential,
  { authorities, now }: { readonly authorities: readonly X509Certificate[]; readonly now: Date },
): string | undefined {
  const [own] = certificates;
  if (own === undefined) return 'the client presented no certificate';
  if (credential.type === 'sas') return `${nameOf(id)} has keys; it must present a token, not a certificate`;
  if (credential.type === 'selfSigned') {
    const { primaryThumbprint, secondaryThumbprint } = credential;
    const isRegistered = [primaryThumbprint, secondaryThumbprint].some((text) => isThumbprint(text, own));
    if (!isRegistered) return `the certificate's thumbprint ${thumbprintOf(own)} is not registered for ${nameOf(id)}`;
    return whyInvalidAt(now, own);
  }
  if (commonNameOf(own) !== nameOf(id)) return `the certificate's CN is "${commonNameOf(own)}", not "${nameOf(id)}"`;
  return whyUntrusted(certificates, { authorities, now });
}

/** The reason why the first certificate, the client's own, does not chain to an authority or is not valid now. */
export function whyUntrusted(
  certificates: readonly X509Certificate[],
  { authorities, now }: { readonly authorities: readonly X509Certificate[]; readonly now: Date },
): string | undefined {
  const path = pathTo(authorities, certificates);
  if (path === undefined) return "the certificate's chain does not end at a registered authority";
  for (const certificate of path) {
    const reason = whyInvalidAt(now, certificate);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** SHA-256, as hexadecimal digits in lower case. */
export const thumbprintOf = ({ fingerprint256 }: X509Certificate) => digits(fingerprint256);

/** The subject's CN, without the quoting of special characters. */
export function commonNameOf({ subject }: X509Certificate): string | undefined {
  const line = subject.split('\n').findLast((text) => text.startsWith('CN='));
  return line?.slice('CN='.length).replaceAll(/\\(.)/g, '$1');
}

/** Reads an authority's certificate. @throws RangeError if it is not one */
export function readAuthority(pem: string): X509Certificate {
  const certificate = parsed(pem);
  if (!certificate.ca)
    throw new RangeError(`The certificate of "${commonNameOf(certificate)}" is not that of an authority.`);
  return certificate;
}

function parsed(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new RangeError(`The certificate is malformed: ${messageOf(cause)}`, { cause });
  }
}

const digits = (fingerprint: string) => fingerprint.replaceAll(':', '').toLowerCase();

const isThumbprint = (text: string | undefined, { fingerprint, fingerprint256 }: X509Certificate) =>
  text !== undefined && [fingerprint, fingerprint256].some((own) => digits(own) === text.toLowerCase());

/** The path from the client's certificate to the first registered authority, both included. */
function pathTo(
  authorities: readonly X509Certificate[],
  certificates: readonly X509Certificate[],
): X509Certificate[] | undefined {
  const path = certificates.slice(0, 1);
  for (let current = path[0]; current !== undefined; current = path.at(-1)) {
    const subject = current;
    const end = authorities.find((authority) => issued(authority, subject));
    if (end !== undefined) return [...path, end];
    const next = certificates.find((sent) => sent.ca && !path.includes(sent) && issued(sent, subject));
    if (next === undefined) return undefined;
    path.push(next);
  }
  return undefined;
}

const issued = (issuer: X509Certificate, subject: X509Certificate) =>
  subject.checkIssued(issuer) && subject.verify(issuer.publicKey);

function whyInvalidAt(now: Date, certificate: X509Certificate): string | undefined {
  const which = certificate.ca ? `the authority's certificate "${commonNameOf(certificate)}"` : 'the certificate';
  const from = new Date(certificate.validFrom);
  const to = new Date(certificate.validTo);
  if (now < from) return `${which} is not valid before ${from.toISOString()}`;
  if (now > to) return `${which} expired at ${to.toISOString()}`;
  return undefined;
}
