import { request } from 'node:https';
import { isPlausible, systemClock } from '../../base/clock.ts';
import { minutes, seconds } from '../../base/duration.ts';
import { note, ok, wrong } from './finding.ts';
import { type Check, type Peer, step } from './situation.ts';

const NAME = 'clock';
const HTTPS = 443;
const MQTT_OVER_TLS = 8883;
/** If the clocks differ by more, the hub considers a token expired or not yet valid. */
const MAX_OFFSET = minutes(5);
const REPORTED_OFFSET = seconds(30);
const SET_IT =
  'Set the clock, for example by NTP (timedatectl set-ntp true): until then the hub refuses tokens that the agent signs.';

/** Compares the device's clock with the hub's, from the Date header of an HTTPS response. */
export const clock: Check = {
  name: NAME,
  async run({ peer, signal }) {
    const now = systemClock.now();
    if (!isPlausible(now)) return [wrong(NAME, `the clock is not set: it shows ${now.toISOString()}`, SET_IT)];
    if (peer === undefined) return [ok(NAME, `it shows ${now.toISOString()}`)];
    let aheadMs: number;
    try {
      aheadMs = await step("the hub's clock", aheadOf(peer), signal);
    } catch {
      signal.throwIfAborted();
      return [ok(NAME, `it shows ${now.toISOString()}; the hub's clock could not be read over HTTPS`)];
    }
    const apart = `${Math.round(Math.abs(aheadMs) / 1_000)} s ${aheadMs < 0 ? 'behind' : 'ahead of'} the hub's`;
    if (Math.abs(aheadMs) > MAX_OFFSET) return [wrong(NAME, `it shows ${now.toISOString()}, ${apart}`, SET_IT)];
    if (Math.abs(aheadMs) > REPORTED_OFFSET) return [note(NAME, `it shows ${now.toISOString()}, ${apart}`, SET_IT)];
    return [ok(NAME, `it shows ${now.toISOString()}, within ${REPORTED_OFFSET / 1_000} s of the hub's`)];
  },
};

/** @returns how far this clock is ahead, in milliseconds; accurate to a second */
async function aheadOf({ host, port }: Peer): Promise<number> {
  const began = systemClock.monotonic();
  const dateHeader = await new Promise<string | undefined>((resolve, reject) => {
    const asked = request({
      host,
      // A gateway at another port than the usual one has only that port.
      port: port === MQTT_OVER_TLS ? HTTPS : port,
      method: 'HEAD',
      path: '/',
      agent: false,
      minVersion: 'TLSv1.2',
      rejectUnauthorized: false, // with a wrong clock no certificate is valid; nothing is sent, and the result is a hint
    });
    asked.once('response', (response) => {
      resolve(response.headers.date);
      asked.destroy();
    });
    asked.once('error', reject);
    asked.end();
  });
  const serverTime = Date.parse(dateHeader ?? '');
  if (Number.isNaN(serverTime)) throw new Error('no Date header');
  const wayMs = (systemClock.monotonic() - began) / 2;
  return systemClock.now().getTime() - wayMs - serverTime;
}
