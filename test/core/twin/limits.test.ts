import assert from 'node:assert/strict';
import { mkdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { days, hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import { blindSpots, type Limits, largestCache, limitsInForce } from '../../../src/core/twin/limits.ts';
import { readTwin } from '../../../src/core/twin/twin.ts';
import { nameOf, properties, publishedDialect } from '../../agent/config/published.ts';
import { temporaryFolder } from '../../harness/folders.ts';

const DEFAULTS = {
  shortestMessageFrequency: seconds(10),
  shortestSnapshotFrequency: minutes(5),
  longestMessageFrequency: days(1),
  alwaysOn: [],
  messageUnitsPerDay: 2000,
};
const EVENTS = collectors.map(({ name }) => name);
const inForce = (change: object = {}): Limits =>
  limitsInForce({ ...DEFAULTS, ...change }, collectors, () => 1_000_000_000);
const values = (some: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(some).map(([name, value]) => [name, { value }]));
const read = (desired: Record<string, unknown>, limits = inForce()) => {
  const reading = readTwin(values(desired), publishedDialect(), limits);
  if (!reading.ok) assert.fail(JSON.stringify(reading.faults));
  return reading;
};
const blindOf = (desired: Record<string, unknown>, limits = inForce()) =>
  blindSpots(read(desired, limits).settings, limits, collectors, nameOf);
const every = (prefix: string, value: unknown) =>
  Object.fromEntries(properties.filter(({ name }) => name.startsWith(prefix)).map(({ name }) => [name, value]));

describe('Local limits', () => {
  it('leave what is within them as it was asked for, and spelt', () => {
    const desired = {
      highPriorityMessageFrequency: 'PT600S',
      lowPriorityMessageFrequency: 'P2W',
      snapshotFrequency: 'PT300S',
      aggregationIntervalProcessCreate: 'PT10S',
      maxLocalCacheSizeInBytes: 1_000_000_000,
      eventPriorityProcessCreate: 'oFF',
    };
    const { mirror, limited, settings } = read(desired);
    for (const [name, value] of Object.entries(desired)) assert.deepEqual(mirror[name], { value });
    assert.deepEqual(limited, []);
    assert.equal(settings.priorities.ProcessCreate, 'Off');
  });

  it('raise what is more frequent, mirror that, and say it', () => {
    const { settings, mirror, limited, warnings } = read({
      highPriorityMessageFrequency: 'PT1S',
      lowPriorityMessageFrequency: 'PT9.999S',
      snapshotFrequency: 'PT1S',
      ...every('aggregationInterval', 'PT1S'),
    });
    assert.equal(settings.highPriorityMessageFrequency, seconds(10));
    assert.equal(settings.lowPriorityMessageFrequency, seconds(10));
    assert.equal(settings.snapshotFrequency, minutes(5));
    for (const interval of Object.values(settings.aggregationInterval)) assert.equal(interval, seconds(10));
    assert.deepEqual(mirror.highPriorityMessageFrequency, { value: 'PT10S' });
    assert.deepEqual(mirror.snapshotFrequency, { value: 'PT5M' });
    assert.equal(limited.length, 6);
    assert.deepEqual(warnings.slice(0, 6), limited);
    assert.deepEqual(limited[0], {
      name: 'highPriorityMessageFrequency',
      type: 'Conflict',
      message: 'is PT10S, not PT1S: limits.shortestMessageFrequency of the local configuration',
    });
  });

  it('hold for the defaults, too', () => {
    const { settings, limited } = read({}, inForce({ shortestMessageFrequency: hours(6) }));
    assert.equal(settings.highPriorityMessageFrequency, hours(6));
    assert.equal(settings.lowPriorityMessageFrequency, hours(6));
    assert.ok(limited.length >= 2);
  });

  it('lower a larger cache', () => {
    const limits = inForce({ largestCacheInBytes: 1_000_000_000 });
    const { settings, mirror, limited } = read({ maxLocalCacheSizeInBytes: 4.5e15 }, limits);
    assert.equal(settings.maxLocalCacheSizeInBytes, 1_000_000_000);
    assert.deepEqual(mirror.maxLocalCacheSizeInBytes, { value: 1_000_000_000 });
    assert.match(limited[0]?.message ?? '', /^is 1000000000, not 4500000000000000: limits\.largestCacheInBytes/);
  });

  it('a warning names the default that limits the cache', () => {
    const [limited] = read({ maxLocalCacheSizeInBytes: 4.5e15 }).limited;
    const message = /^is 1000000000, not 4500000000000000: the default of limits\.largestCacheInBytes, a tenth/;
    assert.match(limited?.message ?? '', message);
  });

  it('keep on what is always on, with its default priority', () => {
    const limits = inForce({ alwaysOn: ['Login', 'ProcessCreate'] });
    const { settings, mirror, limited } = read(every('eventPriority', 'Off'), limits);
    assert.equal(settings.priorities.Login, 'High');
    assert.equal(settings.priorities.ProcessCreate, 'Low');
    assert.equal(settings.priorities.ConnectionCreate, 'Off');
    assert.deepEqual(mirror.eventPriorityLogin, { value: 'High' });
    assert.deepEqual(limited.map(({ name }) => name).toSorted(), ['eventPriorityLogin', 'eventPriorityProcessCreate']);
    assert.equal(read({ eventPriorityLogin: 'low' }, limits).settings.priorities.Login, 'Low');
  });

  it('names that are not events are refused with the nearest event', () => {
    for (const setting of ['alwaysOn', 'mayBeOff']) {
      assert.throws(() => inForce({ [setting]: ['Login', 'ProcesCreate'] }), {
        id: 'CONFIG_INVALID',
        message: `limits.${setting} names ProcesCreate, which is not an event; did you mean "ProcessCreate"?`,
      });
    }
  });

  describe('blind spots', () => {
    it('the default configuration has no blind spots', () =>
      assert.deepEqual(blindOf({}), { switchedOff: {}, degrading: {}, late: {} }));

    it('events that are off are blind spots, and four of them degrade the agent', () => {
      const { switchedOff, degrading } = blindOf(every('eventPriority', 'Off'));
      assert.deepEqual(Object.keys(switchedOff).toSorted(), EVENTS.toSorted());
      assert.deepEqual(Object.keys(degrading).toSorted(), [
        'eventPriorityConnectionCreate',
        'eventPriorityLogin',
        'eventPriorityProcessCreate',
        'eventPrioritySecurityAlert',
      ]);
    });

    it('mayBeOff overrides which blind spots degrade the agent', () => {
      const off = every('eventPriority', 'Off');
      assert.deepEqual(blindOf(off, inForce({ mayBeOff: EVENTS })).degrading, {});
      assert.equal(Object.keys(blindOf(off, inForce({ mayBeOff: [] })).degrading).length, EVENTS.length);
    });

    it('messages later than a day are a blind spot', () => {
      const late = { highPriorityMessageFrequency: 'P365D', lowPriorityMessageFrequency: 'PT24H0.001S' };
      assert.deepEqual(Object.keys(blindOf(late).degrading), Object.keys(late));
      assert.deepEqual(
        Object.keys(blindOf({ highPriorityMessageFrequency: 'P1D', lowPriorityMessageFrequency: 'P1D' }).degrading),
        [],
      );
    });

    it('windows longer than a day are a blind spot, unless aggregation is off', () => {
      const year = every('aggregationInterval', 'P365D');
      const { degrading, late } = blindOf(year);
      assert.deepEqual(Object.keys(degrading).toSorted(), [
        'aggregationIntervalConnectionCreate',
        'aggregationIntervalProcessCreate',
      ]);
      assert.deepEqual(Object.keys(late), ['aggregationIntervalProcessTerminate']);
      assert.deepEqual(blindOf({ ...year, ...every('aggregationEnabled', false) }).degrading, {});
    });

    it('snapshots later than a day are a blind spot; those that must not be off degrade the agent', () => {
      const year = { snapshotFrequency: 'P365D' };
      assert.deepEqual(Object.keys(blindOf(year).late), ['snapshotFrequency']);
      const strict = inForce({ mayBeOff: EVENTS.filter((name) => name !== 'ListeningPorts') });
      assert.deepEqual(Object.keys(blindOf(year, strict).degrading), ['snapshotFrequency']);
    });
  });

  describe('the ceiling of the cache', () => {
    let folder: string;
    beforeEach(() => {
      folder = temporaryFolder();
    });

    it('the default ceiling is a tenth of the free space, at most 64 MiB', () => {
      const { bavail, bsize } = statfsSync(folder);
      const ceiling = largestCache(folder, join(folder, 'queues'));
      assert.ok(ceiling <= 64 * 1024 * 1024 && ceiling >= 8192);
      assert.ok(ceiling === 64 * 1024 * 1024 || Math.abs(ceiling - (bavail * bsize) / 10) < 1024 * 1024);
    });

    it('is a tenth of a small disk, and keeps what the queues hold', () => {
      mkdirSync(join(folder, 'queues', 'high'), { recursive: true });
      writeFileSync(join(folder, 'queues', 'high', '1'), Buffer.alloc(200_000));
      const free = (bytes: number) => () => ({ bavail: bytes / 4096, bsize: 4096 });
      const held = largestCache(folder, join(folder, 'queues'), free(0));
      assert.ok(held >= 200_000 && held < 300_000, String(held));
      const ceiling = largestCache(folder, join(folder, 'queues'), free(40_960_000));
      assert.ok(ceiling >= 4_116_000 && ceiling < 4_126_000, String(ceiling));
      assert.equal(largestCache(folder, join(folder, 'none'), free(0)), 8192);
    });
  });
});
