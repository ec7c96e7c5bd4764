import assert from 'node:assert/strict';
import sinon from 'sinon';
import { hours, minutes } from '../../src/core/base/duration.ts';
import { UNIT_BYTES } from '../../src/core/contract/message.ts';
import { Gateway, type Life } from '../agent/pipeline/gateway.ts';
import type { Figures } from '../agent/pipeline/simulated-agent.ts';

const say = (line: string) => process.stdout.write(`${line}\n`);

describe('A simulated day with the default settings', function () {
  this.timeout(120_000);
  let time: sinon.SinonFakeTimers;
  let device: Gateway;

  beforeEach(async () => {
    time = sinon.useFakeTimers({
      now: new Date('2026-03-04T05:06:07Z'),
      toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
    });
    device = new Gateway();
    await device.start();
    await time.tickAsync(0);
  });
  afterEach(async () => {
    await device.stop(time);
    time.restore();
  });

  for (const [deviceKind, mostSmall, life] of [
    ['a busy gateway', 10, { processesPerHour: 1_000, connectionsPerHour: 300, sessionsPerDay: 2 }],
    // In the hour after a message of Low events, no Low events wait that could fill up a login's message.
    [
      'a gateway with a login every two hours',
      15,
      { processesPerHour: 1_000, connectionsPerHour: 300, sessionsPerDay: 12 },
    ],
    ['a nearly idle device', 10, { processesPerHour: 60, connectionsPerHour: 12, sessionsPerDay: 1 }],
    ['an idle device', 10, { processesPerHour: 0, connectionsPerHour: 0, sessionsPerDay: 0 }],
  ] satisfies [string, number, Life][]) {
    it(`makes ${deviceKind} send less than ${mostSmall} % of its messages with under 4 KB`, async () => {
      const print = (day: string, { messages, units, bytes, under4KB }: Figures) =>
        say(
          `      ${day}: ${messages} messages, ${units} units of 4 KB, ${Math.round(bytes / 1024)} KB, ` +
            `${under4KB} under 4 KB (${((100 * under4KB) / messages).toFixed(1)} %)`,
        );
      await device.live(time, life);
      print('first day ', device.figures(0));
      const morning = Date.now();
      await device.live(time, life);
      const figures = device.figures(morning);
      print('second day', figures);
      assert.ok(figures.under4KB < (figures.messages * mostSmall) / 100);
      assert.ok(
        figures.units * UNIT_BYTES < figures.bytes * 1.1 + figures.messages * UNIT_BYTES,
        'blocks that are paid for are used',
      );
      device.assertClosed();
    });
  }

  for (const [programs, most] of [
    [10, 10],
    [50, 11],
  ] as const) {
    it(`needs at most ${most} units for 1,000 starts and exits of 50 commands of ${programs} programs`, async () => {
      await time.tickAsync(hours(6)); // the first snapshots have been sent
      const before = Date.now();
      for (let n = 0; n < 1_000; n += 1) {
        device.startProcess(n % 50, n % programs);
        if (n % 20 === 0) await time.tickAsync(minutes(1));
      }
      await time.tickAsync(hours(6));
      const { units, messages } = device.figures(before);
      say(`      ${units} units of 4 KB in ${messages} messages`);
      const hits = (name: string) =>
        device
          .events(name)
          .flatMap(({ Payload }) => Payload)
          .reduce((all, { ExtraDetails }) => all + Number((ExtraDetails as Record<string, string>).HitCount), 0);
      assert.deepEqual([hits('ProcessCreate'), hits('ProcessTerminate')], [1_000, 1_000]);
      assert.ok(units <= most);
    });
  }
});
