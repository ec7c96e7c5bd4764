import { isIP } from 'node:net';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import { systemClock } from '../../base/clock.ts';
import { days } from '../../base/duration.ts';
import { errnoOf, messageOf } from '../../base/errors.ts';
import { readTrustedCa } from '../../hub/trusted-ca.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import { type Check, type Peer, step } from './situation.ts';

const NAME = 'TLS';
/** Hubs renew theirs in time; a gateway's is the operator's own. */
const SOON = days(14);
/** Of what a stranger writes into a certificate. */
const MOST_SHOWN = 120;

/** Whether who answers is who it should be, by the authorities that the agent would believe; and if not, why. */
export const tls: Check = {
  name: NAME,
  needs: ['secrets', 'TCP'],
  async run({ peer, local, signal }) {
    if (peer === undefined) return [];
    const { trustedCaFile } = local.hub;
    const socket = connect({
      host: peer.host,
      port: peer.port,
      ...(isIP(peer.host) === 0 ? { servername: peer.host } : {}), // RFC 6066 allows no address
      minVersion: 'TLSv1.2',
      rejectUnauthorized: false, // so that it can be said what is wrong; nothing is sent
      ...(trustedCaFile === undefined ? {} : { ca: readTrustedCa(trustedCaFile) }),
    });
    try {
      const secured = new Promise<void>((resolve, reject) => {
        socket.once('secureConnect', resolve);
        socket.on('error', reject);
      });
      await step('the TLS handshake', secured, signal);
      return [judge(socket, peer, trustedCaFile)];
    } catch (error) {
      signal.throwIfAborted();
      const what = `${peer.host}:${peer.port} agrees on no TLS: ${errnoOf(error) ?? messageOf(error)}`;
      return [
        wrong(NAME, what, 'Look for what answers there: it must speak TLS 1.2 or newer (a proxy may be between).'),
      ];
    } finally {
      socket.destroy();
    }
  },
};

function judge(socket: TLSSocket, peer: Peer, trustedCaFile: string | undefined): Finding {
  const certificate = socket.getPeerCertificate(true);
  const shown = describe(certificate);
  if (!socket.authorized) {
    const { why, remedy } = explain(String(socket.authorizationError), peer, certificate, trustedCaFile);
    return wrong(NAME, `${peer.host} is not trusted: ${why} (${shown})`, remedy);
  }
  const left = Date.parse(certificate.valid_to) - systemClock.now().getTime();
  if (left < SOON) return note(NAME, `the certificate of ${peer.host} ends soon (${shown})`, 'Renew it.');
  return ok(NAME, `${peer.host} is trusted (${shown}, ${socket.getProtocol()})`);
}

/** Codes of OpenSSL's X509_verify_cert_error_string(3), and Node's own for a wrong name. */
function explain(
  code: string,
  { host }: Peer,
  { subjectaltname = '' }: DetailedPeerCertificate,
  trustedCaFile: string | undefined,
): { why: string; remedy: string } {
  const now = `the device's clock, which says ${systemClock.now().toISOString()}`;
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return {
        why: `a certificate of its chain has expired, by ${now}`,
        remedy: 'Set the clock, or renew the certificate.',
      };
    case 'CERT_NOT_YET_VALID':
      return {
        why: `a certificate of its chain is not valid yet, by ${now}`,
        remedy: 'Set the clock, for instance by NTP.',
      };
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return {
        why: `its certificate is for another name: ${cut(subjectaltname)}`,
        remedy: 'Set hub.hostName or hub.gatewayHostName to a name that the certificate has.',
      };
    default: {
      const by = trustedCaFile === undefined ? "Node's list of authorities" : trustedCaFile;
      return {
        why: `its chain leads to no authority of ${by} (${code})`,
        remedy: `Set hub.trustedCaFile to the authority that signed it, if it is the right one; if it is a proxy's, let the connection to ${host} pass unopened.`,
      };
    }
  }
}

function describe({ subject, issuer, valid_to }: DetailedPeerCertificate): string {
  const name = (entity: typeof subject | undefined) => cut(entity?.CN ?? entity?.O ?? 'nobody');
  return `certificate of ${name(subject)}, by ${name(issuer)}, valid until ${isoOf(valid_to)}`;
}

const isoOf = (time: string): string => {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? cut(time) : date.toISOString().slice(0, 10);
};

const cut = (value: string | string[]): string => String(value).slice(0, MOST_SHOWN);
