import { systemClock } from '../../core/base/clock.ts';
import { askControlSocket, isNoAgentListening } from '../../core/base/control-socket.ts';
import { hours } from '../../core/base/duration.ts';
import { createLog } from '../../core/base/log.ts';
import { counted, printable, printableJson } from '../../core/base/text.ts';
import { isPlainObject } from '../../core/base/values.ts';
import { Alarm } from '../../core/base/waiting.ts';
import { readArguments, UsageError, type World } from '../../core/command-line/command.ts';
import { didYouMean } from '../../core/command-line/did-you-mean.ts';
import type { Collector, PeriodicCollector, TriggeredCollector } from '../../core/contract/collector.ts';
import { type Payload, QUEUES } from '../../core/contract/event.ts';
import type { Sources } from '../../core/contract/sources.ts';
import type { StreamName } from '../../core/contract/streams.ts';
import { twinDialect } from '../../core/twin/published-object.ts';
import { readDefaults } from '../../core/twin/twin.ts';
import { collectors } from '../collectors/index.ts';
import { Occurrences } from '../collectors/occurrences.ts';
import type { LocalSettings } from '../config/local.ts';
import { LinuxEvents } from '../linux/events.ts';
import { linuxSources } from '../linux/sources.ts';
import { envelope } from '../pipeline/envelope.ts';
import { fitRows, rowLimits } from '../pipeline/fit-rows.ts';
import type { LocalStatus } from '../status/schema.ts';
import { type Filter, filterOption, unknownFields } from './collect/filter.ts';
import { settingsOrDefaults } from './local-settings.ts';
import { snapshotSources } from './snapshot-sources.ts';

export const summary = 'Collect events now and print their payload as JSON.';
export const usage = `vakt collect EVENT… [--filter FIELD=TEXT]… [--envelope] [--config FILE]

A Periodic event is collected once, and all its elements are printed; a note on standard error reports if the agent would
send them in several messages, or not all of them. A Triggered event is followed live, one line of JSON each, until
Ctrl-C. "vakt events" lists the events.

  --filter FIELD=TEXT   show only elements whose field, also one of ExtraDetails, is TEXT; with FIELD~TEXT, contains TEXT;
                        repeatable: all must hold
  --envelope            print each event in its envelope, as in a message, one line each; several events are always
                        printed like that
  --config FILE         the running agent's configuration

If an agent is running, it provides its own statistics, and Triggered events that its configuration enables; the time in
their envelopes is when they were printed. Otherwise Triggered events are read from the kernel.`;

/** Streams that only a running agent has. */
const OWN_STREAMS: ReadonlySet<StreamName> = new Set(['log', 'configuration', 'alerts']);

const OPTIONS = {
  config: { type: 'string' },
  filter: { type: 'string', multiple: true },
  envelope: { type: 'boolean' },
} as const;

export async function run(args: readonly string[], world: World): Promise<number> {
  const { values, positionals } = readArguments(args, OPTIONS, collectors.length);
  const filter = filterOption(values.filter ?? []);
  const chosen = [...new Set(positionals.length === 0 ? [find(undefined)] : positionals.map(find))];
  const shown: Shown = { filter, inEnvelopes: values.envelope === true || chosen.length > 1 };
  const local = settingsOrDefaults(values.config, world.environment);
  for (const collector of chosen) {
    if (collector.category === 'Periodic') await snapshot(collector, { local, shown, world });
  }
  const triggered = chosen.filter((collector) => collector.category === 'Triggered');
  if (triggered.length > 0) await follow(triggered, { local, shown, world });
  return 0;
}

/** The printed events, and their format. */
interface Shown {
  readonly filter: Filter;
  readonly inEnvelopes: boolean;
}

interface Call {
  readonly local: Pick<LocalSettings, 'hostRoot' | 'controlSocket' | 'collectors'>;
  readonly shown: Shown;
  readonly world: World;
}

async function follow(all: readonly TriggeredCollector[], call: Call): Promise<void> {
  try {
    await Promise.all(all.map((collector) => followAgent(collector, call)));
  } catch (error) {
    if (all.some(({ stream }) => OWN_STREAMS.has(stream)) || !isNoAgentListening(error)) throw error;
    await followLinux(all, call);
  }
}

