import { request } from 'node:https';
import { isPlausible, systemClock } from '../../base/clock.ts';
import { minutes, seconds } from '../../base/duration.ts';
import { note, ok, wrong } from './finding.ts';
import { type Check, type Peer, step } from './situation.ts';

const NAME = 'clock';
const HTTPS = 443;
const MQTT_OVER_TLS = 8883;
/** A hub takes a token for expired, or for not made yet, when the clocks differ by more. */
const TOO_FAR = minutes(5);
const NOTEWORTHY = seconds(30);
const SET_IT =
  'Set it, for instance by NTP (timedatectl set-ntp true): until then the hub refuses what the agent signs.';

/** Against the hub's own, which it tells over HTTPS with every answer, whatever that is. */
export const clock: Check = {
  name: NAME,
  async run({ peer, signal }) {
    const now = systemClock.now();
    if (!isPlausible(now)) return [wrong(NAME, `the clock is not set: it says ${now.toISOString()}`, SET_IT)];
    if (peer === undefined) return [ok(NAME, `it says ${now.toISOString()}`)];
    let aheadMs: number;
    try {
      aheadMs = await step("the hub's clock", aheadOf(peer), signal);
    } catch {
      signal.throwIfAborted();
      return [ok(NAME, `it says ${now.toISOString()}; the hub's could not be asked (HTTPS)`)];
    }
    const apart = `${Math.round(Math.abs(aheadMs) / 1_000)} s ${aheadMs < 0 ? 'behind' : 'ahead of'} the hub's`;
    if (Math.abs(aheadMs) > TOO_FAR) return [wrong(NAME, `it says ${now.toISOString()}, ${apart}`, SET_IT)];
    if (Math.abs(aheadMs) > NOTEWORTHY) return [note(NAME, `it says ${now.toISOString()}, ${apart}`, SET_IT)];
    return [ok(NAME, `it says ${now.toISOString()}, within ${NOTEWORTHY / 1_000} s of the hub's`)];
  },
};

/** @returns by how much this clock is ahead, in milliseconds; exact to a second */
async function aheadOf({ host, port }: Peer): Promise<number> {
  const began = systemClock.monotonic();
  const told = await new Promise<string | undefined>((resolve, reject) => {
    const asked = request({
      host,
      // Where a gateway isn't at the usual port, it has but one.
      port: port === MQTT_OVER_TLS ? HTTPS : port,
      method: 'HEAD',
      path: '/',
      agent: false,
      minVersion: 'TLSv1.2',
      rejectUnauthorized: false, // a wrong clock distrusts everyone; nothing is sent, and nothing follows but a hint
    });
    asked.once('response', (response) => {
      resolve(response.headers.date);
      asked.destroy();
    });
    asked.once('error', reject);
    asked.end();
  });
  const theirs = Date.parse(told ?? '');
  if (Number.isNaN(theirs)) throw new Error('it tells no time');
  const wayMs = (systemClock.monotonic() - began) / 2;
  return systemClock.now().getTime() - wayMs - theirs;
}
