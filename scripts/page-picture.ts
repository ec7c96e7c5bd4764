/* Takes docs/page.png, a picture of the page of emulator and demo, from the shipped samples of messages. Needs Chromium:
 *
 *   node dist/scripts/page-picture.js
 *
 * The messages seem to arrive over half an hour: the hub's clock starts late and catches up.
 */

import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import mqtt from 'mqtt';
import { type Clock, systemClock } from '../src/core/base/clock.ts';
import { hours, minutes } from '../src/core/base/duration.ts';
import { HubEmulator } from '../src/emulator/hub.ts';
import { Page } from '../src/emulator/page/page.ts';
import { signSasToken } from '../src/emulator/sas.ts';
import { openTab, startChromium } from '../test/emulator/page/chromium.ts';
import { TOP } from './bundle.ts';

const HALF_AN_HOUR = 29;

interface Sample {
  readonly deviceId: string;
  readonly moduleId: string;
  readonly applicationProperties: Readonly<Record<string, string>>;
  readonly body: { readonly Events: readonly object[] };
}

const folder = join(TOP, 'config/samples');
const samples = new Map(
  readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => [name.replace('.json', ''), JSON.parse(readFileSync(join(folder, name), 'utf8')) as Sample]),
);
const [{ deviceId = '', moduleId = '' } = {}] = samples.values();

/** Traffic, keyed by minutes before now. */
function namesOf(minute: number): string[] {
  const often = (name: string, times: number) => Array.from({ length: times }, () => name);
  const usual = [
    ...often('ProcessTerminate', 2 + ((minute * 5) % 3)),
    ...often('ProcessCreate', 3 + ((minute * 7) % 4)),
    ...often('ConnectionCreate', (minute * 3) % 4),
    ...often('Login', minute % 6 === 4 ? 2 : 0),
  ];
  if (minute === 17) return [...usual, ...[...samples.keys()].filter((name) => name !== 'SecurityAlert')];
  if (minute === 0)
    return [
      'LocalUsers',
      'ListeningPorts',
      'ProcessTerminate',
      'Login',
      'SecurityAlert',
      'ConnectionCreate',
      'ProcessCreate',
    ];
  return usual;
}

/** The sample's message as if it were made now. */
function bodyOf({ body }: Sample): string {
  const now = clock.now().toISOString();
  const isTime = (name: string) => ['TimestampUTC', 'FirstSeenUtc', 'LastSeenUtc'].includes(name);
  return JSON.stringify(body, (name, value) => (isTime(name) ? now : value));
}

let behind = minutes(HALF_AN_HOUR);
const clock: Clock = { ...systemClock, now: () => new Date(systemClock.now().getTime() - behind) };
const hub = await HubEmulator.start({ clock, modules: [{ deviceId, moduleId }], skewTolerance: hours(1) });
const page = await Page.open(hub, { port: 0 });
const credential = hub.getModule(deviceId, moduleId)?.credential;
const key = credential?.type === 'sas' ? credential.primaryKey : '';
const client = mqtt.connect({
  protocol: 'mqtts',
  host: 'localhost',
  port: hub.port,
  ca: hub.caPem,
  clientId: `${deviceId}/${moduleId}`,
  username: `${hub.hostName}/${deviceId}/${moduleId}/?api-version=2021-04-12`,
  password: signSasToken(
    `${hub.hostName}/devices/${deviceId}/modules/${moduleId}`,
    key,
    new Date(systemClock.now().getTime() + hours(1)),
  ),
});
await once(client, 'connect');
for (let minute = HALF_AN_HOUR; minute >= 0; minute--) {
  behind = minutes(minute);
  for (const sample of namesOf(minute).flatMap((name) => samples.get(name) ?? [])) {
    const properties = new URLSearchParams(sample.applicationProperties);
    const topic = `devices/${deviceId}/modules/${moduleId}/messages/events/${properties}`;
    await new Promise((resolve) => client.publish(topic, bodyOf(sample), { qos: 1 }, resolve));
  }
}
const browser = await startChromium();
const { tab } = await openTab(browser, page.address);
await tab.locator('.events .row').first().waitFor();
writeFileSync(join(TOP, 'docs/page.png'), await tab.screenshot());
await browser.close();
client.end(true);
await page.close();
await hub.stop();