/** Prints one occurrence, if it passes the filter. */
function print(collector: TriggeredCollector, payload: Payload, time: Date, { shown, world }: Call): void {
  if (!shown.filter.passes(payload)) return;
  const value = shown.inEnvelopes ? envelope(collector, [payload], time) : payload;
  world.stdout(printableJson(JSON.stringify(value)), 'live');
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

async function snapshot(collector: PeriodicCollector, { local, shown, world }: Call): Promise<void> {
  const { stdout, stderr, signal } = world;
  const { filter } = shown;
  const statistics = runningAgent(local.controlSocket, signal);
  const sources = snapshotSources(local.hostRoot, statistics);
  const time = systemClock.now();
  const payload = await collector.collect(sources, signal);
  const elements = payload.filter(filter.passes);
  const text = shown.inEnvelopes
    ? JSON.stringify(envelope(collector, elements, time))
    : JSON.stringify(elements, null, 2);
  stdout(printableJson(text));
  for (const line of unknownFields(filter, payload)) stderr(printable(`${collector.name}: ${line}`));
  const notes = [...missingFrom(collector, sources), ...(await sentAs(collector, payload))];
  for (const note of notes) stderr(printable(shown.inEnvelopes ? `${collector.name}: ${note}` : note));
}

/** What the snapshot that was just taken does not show. */
function missingFrom(collector: PeriodicCollector, sources: Sources): readonly string[] {
  const { leftOut = 0, reason } = collector.sourceStatus?.(sources) ?? {};
  return [
    ...(reason === undefined ? [] : [reason]),
    ...(leftOut === 0 ? [] : [`${counted(leftOut, 'element')} left out, because the list has a limit.`]),
  ];
}

/** How the agent would send a snapshot that is larger than a message; nothing when it fits into one. */
async function sentAs(collector: PeriodicCollector, payload: readonly Payload[]): Promise<readonly string[]> {
  const { settings } = readDefaults(twinDialect());
  const limits = rowLimits(collector, settings, { bytesPerDay: Number.POSITIVE_INFINITY, isClockSet: true });
  const { parts, omittedRows, omittedDetails } = await fitRows(payload, limits, systemClock);
  if (parts.length === 1 && omittedRows + omittedDetails === 0) return [];
  const how = parts.length === 1 ? 'one message' : `${parts.length} messages, with Part, Parts and SnapshotId`;
  const bare = omittedDetails === 0 ? '' : `, ${omittedDetails} without ExtraDetails`;
  return [
    `Larger than a message: with the default sizes the agent sends ${payload.length - omittedRows} of ` +
      `${counted(payload.length, 'element')} in ${how}${bare}.`,
  ];
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
async function followAgent(collector: TriggeredCollector, call: Call): Promise<void> {
  const { name } = collector;
  const { stderr, signal } = call.world;
  await askControlSocket(call.local.controlSocket, `/follow?event=${name}`, {
    onOpen: () => stderr(`Following ${name} of the running agent; Ctrl-C ends it.`),
    onLine: (line) => {
      const payload = payloadIn(line);
      if (payload === undefined) stderr('Skipped a line of the agent that is not an element of an event.');
      else print(collector, payload, systemClock.now(), call);
    },
    signal,
  });
}

/** Any process of the agent's user could answer at its socket. */
function payloadIn(line: string): Payload | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isPlainObject(value) ? (value as Payload) : undefined;
  } catch {
    return undefined;
  }
}

async function followLinux(all: readonly TriggeredCollector[], call: Call): Promise<void> {
  const { stderr, signal } = call.world;
  const { hostRoot, collectors: options } = call.local;
  const log = createLog({ level: 'warn', destination: { write: (line) => stderr(line.trimEnd()) } });
  const { lookups } = linuxSources({ hostRoot, clock: systemClock, log });
  const occurrences = new Occurrences({ collectors: all, lookups });
  occurrences.offerTo({
    wants: () => true,
    accept(batch) {
      const collector = all.find(({ name }) => name === batch.event);
      if (collector === undefined) return;
      for (const { payload, time } of batch.occurrences()) print(collector, payload, time, call);
      for (const error of batch.broken) stderr(printable(`Skipped a broken record: ${(error as Error).message}.`));
    },
    lost: (_streams, reason, count) => stderr(`${counted(count, 'event was', 'events were')} lost (${reason}).`),
  });
  const source = new LinuxEvents({
    containerOf: (pid) => lookups.containerId(pid, 0),
    streams: () => occurrences.streams(),
    sink: occurrences,
    yieldsToAgent: true,
    hostRoot,
    loopback: options.loopbackConnections,
    clock: systemClock,
    log,
  });
  try {
    await source.start();
    for (const { name, stream } of all) {
      const { source: from, reason } = source.status(stream);
      const why = reason === undefined ? '' : ` ${reason}`;
      stderr(printable(`Following ${name} from ${from ?? 'no source'}; Ctrl-C ends it.${why}`));
    }
    const never = new Alarm();
    while (!signal.aborted) await never.sleep(systemClock, hours(24), signal);
  } finally {
    await source.stop(); // removes its rules from the kernel
  }
}
