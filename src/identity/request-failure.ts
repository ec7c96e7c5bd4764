import { isPlausible, TimeLimitError } from '../base/clock.ts';
import { type Duration, hours, milliseconds, seconds } from '../base/duration.ts';
import { AgentError, errnoOf, type FailureId, messageOf } from '../base/errors.ts';
import type { RetryCause } from '../contract/hub.ts';
import { HubFailure } from '../contract/hub-failure.ts';
import { type Address, hostAndPort } from '../network/address.ts';
import { proxyFailure } from '../network/proxy-failure.ts';
import { ProxyError } from '../network/tunnel.ts';

/** What a request was sent to, for messages. */
export interface Service {
  /** `the hub's REST interface`. */
  readonly name: string;
  readonly address: Address;
  /** The settings that name the address. */
  readonly settings: string;
  /** The ids of errors of a service that can't be reached, and of one that is silent. */
  readonly unreachable: FailureId;
  readonly silent: FailureId;
  /** By the device's wall clock. */
  readonly now: Date;
}

/** Classifies what Network.request rejected with. */
export function requestFailure(thrown: unknown, { name, address, settings, now, ...ids }: Service): HubFailure {
  if (thrown instanceof HubFailure) return thrown;
  if (thrown instanceof AgentError) return new HubFailure(thrown, 'credentials');
  const service = `${name}, ${hostAndPort(address)},`;
  if (thrown instanceof ProxyError) {
    const target = hostAndPort(address);
    return proxyFailure(thrown, { name: target, target, unreachable: ids.unreachable });
  }
  if (thrown instanceof TimeLimitError) {
    const remedy = `Check the network between the device and ${hostAndPort(address)}: packets are dropped without a reply, for example by a firewall.`;
    return failure(ids.silent, `${service} did not answer: ${thrown.message}`, remedy, 'network');
  }
  const text = `${errnoOf(thrown) ?? ''} ${messageOf(thrown)}`;
  const message = messageOf(thrown);
  if (CLOCK.test(text)) {
    const remedy = isPlausible(now)
      ? `Set the device's clock (now ${now.toISOString()}), for example by NTP; if it is right, renew the server's certificate.`
      : `Set the device's clock (now ${now.toISOString()}), for example by NTP; the agent then connects at once.`;
    return failure(
      'TLS_FAILED',
      `the certificate of ${hostAndPort(address)} is not valid now (${message})`,
      remedy,
      'network',
    );
  }
  if (TLS.test(text)) {
    const remedy = `Set hub.trustedCaFile to a file with the certificate authority that signed the certificate of ${hostAndPort(address)}, and make sure that no TLS-inspecting proxy on the way replaces it.`;
    return failure(
      'TLS_FAILED',
      `the TLS handshake with ${hostAndPort(address)} failed (${message})`,
      remedy,
      'network',
    );
  }
  if (NAME.test(text)) {
    const remedy = `Check ${settings} and the device's DNS: getent hosts ${address.host}`;
    return failure(ids.unreachable, `the name ${address.host} can't be resolved (${message})`, remedy, 'network');
  }
  const remedy = `Check that the network lets the device reach ${hostAndPort(address)} by TCP.`;
  return failure(ids.unreachable, `${service} can't be reached (${message})`, remedy, 'network');
}

const NAME = /ENOTFOUND|EAI_AGAIN/;
const CLOCK = /CERT_NOT_YET_VALID|CERT_HAS_EXPIRED|certificate is not yet valid|certificate has expired/i;
const TLS = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS|ERR_SSL|ERR_OSSL|EPROTO|\bSSL\b|\bTLS\b|certificate|self.signed/i;

const failure = (id: FailureId, message: string, remedy: string, because: RetryCause) =>
  new HubFailure(new AgentError(id, message, remedy), because);

const LONGEST_WAIT = hours(1);

/**
 * Reads a Retry-After header, in seconds or as a date (RFC 9110, 10.2.3).
 *
 * @returns at most an hour; `undefined` if it is absent or malformed
 */
export function retryAfter(header: string | undefined, now: Date): Duration | undefined {
  const text = header?.trim() ?? '';
  const wait = /^\d{1,9}$/.test(text)
    ? seconds(Number(text))
    : HTTP_DATE.test(text)
      ? Date.parse(text) - now.getTime()
      : Number.NaN;
  return Number.isNaN(wait) ? undefined : milliseconds(Math.min(Math.max(wait, 0), LONGEST_WAIT));
}

/** Date.parse reads much else. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;
