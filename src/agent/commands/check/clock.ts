import type { TLSSocket } from 'node:tls';
import { isPlausible, systemClock } from '../../../core/base/clock.ts';
import { minutes, seconds } from '../../../core/base/duration.ts';
import type { FailureId } from '../../../core/base/errors.ts';
import { addressOf, hostAndPort } from '../../../core/network/address.ts';
import { exchange } from '../../../core/network/http.ts';
import { limited } from '../../../core/network/limited.ts';
import type { Network, Target } from '../../../core/network/network.ts';
import { hostOf, PORTS } from '../../hub/transport.ts';
import { type Finding, note, ok, wrong } from './finding.ts';
import type { Check, Situation } from './situation.ts';

const NAME = 'clock';
/** If the clocks differ by more, the hub considers a token expired or not yet valid. */
const MAX_OFFSET = minutes(5);
const REPORTED_OFFSET = seconds(30);
/** Time limit of the whole check: the connection check explains a missing answer. */
const LIMIT = seconds(10);
const SET_IT =
  'Set the clock, for example by NTP (timedatectl set-ntp true): until then the hub refuses tokens that the agent signs.';

/**
 * Compares the device's clock with the hub's, from the Date header of an HTTPS response. It comes before the identity and
 * the connection, since a wrong clock invalidates tokens and certificates.
 */
export const clock: Check = {
  name: NAME,
  worksWithoutConfiguration: true,
  async run(situation) {
    const { network, signal } = situation;
    const now = systemClock.now();
    const shows = `it shows ${now.toISOString()}`;
    if (!isPlausible(now)) return [spoiling(`the clock is not set: ${shows}`, 'TLS_FAILED')];
    const server = serverOf(situation);
    if (server === undefined || 'id' in network) return [ok(NAME, shows)];
    let found: Comparison;
    try {
      found = await limited({ clock: systemClock, limit: LIMIT, label: "asking for the hub's time", signal }, (step) =>
        compare(network, server, step),
      );
    } catch {
      signal.throwIfAborted();
      return [ok(NAME, `${shows}; the hub's clock could not be read over HTTPS`)];
    }
    return [assess(found, shows, situation)];
  },
};

interface Comparison {
  /** How far this clock is ahead, in milliseconds; accurate to a second. */
  readonly aheadMs: number;
  /** Whether a certificate of the server is refused because of the time. */
  readonly spoilsTls: boolean;
}

function assess({ aheadMs, spoilsTls }: Comparison, shows: string, { identity }: Situation): Finding {
  const offset = Math.abs(aheadMs);
  if (offset <= REPORTED_OFFSET) return ok(NAME, `${shows}, within ${REPORTED_OFFSET / 1_000} s of the hub's`);
  const finding = `${shows}, ${Math.round(offset / 1_000)} s ${aheadMs < 0 ? 'behind' : 'ahead of'} the hub's`;
  const signsTokens = !('identity' in identity) || identity.presentation?.proof.kind !== 'certificate';
  if (offset > MAX_OFFSET && (signsTokens || spoilsTls)) {
    return spoiling(finding, spoilsTls ? 'TLS_FAILED' : 'CREDENTIAL_REFUSED');
  }
  return note(NAME, finding, SET_IT);
}

/** @param id of the error that the agent has because of it */
const spoiling = (finding: string, id: FailureId) => wrong(NAME, `${finding} (${id})`, SET_IT);

/** Who is asked: a server of the hub's, or the gateway. */
function serverOf({ identity, local: { hub } }: Situation): Target | undefined {
  if (hub.restEndpoint !== undefined) return addressOf(hub.restEndpoint, PORTS.mqttWebSocket);
  const presentation = 'identity' in identity ? identity.presentation : undefined;
  if (presentation !== undefined) {
    const { module } = presentation;
    const address = addressOf(hostOf(module), PORTS.mqttWebSocket);
    return module.trustedCa === undefined ? address : { ...address, trustedCa: module.trustedCa };
  }
  const name = hub.gatewayHostName ?? hub.hostName;
  // A gateway at another port than the usual one has only that port.
  return name === undefined ? undefined : addressOf(name, PORTS.mqttWebSocket);
}

async function compare(network: Network, target: Target, signal: AbortSignal): Promise<Comparison> {
  // With a wrong clock no certificate is valid. Nothing is sent but HEAD, and the result is a hint.
  const socket: TLSSocket = await network.inspect(target, signal);
  const spoilsTls = ['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID'].includes(String(socket.authorizationError));
  const began = systemClock.monotonic();
  const { headers } = await exchange(socket, hostAndPort(target), { method: 'HEAD', path: '/' }, signal);
  const serverTime = Date.parse(headers.date ?? '');
  if (Number.isNaN(serverTime)) throw new Error('no Date header');
  const latencyMs = (systemClock.monotonic() - began) / 2;
  return { aheadMs: systemClock.now().getTime() - latencyMs - serverTime, spoilsTls };
}
