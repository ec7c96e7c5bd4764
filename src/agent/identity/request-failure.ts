import { TimeLimitError } from '../../core/base/clock.ts';
import { type Duration, hours, milliseconds, seconds } from '../../core/base/duration.ts';
import { AgentError, errnoOf, type FailureId, messageOf } from '../../core/base/errors.ts';
import { HubFailure } from '../../core/contract/hub.ts';
import { type Address, hostAndPort } from '../../core/network/address.ts';
import { connectFailure, proxyFailure } from '../../core/network/connect-failure.ts';
import { ProxyError } from '../../core/network/tunnel.ts';

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
    return new HubFailure(
      new AgentError(ids.silent, `${service} did not answer: ${thrown.message}`, remedy),
      'network',
    );
  }
  const named = { name: hostAndPort(address), service, host: address.host, target: hostAndPort(address) };
  const error = { code: errnoOf(thrown), text: messageOf(thrown) };
  return connectFailure(error, { ...named, settings, unreachable: ids.unreachable, now });
}

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
