import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { days, minutes, seconds } from '../../src/core/base/duration.ts';
import type { Envelope } from '../../src/core/contract/event.ts';
import { until } from '../harness/until.ts';
import { assertClosed, TestBed } from './test-bed.ts';

const MODULE = new URL('./shifted-clock.js', import.meta.url).href;
const TEN_YEARS = days(3_652);

describe('The agent with a wrong clock', function () {
  this.timeout(180_000);
  let bed: TestBed;

  beforeEach(async () => {
    bed = await TestBed.open();
  });
  afterEach(() => bed.close());

  const now = () => systemClock.now().getTime();
  const setClock = (shift: number) => bed.write('clock', String(shift));
  const shiftSeen = () => readFileSync(join(bed.directory, 'clock.seen'), 'utf8');
  const startAgent = (shift: number) =>
    bed.startAgent({ options: ['--import', MODULE], environment: { SHIFTED_CLOCK: setClock(shift) } });
  const details = ({ Payload: [element] }: Envelope) => (element?.ExtraDetails ?? {}) as Record<string, string>;

  it('collects from 1970 on, and sends all events with correct times once the clock is set', async () => {
    const startedAt = now();
    const agent = startAgent(minutes(1) - startedAt);
    const { hub } = await agent.waitForStatus((status) => status.hub.state === 'refused', seconds(60));
    assert.match(hub.remedy ?? '', /^Set the device's clock \(now 1970-01-01T/);
    await agent.waitForLog(({ msg }) => msg.startsWith('The clock is not set'));
    const wanted = ['SystemInformation', 'LocalUsers', 'DroppedEventsStatistics'];
    await agent.waitForStatus(({ collectors }) => wanted.every((name) => collectors[name]?.lastRunAt !== undefined));
    assert.equal(bed.hub.messages.length, 0);

    setClock(0);
    await bed.waitForEvents(() => wanted.every((name) => bed.events(name).length > 0), seconds(60));
    for (const event of bed.events()) {
      const time = Date.parse(event.TimestampUTC);
      // An empty snapshot has no element that could be marked, so its time cannot be corrected. Logins have the times in this
      // machine's own files, which other programs may replace during the test.
      if (event.IsEmpty || event.Name === 'Login') continue;
      assert.ok(time >= startedAt - 1_000 && time <= now(), `${event.Name} of ${event.TimestampUTC}`);
    }
    for (const name of wanted) {
      const [event] = bed.events(name);
      assert.ok(event);
      assert.equal(details(event).ClockNotSet, 'true');
      const shift = Number(details(event).TimeCorrectedBySeconds) * 1_000 - (startedAt - minutes(1));
      assert.ok(Math.abs(shift) < 1_000, `wrong by ${shift} ms`);
    }
    const status = await agent.status();
    assert.ok(Math.abs(Date.parse(status.startedAt) - startedAt) < 20_000, status.startedAt);
    assert.ok(Date.parse(status.credential.expiresAt ?? '') > now());
    assertClosed(status);
  });

  it('stays connected and sends events while the clock is set back and forward by ten years', async () => {
    const agent = startAgent(0);
    // A connection is not enough: the agent reads the twin about a second later. If its first read contained the faulty property,
    // it would reject the whole configuration, keep the default frequencies, and send the error hours later.
    await agent.waitForStatus(({ configuration }) => configuration.source === 'desired');
    /** Returns the time of an event that is collected while the clock is wrong by `shift`. */
    const eventAt = async (shift: number) => {
      const before = bed.events('ConfigurationError').length;
      setClock(shift);
      await until('the agent to have this clock', () => shiftSeen() === String(shift));
      bed.desire({ snapshotFrequency: { value: `${shift} ms is no frequency` } });
      await bed.waitForEvents(() => bed.events('ConfigurationError').length > before);
      const event = bed.events('ConfigurationError').at(-1);
      assert.ok(event);
      return { wrongBy: Math.round((Date.parse(event.TimestampUTC) - now()) / 60_000), details: details(event) };
    };
    const back = await eventAt(-TEN_YEARS);
    assert.equal(back.wrongBy, -TEN_YEARS / 60_000);
    assert.equal(back.details.ClockNotSet, 'true');
    const on = await eventAt(TEN_YEARS);
    assert.equal(on.wrongBy, TEN_YEARS / 60_000);
    assert.deepEqual((await eventAt(0)).details, {});
    // The token is renewed within 90 s after the clock was set, mostly after this line.
    const ends = bed.hub.connections.map(({ closedBecause }) => closedBecause);
    const unexpected = ends.filter((end) => end !== undefined && end !== 'a newer connection of the same module');
    assert.deepEqual(unexpected, []);
    assertClosed(await agent.status());
  });
});
