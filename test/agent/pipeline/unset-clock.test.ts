import assert from 'node:assert/strict';
import sinon from 'sinon';
import { connectionCreate } from '../../../src/agent/collectors/connection-create.ts';
import { listeningPorts } from '../../../src/agent/collectors/listening-ports.ts';
import { login } from '../../../src/agent/collectors/login.ts';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import { Aggregator } from '../../../src/agent/pipeline/aggregator.ts';
import { localTime, occurrenceEvent, snapshotEvent } from '../../../src/agent/pipeline/envelope.ts';
import { UnsetClock } from '../../../src/agent/pipeline/unset-clock.ts';
import { EARLIEST, systemClock } from '../../../src/core/base/clock.ts';
import { hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import type { TriggeredCollector } from '../../../src/core/contract/collector.ts';
import type { Envelope, Payload } from '../../../src/core/contract/event.ts';
import { faultsIn } from '../../message-schema.ts';
import { liveSettings, MemoryQueues, quietLog } from './memory-queues.ts';
import { SimulatedFiles, seeded } from './simulated-files.ts';

const BOOT = '6f1f4a6e-2f6f-4a3c-9d7e-0b9a4c1d2e3f';
const RIGHT = new Date('2026-03-01T12:00:00.000Z');

const PROCESS: Payload = {
  Executable: '/usr/bin/ls',
  CommandLine: 'ls',
  ProcessId: 7,
  ParentProcessId: 6,
  UserId: '0',
};
const CONNECTION: Payload = {
  Executable: '/usr/bin/curl',
  CommandLine: 'curl',
  ProcessId: 7,
  UserId: '0',
  Direction: 'Out',
  Protocol: 'TCP',
  LocalAddress: '192.0.2.1',
  LocalPort: '40000',
  RemoteAddress: '192.0.2.2',
  RemotePort: '443',
};
const LOGIN: Payload = {
  Executable: '/usr/sbin/sshd',
  ProcessId: 9,
  Operation: 'Login',
  UserName: 'root',
  Result: 'Fail',
};

describe('UnsetClock', () => {
  let time: sinon.SinonFakeTimers;
  let memory: MemoryQueues;
  let unset: UnsetClock;
  let queues: ReturnType<UnsetClock['around']>;
  let aggregator: Aggregator;
  let counted: Pick<Aggregator, 'add'>;
  let logged: LogLine[];

  /** As a process that begins now. */
  const begin = (bootId = BOOT) => {
    unset = new UnsetClock({ clock: systemClock, log: quietLog(logged), bootId });
    queues = unset.around(memory);
    const priorities = { ProcessCreate: 'Low', ConnectionCreate: 'Low' } as const;
    aggregator = new Aggregator({
      settings: liveSettings({ priorities }),
      clock: systemClock,
      queues,
      directory: '/aggregates',
      files: new SimulatedFiles(seeded(1)),
      log: quietLog(),
    });
    counted = unset.before(aggregator);
  };

  /** The device boots, and an agent with it, at what its clock takes for `now`. */
  const boot = (now: Date) => {
    time = sinon.useFakeTimers({ now });
    logged = [];
    memory = new MemoryQueues();
    begin();
  };
  afterEach(async () => {
    await unset.stop();
    time.restore();
  });

  const happens = (collector: TriggeredCollector = processCreate, payload = PROCESS, at = systemClock.now()) =>
    queues.put('Low', [occurrenceEvent(collector, payload, at)]);
  const taken = (): Envelope[] => {
    const events = queues.take('Low', 1_000_000, true);
    if (events.length > 0) queues.settle('Low', 'kept');
    for (const { json, jsonBytes } of events) assert.equal(jsonBytes, Buffer.byteLength(json));
    const envelopes = events.map(({ json }) => JSON.parse(json) as Envelope);
    for (const event of envelopes) assertSound(event);
    return envelopes;
  };
  const assertSound = (event: Envelope) => {
    assert.equal(Date.parse(event.TimestampLocal), Date.parse(event.TimestampUTC));
    const head = { AgentVersion: '1', AgentId: BOOT, MessageSchemaVersion: '1.0' };
    assert.deepEqual(faultsIn({ ...head, Events: [event] }, { isMarked: false }), []);
  };
  const details = (event: Envelope | undefined, element = 0) =>
    event?.Payload[element]?.ExtraDetails as Record<string, string> | undefined;

  describe('while the clock is set', () => {
    it('leaves events alone, to the object', () => {
      boot(RIGHT);
      const events = [occurrenceEvent(processCreate, PROCESS, RIGHT), snapshotEvent(listeningPorts, [], EARLIEST)];
      queues.put('Low', events);
      assert.deepEqual(
        memory.put_.Low.map((event, index) => event === events[index]),
        [true, true],
      );
    });

    it('marks what has an impossible time, and does not guess a right one', async () => {
      boot(RIGHT);
      await time.tickAsync(minutes(1));
      happens(processCreate, PROCESS, new Date('1970-01-01T00:00:20Z'));
      const [event] = taken();
      assert.equal(event?.TimestampUTC, '1970-01-01T00:00:20.000Z');
      assert.deepEqual(details(event), { ClockNotSet: 'true' });
    });

    it('is not taken in by a command line that looks like its mark', () => {
      boot(RIGHT);
      const CommandLine = `echo {"ExtraDetails":{"ClockNotSet":"true","BootId":"${BOOT}"}}`;
      happens(processCreate, { ...PROCESS, CommandLine });
      const parse = sinon.spy(JSON, 'parse');
      const [event] = queues.take('Low', 10_000, true);
      assert.equal(parse.callCount, 0);
      parse.restore();
      assert.equal(event?.json, memory.put_.Low[0]?.json);
    });
  });

  describe('at boot in 1970', () => {
    beforeEach(() => boot(new Date(0)));

    it('marks every element, and sends it so as long as the clock is not set', async () => {
      await time.tickAsync(seconds(20));
      queues.put('Low', [
        snapshotEvent(
          listeningPorts,
          [
            { LocalPort: '22', Protocol: 'tcp', ExtraDetails: { Pid: '1' } },
            { LocalPort: '53', Protocol: 'udp' },
          ],
          systemClock.now(),
        ),
      ]);
      const [event] = taken();
      assert.equal(event?.TimestampUTC, '1970-01-01T00:00:20.000Z');
      const mark = { ClockNotSet: 'true', BootId: BOOT, BootTimeUtc: '1970-01-01T00:00:00.000Z' };
      assert.deepEqual(details(event, 0), { Pid: '1', ...mark });
      assert.deepEqual(details(event, 1), mark);
    });

    it('corrects what waits when the clock is set, and says by how much', async () => {
      await time.tickAsync(seconds(20));
      happens(login, LOGIN);
      await time.tickAsync(minutes(10));
      time.setSystemTime(RIGHT);
      await time.tickAsync(minutes(5)); // the step need not be noticed immediately
      const [event] = taken();
      const happened = RIGHT.getTime() - minutes(10);
      assert.equal(event?.TimestampUTC, new Date(happened).toISOString());
      assert.equal(event?.TimestampLocal, localTime(new Date(happened)));
      const TimeCorrectedBySeconds = String((happened - seconds(20)) / 1_000);
      assert.deepEqual(details(event), { ClockNotSet: 'true', TimeCorrectedBySeconds });
    });

    it('never makes an event longer, so that it fits where it was meant to', async () => {
      await time.tickAsync(1);
      happens(login, { ...LOGIN, UserName: 'é\u2028"\ud83d\ude00' });
      const before = Buffer.byteLength(memory.put_.Low[0]?.json ?? '');
      time.setSystemTime(new Date('2099-12-31T23:59:59.999Z'));
      const [event] = queues.take('Low', before + 1, false);
      assert.match(event?.json ?? '', /TimeCorrectedBySeconds/);
      assert.ok(Buffer.byteLength(event?.json ?? '') <= before);
    });

    it('corrects them after the agent was restarted, in the same boot', async () => {
      await time.tickAsync(seconds(20));
      happens();
      await time.tickAsync(seconds(40));
      time.setSystemTime(RIGHT);
      begin();
      assert.equal(taken()[0]?.TimestampUTC, new Date(RIGHT.getTime() - seconds(40)).toISOString());
    });

    it('leaves those of another boot marked, and no more', async () => {
      happens();
      time.setSystemTime(RIGHT);
      begin('another boot');
      const [event] = taken();
      assert.equal(event?.TimestampUTC, '1970-01-01T00:00:00.000Z');
      assert.equal(details(event)?.ClockNotSet, 'true');
      assert.equal(details(event)?.TimeCorrectedBySeconds, undefined);
    });

    it('corrects what the kernel timed before the step and was read after it', async () => {
      await time.tickAsync(seconds(20));
      const recorded = systemClock.now();
      await time.tickAsync(100);
      time.setSystemTime(RIGHT);
      await time.tickAsync(50);
      happens(processCreate, PROCESS, recorded);
      happens(processCreate, PROCESS, systemClock.fromKernel(seconds(20) * 1e6)); // of CLOCK_MONOTONIC: right already
      const expected = new Date(RIGHT.getTime() - 100).toISOString();
      assert.deepEqual(
        taken().map(({ TimestampUTC }) => TimestampUTC),
        [expected, expected],
      );
    });

    it('leaves events on a damaged disk alone', () => {
      happens();
      const [event] = memory.put_.Low;
      memory.put('Low', [{ ...event, name: 'x', elements: 1, occurrences: 1, json: event?.json.slice(0, -5) ?? '' }]);
      memory.put('Low', [{ name: 'x', elements: 1, occurrences: 1, json: '{"ClockNotSet":"true","BootId":"' }]);
      time.setSystemTime(RIGHT);
      assert.equal(queues.take('Low', 10_000, true).length, 3);
    });

    it('counts apart what it aggregates before and after the clock was set, each with right times', async () => {
      for (const [collector, payload] of [
        [processCreate, PROCESS],
        [connectionCreate, CONNECTION],
      ] as const) {
        time.setSystemTime(performance.now());
        begin();
        counted.add(collector, 'Low', payload, systemClock.now());
        await time.tickAsync(seconds(30));
        counted.add(collector, 'Low', payload, systemClock.now());
        time.setSystemTime(RIGHT);
        counted.add(collector, 'Low', payload, systemClock.now());
        await aggregator.stop();
        const event = taken().at(-1);
        assert.equal(event?.TimestampUTC, RIGHT.toISOString());
        const [early, late] = [details(event, 0), details(event, 1)];
        const first = RIGHT.getTime() - seconds(30);
        assert.equal(early?.HitCount, '2');
        assert.equal(early?.StartTimeUtc, new Date(first).toISOString());
        assert.equal(early?.StartTimeLocal, localTime(new Date(first)));
        assert.equal(early?.EndTimeUtc, RIGHT.toISOString());
        assert.equal(early?.ClockNotSet, 'true');
        assert.ok(Number(early?.TimeCorrectedBySeconds) > 1.7e9);
        assert.equal(late?.HitCount, '1');
        assert.equal(late?.StartTimeUtc, RIGHT.toISOString());
        assert.equal(late?.ClockNotSet, undefined);
      }
    });

    it('corrects a window that was closed before the clock was set, with its event', async () => {
      counted.add(processCreate, 'Low', PROCESS, systemClock.now());
      await time.tickAsync(hours(1));
      await aggregator.stop();
      time.setSystemTime(RIGHT);
      const [event] = taken();
      assert.equal(event?.TimestampUTC, RIGHT.toISOString());
      assert.equal(details(event)?.EndTimeUtc, new Date(RIGHT.getTime() - hours(1)).toISOString());
    });

    it('does not mistake one wrong time for another when the clock is set twice', async () => {
      happens();
      await time.tickAsync(minutes(1));
      time.setSystemTime(new Date('2016-01-01T00:00:00Z'));
      happens();
      await time.tickAsync(minutes(1));
      time.setSystemTime(RIGHT);
      assert.deepEqual(
        taken().map(({ TimestampUTC }) => TimestampUTC),
        [minutes(2), minutes(1)].map((ago) => new Date(RIGHT.getTime() - ago).toISOString()),
      );
    });

    it('logs once that the clock is not set, and once that it is', async () => {
      await unset.start();
      await time.tickAsync(minutes(5));
      time.setSystemTime(RIGHT);
      await time.tickAsync(minutes(5));
      assert.deepEqual(
        logged.map(({ level, message }) => [level, message.split(';')[0]]),
        [
          ['warn', 'The clock is not set'],
          ['info', 'The clock is set'],
        ],
      );
    });

    it('knows in the end when the agent was started', async () => {
      await time.tickAsync(minutes(1));
      assert.equal(unset.startedAt.toISOString(), '1970-01-01T00:00:00.000Z');
      time.setSystemTime(RIGHT);
      const right = new Date(RIGHT.getTime() - minutes(1));
      assert.deepEqual(unset.startedAt, right);
      time.setSystemTime(new Date('2036-01-01T00:00:00Z'));
      assert.deepEqual(unset.startedAt, right);
    });
  });

  describe('set back by ten years', () => {
    const WRONG = new Date('2016-03-01T12:00:00.000Z');
    beforeEach(() => boot(RIGHT));

    it('corrects events collected while the clock was wrong', async () => {
      time.setSystemTime(WRONG);
      happens();
      await time.tickAsync(minutes(1));
      time.setSystemTime(new Date(RIGHT.getTime() + minutes(1)));
      assert.equal(taken()[0]?.TimestampUTC, RIGHT.toISOString());
    });

    it('keeps the right times of a window that was closed while the clock was wrong', async () => {
      counted.add(processCreate, 'Low', PROCESS, systemClock.now());
      counted.add(processCreate, 'Low', { ...PROCESS, CommandLine: 'ls -l' }, systemClock.now());
      time.setSystemTime(WRONG);
      await aggregator.stop();
      time.setSystemTime(RIGHT);
      const [event] = taken();
      assert.equal(event?.TimestampUTC, RIGHT.toISOString());
      assert.equal(details(event, 0)?.StartTimeUtc, RIGHT.toISOString());
      assert.equal(details(event, 0)?.ClockNotSet, 'true');
      assert.equal(details(event, 1)?.ClockNotSet, undefined);
      assert.equal(details(event, 1)?.EndTimeUtc, RIGHT.toISOString());
    });
  });
});
