import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { systemClock } from '../../../core/base/clock.ts';
import { days } from '../../../core/base/duration.ts';
import { AgentError } from '../../../core/base/errors.ts';
import { HubFailure } from '../../../core/contract/hub.ts';
import type { Target } from '../../../core/network/network.ts';
import { type Finding, failed, note, ok, seen } from './finding.ts';

const NAME = 'TLS';
/** Hubs renew their certificates in time; the operator of a gateway must do that. */
const SOON = days(14);
/** Maximum number of characters: strings in a certificate are untrusted. */
const MAX_SHOWN = 120;
const MAX_CHAIN = 6;

/** Whether the peer's certificate is valid by the authorities that the agent trusts, and if not, why. */
export function validateCertificate(
  socket: TLSSocket,
  target: Target,
  trustedCaFile: string | undefined,
): { finding: Finding; failure?: HubFailure } {
  const chain = chainOf(socket.getPeerCertificate(true));
  const [certificate] = chain;
  const shown = certificate === undefined ? 'no certificate' : describe(certificate);
  const details = [
    `${socket.getProtocol()}, ${socket.getCipher().standardName}`,
    ...chain.map((one, index) => `certificate ${index + 1}: ${detail(one)}`),
    `trusted: ${authoritiesOf(target, trustedCaFile)}`,
  ];
  if (!socket.authorized || certificate === undefined) {
    const { why, remedy } = explain(String(socket.authorizationError), target, certificate, trustedCaFile);
    const error = new AgentError('TLS_FAILED', `${target.host} is not trusted: ${why} (${shown})`, remedy);
    return { finding: seen(failed(NAME, error), details), failure: new HubFailure(error, 'network') };
  }
  const left = Date.parse(certificate.valid_to) - systemClock.now().getTime();
  const finding =
    left < SOON
      ? note(NAME, `the certificate of ${target.host} expires soon (${shown})`, 'Renew it.')
      : ok(NAME, `${target.host} is trusted (${shown}, ${socket.getProtocol()})`);
  return { finding: seen(finding, details) };
}

/** The certificate and those that signed it. The last one refers to itself. */
function chainOf(first: DetailedPeerCertificate): DetailedPeerCertificate[] {
  const chain: DetailedPeerCertificate[] = [];
  let next: DetailedPeerCertificate | undefined = first;
  while (next?.raw !== undefined && !chain.includes(next) && chain.length < MAX_CHAIN) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}

const authoritiesOf = ({ trustedCa }: Target, file: string | undefined): string => {
  if (trustedCa !== undefined) return 'those that the identity names';
  return file ?? "Node's list of authorities";
};

/** @param code of OpenSSL's X509_verify_cert_error_string(3), or Node's code for a wrong name */
function explain(
  code: string,
  target: Target,
  certificate: DetailedPeerCertificate | undefined,
  trustedCaFile: string | undefined,
): { why: string; remedy: string } {
  const now = `the device's clock, which shows ${systemClock.now().toISOString()}`;
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return {
        why: `a certificate of its chain has expired, according to ${now}`,
        remedy: 'Set the clock, or renew the certificate.',
      };
    case 'CERT_NOT_YET_VALID':
      return {
        why: `a certificate of its chain is not valid yet, according to ${now}`,
        remedy: 'Set the clock, for example by NTP.',
      };
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return {
        why: `its certificate is for another name: ${cut(certificate?.subjectaltname ?? 'none')}`,
        remedy: 'Set hub.hostName or hub.gatewayHostName to a name in the certificate.',
      };
    default: {
      const remedy =
        target.trustedCa === undefined
          ? `If the certificate is the right one, set hub.trustedCaFile to the authority that signed it. If it is a proxy's, exempt ${target.host} from TLS interception.`
          : `Check that ${target.host} is the gateway of that service, and that no proxy on the way replaces its certificate.`;
      return {
        why: `its chain does not end at an authority of ${authoritiesOf(target, trustedCaFile)} (${cut(code)})`,
        remedy,
      };
    }
  }
}

type Name = Readonly<Record<string, string | readonly string[] | undefined>> | undefined;

function describe({ subject, issuer, valid_to }: DetailedPeerCertificate): string {
  const name = (entity: Name) => cut(entity?.CN ?? entity?.O ?? 'unnamed');
  return `certificate of ${name(subject as unknown as Name)}, by ${name(issuer as unknown as Name)}, valid until ${day(valid_to)}`;
}

function detail({ subject, issuer, valid_from, valid_to, fingerprint256 }: DetailedPeerCertificate): string {
  const names = (entity: Name) =>
    cut(
      Object.entries(entity ?? {})
        .map(([key, value]) => `${key}=${value}`)
        .join(', ') || 'unnamed',
    );
  const dates = `from ${moment(valid_from)} to ${moment(valid_to)}`;
  const thumbprint = `SHA-256 ${String(fingerprint256).replaceAll(':', '')}`;
  return `${names(subject as unknown as Name)}, issued by ${names(issuer as unknown as Name)}, ${dates}, ${thumbprint}`;
}

function moment(time: string): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? cut(time) : date.toISOString();
}

const day = (time: string): string => moment(time).slice(0, 10);

const cut = (value: string | readonly string[]): string => String(value).slice(0, MAX_SHOWN);
