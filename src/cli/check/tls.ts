import { isIP } from 'node:net';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import { systemClock } from '../../base/clock.ts';
import { days } from '../../base/duration.ts';
import { errnoOf, messageOf } from '../../base/errors.ts';
import { readTrustedCa } from '../../network/trusted-ca.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { type Check, type Peer, type Situation, step } from './situation.ts';

const NAME = 'TLS';
/** Hubs renew their certificates in time; the operator of a gateway must do that. */
const SOON = days(14);
/** In characters: texts of a certificate are untrusted. */
const MAX_SHOWN = 120;

/** Whether the peer's certificate is valid by the authorities that the agent trusts, and if not, why. */
export const tls: Check = {
  name: NAME,
  needs: ['secrets', 'TCP'],
  async run({ peer, local, identity, signal }) {
    if (peer === undefined) return [];
    const { authorities, by } = trusted(local.hub.trustedCaFile, identity);
    const socket = connect({
      host: peer.host,
      port: peer.port,
      ...(isIP(peer.host) === 0 ? { servername: peer.host } : {}), // RFC 6066 allows no address
      minVersion: 'TLSv1.2',
      rejectUnauthorized: false, // to find out why a certificate is refused; nothing is sent
      ...(authorities === undefined ? {} : { ca: authorities }),
    });
    try {
      const secured = new Promise<void>((resolve, reject) => {
        socket.once('secureConnect', resolve);
        socket.on('error', reject);
      });
      await step('the TLS handshake', secured, signal);
      return [judge(socket, peer, by)];
    } catch (error) {
      signal.throwIfAborted();
      const what = `the TLS handshake with ${peer.host}:${peer.port} failed: ${errnoOf(error) ?? messageOf(error)}`;
      const remedy = 'Find out which server answers there: it must support TLS 1.2 or newer. A proxy may intercept.';
      return [wrong(NAME, what, remedy)];
    } finally {
      socket.destroy();
    }
  },
};

/** The authorities that the agent trusts at this peer, and what to call them. */
function trusted(
  trustedCaFile: string | undefined,
  identity: Situation['identity'],
): { readonly authorities?: string; readonly by: string } {
  const presented = 'identity' in identity ? identity.presentation?.module.trustedCa : undefined;
  if (presented !== undefined) return { authorities: presented, by: 'those that the identity names' };
  if (trustedCaFile !== undefined) return { authorities: readTrustedCa(trustedCaFile), by: trustedCaFile };
  return { by: "Node's list of authorities" };
}

function judge(socket: TLSSocket, peer: Peer, by: string): Finding {
  const certificate = socket.getPeerCertificate(true);
  const shown = describe(certificate);
  if (!socket.authorized) {
    const { why, remedy } = explain(String(socket.authorizationError), peer, certificate, by);
    return wrong(NAME, `${peer.host} is not trusted: ${why} (${shown})`, remedy);
  }
  const left = Date.parse(certificate.valid_to) - systemClock.now().getTime();
  if (left < SOON) return note(NAME, `the certificate of ${peer.host} expires soon (${shown})`, 'Renew it.');
  return ok(NAME, `${peer.host} is trusted (${shown}, ${socket.getProtocol()})`);
}

/** @param code of OpenSSL's X509_verify_cert_error_string(3), or Node's code for a wrong name */
function explain(
  code: string,
  { host }: Peer,
  { subjectaltname = '' }: DetailedPeerCertificate,
  by: string,
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
        why: `its certificate is for another name: ${cut(subjectaltname)}`,
        remedy: 'Set hub.hostName or hub.gatewayHostName to a name in the certificate.',
      };
    default: {
      return {
        why: `its chain does not end at an authority of ${by} (${code})`,
        remedy: `If the certificate is the right one, set hub.trustedCaFile to the authority that signed it. If it is a proxy's, exempt ${host} from TLS interception.`,
      };
    }
  }
}

function describe({ subject, issuer, valid_to }: DetailedPeerCertificate): string {
  const name = (entity: typeof subject | undefined) => cut(entity?.CN ?? entity?.O ?? 'unnamed');
  return `certificate of ${name(subject)}, by ${name(issuer)}, valid until ${isoOf(valid_to)}`;
}

const isoOf = (time: string): string => {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? cut(time) : date.toISOString().slice(0, 10);
};

const cut = (value: string | string[]): string => String(value).slice(0, MAX_SHOWN);
