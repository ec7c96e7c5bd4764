import { Alarm } from '../base/alarm.ts';
import { systemClock } from '../base/clock.ts';
import { askControlSocket, isNoAgentListening } from '../base/control-socket.ts';
import { hours } from '../base/duration.ts';
import { createLog } from '../base/log.ts';
import { printable, printableJson } from '../base/printable.ts';
import { collectors } from '../collectors/index.ts';
import { Occurrences } from '../collectors/occurrences.ts';
import type { LocalSettings } from '../config/local.ts';
import { readDefaults } from '../config/twin.ts';
import type { Collector, PeriodicCollector, TriggeredCollector } from '../contract/collector.ts';
import { type Payload, QUEUES } from '../contract/event.ts';
import type { Sources, StreamName } from '../contract/sources.ts';
import { LinuxEvents } from '../linux/events.ts';
import { linuxSources } from '../linux/sources.ts';
import { fitRows } from '../pipeline/fit-rows.ts';
import { rowLimits } from '../pipeline/row-limits.ts';
import type { LocalStatus } from '../status/schema.ts';
import { readArguments, UsageError, type World } from './command.ts';
import { didYouMean } from './did-you-mean.ts';
import { settingsOrDefaults } from './local-settings.ts';
import { snapshotSources } from './snapshot-sources.ts';
import { twinDialect } from './twin-dialect.ts';

export const summary = 'Collect one event now and print its payload as JSON.';
export const usage = `vakt collect EVENT [--config FILE]

A Periodic event is collected once, and all its elements are printed; a note on standard error tells if the agent would
send them in several messages, or not all of them. A Triggered event is followed live, one line of JSON each, until
Ctrl-C. "vakt events" lists the events.

If an agent is running, it provides its own statistics, and Triggered events that its configuration enables. Otherwise
Triggered events are read from the kernel.`;

/** Streams that only a running agent has. */
const OWN_STREAMS: ReadonlySet<StreamName> = new Set(['log', 'configuration', 'alerts']);

export async function run(args: readonly string[], world: World): Promise<number> {
  const { values, positionals } = readArguments(args, { config: { type: 'string' } }, 1);
  const collector = find(positionals[0]);
  const local = settingsOrDefaults(values.config, world.environment);
  const { hostRoot, controlSocket } = local;
  if (collector.category === 'Periodic') return snapshot(collector, hostRoot, controlSocket, world);
  const fromLinux = !OWN_STREAMS.has(collector.stream);
  try {
    await followAgent(collector, controlSocket, world);
  } catch (error) {
    if (!fromLinux || !isNoAgentListening(error)) throw error;
    await followLinux(collector, local, world);
  }
  return 0;
}

function find(name: string | undefined): Collector {
  const wanted = name?.toLowerCase();
  const collector = collectors.find((candidate) => candidate.name.toLowerCase() === wanted);
  if (collector !== undefined) return collector;
  const names = collectors.map((candidate) => candidate.name);
  const list = `EVENT must be one of ${names.join(', ')}`;
  const meant = name === undefined ? '' : didYouMean(name, names);
  throw new UsageError(meant === '' ? list : `there is no event "${name}"${meant} ${list}`);
}

async function snapshot(
  collector: PeriodicCollector,
  hostRoot: string,
  socket: string,
  { stdout, stderr, signal }: World,
): Promise<number> {
  const payload = await collector.collect(snapshotSources(hostRoot, runningAgent(socket, signal)), signal);
  stdout(printableJson(JSON.stringify(payload, null, 2)));
  const note = await sentAs(collector, payload);
  if (note !== undefined) stderr(note);
  return 0;
}

/** How the agent would send a snapshot that is larger than a message; `undefined` when it fits into one. */
async function sentAs(collector: PeriodicCollector, payload: readonly Payload[]): Promise<string | undefined> {
  const { settings } = readDefaults(twinDialect());
  const limits = rowLimits(collector, settings, { bytesPerDay: Number.POSITIVE_INFINITY, isClockSet: true });
  const { parts, omittedRows, omittedDetails } = await fitRows(payload, limits, systemClock);
  if (parts.length === 1 && omittedRows + omittedDetails === 0) return undefined;
  const how = parts.length === 1 ? 'one message' : `${parts.length} messages, with Part, Parts and SnapshotId`;
  return (
    `Larger than a message: with the default sizes the agent sends ${payload.length - omittedRows} of ` +
    `${payload.length} elements in ${how}${omittedDetails === 0 ? '' : `, ${omittedDetails} without ExtraDetails`}.`
  );
}

/** The running agent's counts since it was first started; reading them does not start a new period. */
const runningAgent = (socket: string, signal: AbortSignal): Sources['statistics'] => {
  const ask = async () => (await askControlSocket(socket, '/status', { signal })) as LocalStatus;
  return {
    async queues() {
      const { queues } = await ask();
      return QUEUES.map((queue) => {
        const { collected, dropped } = queues[queue];
        return { queue, collected, dropped: Object.values(dropped).reduce((a, b) => a + b, 0), droppedBy: dropped };
      });
    },
    messages: async () => (await ask()).messages,
  };
};

/**
 * Follows events of a running agent: only one process can use the kernel's audit. @throws {AgentError}
 * AGENT_NOT_RUNNING
 */
async function followAgent(
  { name }: TriggeredCollector,
  socket: string,
  { stdout, stderr, signal }: World,
): Promise<void> {
  await askControlSocket(socket, `/follow?event=${name}`, {
    onOpen: () => stderr(`Following ${name} of the running agent; Ctrl-C ends it.`),
    onLine: (line) => stdout(printableJson(line)),
    signal,
  });
}

async function followLinux(
  collector: TriggeredCollector,
  { hostRoot, collectors: { loopbackConnections } }: Pick<LocalSettings, 'hostRoot' | 'collectors'>,
  { stdout, stderr, signal }: World,
): Promise<void> {
  const { lookups } = linuxSources({ hostRoot, clock: systemClock });
  const occurrences = new Occurrences({ collectors: [collector], lookups });
  occurrences.offerTo({
    wants: () => true,
    accept(batch) {
      for (const { payload } of batch.occurrences()) stdout(printableJson(JSON.stringify(payload)));
      for (const error of batch.broken) stderr(printable(`Skipped a broken record: ${(error as Error).message}.`));
    },
    lost: (_streams, reason, count) => stderr(`${count} events were lost (${reason}).`),
  });
  const log = createLog({ level: 'warn', destination: { write: (line) => stderr(line.trimEnd()) } });
  const source = new LinuxEvents({
    containerOf: (pid) => lookups.containerId(pid, 0),
    streams: () => occurrences.streams(),
    sink: occurrences,
    hostRoot,
    loopback: loopbackConnections,
    clock: systemClock,
    log,
  });
  try {
    await source.start();
    const { source: name, reason } = source.status(collector.stream);
    stderr(
      `Following ${collector.name} from ${name ?? 'no source'}; Ctrl-C ends it.${reason === undefined ? '' : ` ${reason}`}`,
    );
    const never = new Alarm();
    while (!signal.aborted) await never.sleep(systemClock, hours(24), signal);
  } finally {
    await source.stop(); // removes its rules from the kernel
  }
}
