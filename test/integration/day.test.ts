import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sinon from 'sinon';
import { systemClock } from '../../src/base/clock.ts';
import { sum } from '../../src/base/counters.ts';
import { hours, minutes, seconds } from '../../src/base/duration.ts';
import { collectors } from '../../src/collectors/index.ts';
import { Occurrences } from '../../src/collectors/occurrences.ts';
import { LiveSettings } from '../../src/config/settings.ts';
import { readDefaults } from '../../src/config/twin.ts';
import { type Envelope, QUEUES } from '../../src/contract/event.ts';
import type { Answer, HubClient } from '../../src/contract/hub.ts';
import { type Message, sizeOf } from '../../src/contract/message.ts';
import type { LoginSeen, Lookups, Sources } from '../../src/contract/sources.ts';
import { Aggregator } from '../../src/pipeline/aggregator.ts';
import { Publisher } from '../../src/pipeline/publisher.ts';
import { EventQueues } from '../../src/pipeline/queue.ts';
import { Snapshots } from '../../src/pipeline/snapshots.ts';
import { Statistics } from '../../src/pipeline/statistics.ts';
import { Triggers } from '../../src/pipeline/triggers.ts';
import { look, records, SHA256, sources } from '../collectors/samples.ts';
import { publishedDialect } from '../config/published.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { memoryChains } from '../pipeline/message-chains.ts';
import { SimulatedFiles, seeded } from '../pipeline/simulated-files.ts';

const UNIT = 4096;

/** What happens on a device in a day. */
interface Life {
  /** Starts, and as many ends, of processes an hour, of fifty distinct commands. */
  readonly processesPerHour: number;
  readonly connectionsPerHour: number;
  /** Each a login, and a logout half an hour later. */
  readonly sessionsPerDay: number;
}

/** All of the pipeline, with the default settings, on a real store; only the kernel and the hub are played. */
class Device {
  readonly messages: { at: number; message: Message }[] = [];
  readonly #directory = mkdtempSync(join(tmpdir(), 'vakt-day-'));
  readonly #random = seeded(7);
  readonly queues: EventQueues;
  readonly aggregator: Aggregator;
  readonly occurrences: Occurrences;
  readonly #services;

