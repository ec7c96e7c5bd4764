import { isPlausible } from '../base/clock.ts';
import { thenUsed } from '../base/credential-copies.ts';
import { AgentError, type FailureId } from '../base/errors.ts';
import { HubFailure } from '../contract/hub.ts';
import type { ProxyError } from './tunnel.ts';

/** The target of the connection. */
export interface Destination {
  /** For messages: `host`, with the port where that says more. */
  readonly name: string;
  /** Description, if the name alone is not enough: `the provisioning service, host:port,`. */
  readonly service?: string;
  readonly host: string;
  /** `host:port`. */
  readonly target: string;
  /** The settings that name it. */
  readonly settings: string;
  /** How to trust its certificate, as the start of a sentence. Default: with hub.trustedCaFile. */
  readonly trust?: string;
  /** The id of the error when it can't be reached. */
  readonly unreachable: FailureId;
  /** By the device's wall clock. If it is wrong, good certificates are refused. */
  readonly now: Date;
}

/** A failed lookup. Its message quotes the name, which can contain any of the words below. */
const NAME = /^getaddrinfo /;
const CLOCK = /CERT_NOT_YET_VALID|CERT_HAS_EXPIRED|certificate is not yet valid|certificate has expired/i;
const TLS = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|ERR_OSSL|EPROTO|\bSSL\b|\bTLS\b|certificate|self.signed/i;

/** Says what an error of TLS, DNS or the operating system means. @param text one short line */
export function connectFailure({ code, text }: { code?: unknown; text: string }, to: Destination): HubFailure {
  const { name, service = name, host, target, settings, unreachable, now } = to;
  const description = `${code} ${text}`;
  const failure = (id: FailureId, message: string, remedy: string) =>
    new HubFailure(new AgentError(id, message, remedy), 'network');
  if (NAME.test(text)) {
    const remedy = `Check ${settings} and the device's DNS: getent hosts ${host}`;
    return failure(unreachable, `the name ${host} can't be resolved (${text})`, remedy);
  }
  if (CLOCK.test(description)) {
    const otherwise = "for example by NTP; if it is right, renew the server's certificate.";
    const remedy = isPlausible(now)
      ? `Set the device's clock (now ${now.toISOString()}), ${otherwise}`
      : setTheClock(now);
    return failure('TLS_FAILED', `the certificate of ${name} is not valid now (${text})`, remedy);
  }
  if (TLS.test(description)) {
    const { trust = trustedCaFileFor(name) } = to;
    const remedy = `${trust}, and make sure that no TLS-inspecting proxy on the way replaces it.`;
    return failure('TLS_FAILED', `the TLS handshake with ${name} failed (${text})`, remedy);
  }
  const remedy = `Check that the network lets the device reach ${target} by TCP.`;
  return failure(unreachable, `${service} can't be reached (${text})`, remedy);
}

const trustedCaFileFor = (name: string) =>
  `Set hub.trustedCaFile to a file with the certificate authority that signed the certificate of ${name}`;

/** What helps while the clock shows a time before this program was made. */
export const setTheClock = (now: Date): string =>
  `Set the device's clock (now ${now.toISOString()}), for example by NTP; the agent then connects at once.`;

/** The target behind the proxy. */
export interface Behind {
  /** For messages. */
  readonly name: string;
  /** What CONNECT named: `host:port`. */
  readonly target: string;
  /** The id of the error when the proxy can't reach it, or can't be used. */
  readonly unreachable: FailureId;
  /** Another way than to allow the target at the proxy: `, or set …`. */
  readonly otherwise?: string;
}

/**
 * Says what a proxy's answer means. A refusal counts as one of credentials: only a change by an operator helps.
 */
export function proxyFailure(thrown: ProxyError, { name, target, unreachable, otherwise = '' }: Behind): HubFailure {
  const { proxy, status, message, user, passwordFile } = thrown;
  const refused = (message: string, remedy: string) =>
    new HubFailure(new AgentError('PROXY_REFUSED', message, remedy, { cause: thrown }), 'credentials');
  if (status === 407 && user === undefined) {
    const remedy = 'Set the user in hub.proxy (http://user@host:port) and the password in hub.proxyPasswordFile.';
    return refused(`the proxy ${proxy} asks for a user and a password (407)`, remedy);
  }
  if (status === 407) {
    const used = thenUsed(passwordFile === undefined ? [] : [passwordFile], ', which is used within 25 s');
    const remedy =
      passwordFile === undefined
        ? 'Correct the user in hub.proxy and write the password to a file that hub.proxyPasswordFile names; ' +
          'or correct both in HTTPS_PROXY, if that is used, and restart the agent.'
        : `Correct the user in hub.proxy and the password in ${passwordFile} (hub.proxyPasswordFile)${used}.`;
    return refused(`the proxy ${proxy} refused the user ${user} or its password (407)`, remedy);
  }
  if (status !== undefined && status >= 400 && status < 500) {
    const remedy = `Allow CONNECT to ${target} at the proxy${otherwise}.`;
    return refused(`the proxy ${proxy} refused CONNECT to ${target} (${status})`, remedy);
  }
  const remedy = `Check the proxy ${proxy}, and that it can reach ${name}.`;
  return new HubFailure(new AgentError(unreachable, `${name} can't be reached: ${message}`, remedy), 'network');
}
