import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { minutes, seconds } from '../../../src/core/base/duration.ts';
import { temporaryFolder } from '../folders.ts';
import type { Operation } from './azure.ts';
import type { HubLimits } from './limits.ts';
import { s1, Throttle } from './limits.ts';
import { pictureOf, rowOf } from './results.ts';
import { peaks, SCENARIOS, type Scenario, simulate } from './scenarios.ts';
import { SimulatedClock } from './simulated-clock.ts';

const DEVICES = 60;

describe('A simulated fleet', function () {
  this.timeout(180_000);

  const simulated = (scenario: Scenario, limits: HubLimits = s1(1), watched = minutes(8)) => {
    const keyFile = join(temporaryFolder(), 'device.key');
    writeFileSync(keyFile, `${Buffer.alloc(32, 1).toString('base64')}\n`, { mode: 0o600 });
    return simulate({ ...scenario, watched }, { devices: DEVICES, limits, keyFile });
  };

  it('a fleet reconnects within two minutes of the hub, each agent with at most six attempts per minute', async () => {
    const result = await simulated(SCENARIOS.minute);
    assert.equal(result.connected.length, DEVICES);
    assert.ok((result.connected.at(-1) ?? 0) < 120, `${result.connected.at(-1)} s`);
    const { asked } = result.requests;
    const during = asked.connections
      .slice(result.endedAt - 60, result.endedAt)
      .reduce((all, one) => all + (one ?? 0), 0);
    assert.ok(during > DEVICES && during <= 6 * DEVICES, `${during}`);
  });

  it('a fleet spreads its messages and its renewals after an outage', async () => {
    const watched = minutes(50);
    const result = await simulated({ ...SCENARIOS.minute, lasts: minutes(15) }, s1(1), watched);
    const most = (operation: Operation) => 60 * peaks(result, operation, 10 * 60).minute;
    assert.ok(most('messages') < DEVICES / 2, `${most('messages')} messages in a minute`);
    const renewed = result.requests.granted.connections
      .slice(result.endedAt + 10 * 60)
      .reduce((all, one) => all + (one ?? 0), 0);
    assert.ok(renewed >= DEVICES, `${renewed} connections were renewed`);
    assert.ok(most('connections') < DEVICES / 2, `${most('connections')} renewals in a minute`);
  });

  it('a fleet reconnects within the limits of the hub', async () => {
    const result = await simulated(SCENARIOS.power, { ...s1(1), connections: 2, twinReads: 1 });
    assert.equal(result.connected.length, DEVICES);
    const granted = Math.max(...Object.values(result.requests.granted.connections.slice(result.endedAt)));
    assert.ok(granted <= 4, `${granted} in a second`); // one second's unused capacity, and the current one's
    assert.ok(peaks(result, 'connections').second > granted);
    assert.match(rowOf(result).join(' '), /of 2/);
    assert.match(pictureOf(result), /^<svg /);
  });

  it('a fleet calls the provisioning service again if its hub was removed, and connects to the other hub', async () => {
    const result = await simulated({ ...SCENARIOS.moved, lasts: minutes(20) });
    assert.equal(result.connected.length, DEVICES);
    assert.ok(result.requests.granted.registrations.reduce((all, one) => all + (one ?? 0), 0) >= 2 * DEVICES);
  });
});

describe('SimulatedClock', () => {
  it('SimulatedClock wakes any number of sleepers in the order of their times', async () => {
    const clock = new SimulatedClock();
    const woken: number[] = [];
    for (let index = 0; index < 500; index += 1) {
      const wait = seconds(1 + ((index * 7_919) % 500));
      void clock.sleep(wait).then(() => woken.push(clock.monotonic()));
    }
    await clock.pass(seconds(600));
    assert.equal(woken.length, 500);
    assert.deepEqual(
      woken,
      [...woken].sort((one, other) => one - other),
    );
    assert.equal(clock.monotonic(), 600_000);
  });

  it('SimulatedClock ends a sleep when its signal aborts, and work at its limit', async () => {
    const clock = new SimulatedClock();
    const stop = new AbortController();
    const sleeping = clock.sleep(minutes(1), stop.signal);
    stop.abort();
    await sleeping;
    const late = assert.rejects(clock.within(seconds(5), 'work', new Promise(() => {})), /work took longer than 5 s/);
    await clock.pass(seconds(6));
    await late;
  });
});

describe('Throttle', () => {
  it('Throttle admits requests up to its limit, and keeps unused capacity for at most one second', () => {
    const throttle = new Throttle(10);
    const admitted = (atMs: number) => Array.from({ length: 50 }, () => throttle.admits(atMs)).filter(Boolean).length;
    assert.equal(admitted(0), 10);
    assert.equal(admitted(500), 5);
    assert.equal(admitted(60_000), 10);
  });
});