  constructor() {
    const settings = new LiveSettings(readDefaults(publishedDialect()).settings);
    const log = quietLog();
    const parts = { settings, clock: systemClock, log };
    const queues = new EventQueues({ directory: this.#directory, ...parts });
    const hub: HubClient = {
      send: async (message): Promise<Answer<void>> => {
        await systemClock.sleep(seconds(0.1));
        this.messages.push({ at: Date.now(), message });
        return { status: 'accepted', value: undefined };
      },
      status: () => ({ state: 'connected', credential: { kind: 'moduleKey' } }),
      on: () => {},
      readTwin: () => assert.fail('nobody asks'),
      report: () => assert.fail('nobody asks'),
    };
    const sender = { version: '0.1.0', id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };
    const publisher: Publisher = new Publisher({
      chains: memoryChains(),
      queues,
      hub,
      sender,
      routing: 'security',
      ...parts,
      noted: () => statistics.save(),
    });
    const statistics: Statistics = new Statistics({
      file: join(this.#directory, 'statistics.json'),
      totals: (queue) => queues.account(queue).totals,
      sent: () => publisher.sent(),
      log,
    });
    const files = new SimulatedFiles(seeded(7)); // simulated time doesn't wait for a disk
    const aggregator = new Aggregator({ ...parts, queues, directory: '/aggregates', files });
    const snapshots = new Snapshots({
      ...parts,
      collectors,
      sources: { ...typical, statistics: statistics.source },
      queues,
      changed: () => {},
    });
    this.queues = queues;
    this.aggregator = aggregator;
    this.occurrences = new Occurrences({ collectors, lookups: host });
    this.occurrences.offerTo(new Triggers({ collectors, settings, aggregator, queues, origin: sender.id, log }));
    this.#services = [queues, aggregator.recovery, publisher, aggregator, snapshots];
  }

  async start(): Promise<void> {
    for (const service of this.#services) await service.start();
  }

  async stop(time: sinon.SinonFakeTimers): Promise<void> {
    for (const service of this.#services.toReversed()) {
      const stopped = service.stop();
      await time.tickAsync(seconds(12));
      await stopped;
    }
    rmSync(this.#directory, { recursive: true });
  }

  startProcess(command: number, program = command % COMMANDS.length): void {
    const argv = [
      `/usr/lib/pump/${COMMANDS[program % COMMANDS.length]}-${Math.floor(program / COMMANDS.length)}`,
      `--channel=${command}`,
      '--config',
      '/etc/pump/pump.conf',
    ];
    const time = new Date();
    const pid = 1_000 + Math.floor(this.#random() * 30_000);
    const { loginUserId: _, terminal: __, ...service } = records.starts;
    const start = {
      ...service,
      time,
      startedAt: time,
      pid,
      executable: argv[0],
      commandLine: argv.join(' '),
      cwd: '/',
    };
    this.occurrences.accept('starts', [start]);
    this.occurrences.accept('exits', [
      { time, pid, executable: argv[0] ?? '', exitStatus: this.#random() < 0.02 ? 1 : 0 },
    ]);
  }

  connect(): void {
    const which = Math.floor(this.#random() * 8);
    const local = { address: '192.0.2.10', port: 40_000 + Math.floor(this.#random() * 9_000) };
    const remote = { address: `198.51.100.${which}`, port: which < 4 ? 443 : 8883 };
    const executable = `/usr/lib/pump/${COMMANDS[which]}`;
    const commandLine = `${executable} --upload`;
    this.occurrences.accept('connections', [
      { ...records.connections, time: new Date(), remote, local, executable, commandLine },
    ]);
  }

  login(operation: LoginSeen['operation']): void {
    this.occurrences.accept('logins', [{ ...records.logins, time: new Date(), operation }]);
  }

  /** Lets a day pass, minute by minute. */
  async live(
    time: sinon.SinonFakeTimers,
    { processesPerHour, connectionsPerHour, sessionsPerDay }: Life,
  ): Promise<void> {
    const sessions = Array.from({ length: sessionsPerDay }, () => Math.floor(this.#random() * (24 * 60 - 40)));
    let processes = 0;
    let connections = 0;
    for (let minute = 0; minute < 24 * 60; minute += 1) {
      for (; processes < ((minute + 1) * processesPerHour) / 60; processes += 1) this.startProcess(processes % 50);
      for (; connections < ((minute + 1) * connectionsPerHour) / 60; connections += 1) this.connect();
      for (const start of sessions) {
        if (start === minute) this.login('Login');
        if (start + 30 === minute) this.login('Logout');
      }
      await time.tickAsync(minutes(1));
    }
  }

  figures(since: number) {
    const messages = this.messages.filter(({ at }) => at >= since);
    const sizes = messages.map(({ message }) => sizeOf(message));
    return {
      messages: sizes.length,
      units: sizes.reduce((all, size) => all + Math.ceil(size / UNIT), 0),
      bytes: sizes.reduce((all, size) => all + size, 0),
      under4KB: sizes.filter((size) => size < UNIT).length,
    };
  }

  events(name: string): Envelope[] {
    const all = this.messages.flatMap(({ message }) => (JSON.parse(message.body) as { Events: Envelope[] }).Events);
    return all.filter(({ Name }) => Name === name);
  }
}

const COMMANDS = [
  'sample',
  'upload',
  'rotate',
  'valve-check',
  'watchdog',
  'ntp-probe',
  'modbus-read',
  'report',
  'gc',
  'led',
];

const many = <T>(count: number, make: (n: number) => T) => Array.from({ length: count }, (_, n) => make(n));

/** A small gateway: what its snapshots find. */
const typical: Omit<Sources, 'statistics'> = {
  ...sources,
  sockets: {
    ...sources.sockets,
    listening: async () =>
      many(12, (n) => ({
        protocol: n % 2 === 0 ? 'tcp' : 'tcp6',
        localAddress: n % 2 === 0 ? '0.0.0.0' : '::',
        localPort: 22 + 100 * n,
        userId: n,
        pid: 800 + n,
        executable: `/usr/sbin/service-${n}`,
      })),
  },
  accounts: {
    ...sources.accounts,
    list: async () =>
      many(28, (n) => ({
        name: `account${n}`,
        userId: n,
        primaryGroupId: n,
        groups: [{ id: n, name: `account${n}` }],
      })),
  },
  hardware: {
    ...sources.hardware,
    devices: async () =>
      many(20, (n) => ({
        category: 'PCI',
        subCategory: 'Ethernet controller',
        name: `Controller ${n}`,
        vendorId: '8086',
        productId: `10d${n}`,
        driver: 'e1000e',
        bus: `0000:00:${n}.0`,
      })),
  },
};

/** Of a host without containers. */
const host: Lookups = { ...look, started: () => ({ containerId: undefined, sha256: SHA256 }) };

const say = (line: string) => process.stdout.write(`${line}\n`);

describe('A day of a device, simulated, with the default settings', function () {
  this.timeout(120_000);
  let time: sinon.SinonFakeTimers;
  let device: Device;

  beforeEach(async () => {
    time = sinon.useFakeTimers({
      now: new Date('2026-03-04T05:06:07Z'),
      toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
    });
    device = new Device();
    await device.start();
    await time.tickAsync(0);
  });
  afterEach(async () => {
    await device.stop(time);
    time.restore();
  });

  for (const [what, mostSmall, life] of [
    ['a gateway at work', 10, { processesPerHour: 1_000, connectionsPerHour: 300, sessionsPerDay: 2 }],
    // In the hour after Low's own message a login finds nothing that its message could be filled up with.
    [
      'one that is logged in to every two hours',
      15,
      { processesPerHour: 1_000, connectionsPerHour: 300, sessionsPerDay: 12 },
    ],
    ['a device that does little', 10, { processesPerHour: 60, connectionsPerHour: 12, sessionsPerDay: 1 }],
    ['a device that does nothing', 10, { processesPerHour: 0, connectionsPerHour: 0, sessionsPerDay: 0 }],
  ] satisfies [string, number, Life][]) {
    it(`${what}: of the messages, less than ${mostSmall} % are below 4 KB`, async () => {
      const print = (day: string, { messages, units, bytes, under4KB }: ReturnType<Device['figures']>) =>
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
        figures.units * UNIT < figures.bytes * 1.1 + figures.messages * UNIT,
        'blocks that are paid for are used',
      );
      assertClosed(device);
    });
  }

  for (const [programs, most] of [
    [10, 10],
    [50, 11],
  ] as const) {
    it(`a thousand starts and ends of fifty commands of ${programs} programs take ${most} units at most`, async () => {
      await time.tickAsync(hours(6)); // the first snapshots have gone
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

/** Collected = delivered + aggregated away + queued + dropped, what the hub has, and what is still counted, included. */
function assertClosed({ queues, aggregator, messages }: Device): void {
  const { collected, delivered, aggregatedAway, dropped } = sum(QUEUES.map((queue) => queues.account(queue).totals));
  const queued = QUEUES.reduce((all, queue) => all + queues.waiting(queue).elements, 0);
  assert.equal(collected, delivered + aggregatedAway + queued);
  assert.deepEqual(dropped, {});
  assert.ok(Object.keys(aggregator.pending('High')).length === 0);
  const events = messages.flatMap(({ message }) => (JSON.parse(message.body) as { Events: Envelope[] }).Events);
  assert.equal(new Set(events.map(({ Id }) => Id)).size, events.length, 'an event came twice');
  const elements = events.reduce(
    (all, { Category, Payload }) => all + (Category === 'Periodic' ? 1 : Payload.length),
    0,
  );
  assert.equal(elements, delivered);
}
