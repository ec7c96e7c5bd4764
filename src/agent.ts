import { randomUUID } from 'node:crypto';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readFileIfThere, writeFileAtomic } from './base/atomic-file.ts';
import { BackgroundWriter } from './base/background-writer.ts';
import type { Clock } from './base/clock.ts';
import { type Handler, serveControlSocket } from './base/control-socket.ts';
import { sum } from './base/counters.ts';
import { type Duration, milliseconds, minutes } from './base/duration.ts';
import { endOfWriting } from './base/end-of-writing.ts';
import { AgentError, messageOf } from './base/errors.ts';
import type { AdjustableLevel, Logger } from './base/log.ts';
import type { LogTap } from './base/log-tap.ts';
import { Notifier } from './base/notifier.ts';
import { Reader } from './base/reader/reader.ts';
import type { RecentLines } from './base/recent-lines.ts';
import { Runs } from './base/runs.ts';
import type { Service } from './base/service.ts';
import { shellWord } from './base/shell-word.ts';
import { clockOf } from './base/stall-clock.ts';
import { BackgroundStateFiles } from './base/state-files.ts';
import { TemporaryLogLevel } from './base/temporary-log-level.ts';
import { VERSION } from './base/version.ts';
import { type Moving, WatchedClock } from './base/watched-clock.ts';
import { IsolatedScanner } from './baseline/isolated-scanner.ts';
import { BaselineScans } from './baseline/scans.ts';
import { collectors } from './collectors/index.ts';
import { Occurrences } from './collectors/occurrences.ts';
import { logBlindSpots } from './config/blind-spot-log.ts';
import type { ConfigurationChange } from './config/changes.ts';
import { namesOf } from './config/dialect.ts';
import { largestCache, limitsInForce } from './config/limits.ts';
import type { LocalSettings } from './config/local.ts';
import { publishedObject } from './config/published-object.ts';
import { StrictStart } from './config/strict-start.ts';
import { TwinConfiguration } from './config/twin-configuration.ts';
import type { LeavesOut } from './contract/collector.ts';
import { QUEUES } from './contract/event.ts';
import type { HubClient } from './contract/hub.ts';
import { settingRows } from './contract/settings.ts';
import { AzureHubClient } from './hub/azure-client.ts';
import { CredentialWatch } from './hub/credential-watch.ts';
import { loadIdentity } from './hub/identity/index.ts';
import { DirectMethods } from './hub/methods.ts';
import { TwinSync } from './hub/twin-sync.ts';
import { Lifeline } from './lifeline.ts';
import { LinuxEvents } from './linux/events.ts';
import { ExposedFiles, type GuardedFiles } from './linux/self/exposed-files.ts';
import { lockFile } from './linux/self/file-lock.ts';
import type { ServiceManager } from './linux/self/service-manager.ts';
import { UnusedMemory } from './linux/self/unused-memory.ts';
import { linuxSources } from './linux/sources.ts';
import { methods } from './methods/index.ts';
import type { MethodParts } from './methods/parts.ts';
import { Aggregator } from './pipeline/aggregator.ts';
import { BackgroundFiles } from './pipeline/background-files.ts';
import { collectGarbage, MemoryLimit } from './pipeline/memory-limit.ts';
import { MessageBudget } from './pipeline/message-budget.ts';
import { ChangeNotices } from './pipeline/notices.ts';
import { Pause } from './pipeline/pause.ts';
import { Publisher } from './pipeline/publisher.ts';
import { EventQueues } from './pipeline/queue.ts';
import { Snapshots } from './pipeline/snapshots.ts';
import { Statistics } from './pipeline/statistics.ts';
import { Triggers } from './pipeline/triggers.ts';
import { UnsetClock } from './pipeline/unset-clock.ts';
import { localStatus, type Observed } from './status/observe.ts';
import { ReportedStatus } from './status/reported.ts';

/** How long the event of a changed configuration waits at most, whatever the twin's frequencies are. */
const NOTICES_WITHIN = minutes(7);

/**
 * What may wait in memory for a disk that is slow, and again for one that refuses: of the memory budget such a part
 * each, 8 MiB of 96.
 */
const PARTS_OF_MEMORY = 12;

/**
 * Every part of the agent. A part is created after the parts that it uses. It announces changes by a Notifier, and later
 * parts subscribe. The returned list is in the order of the start; data flows from its end to its beginning.
 *
 * @param signal the run is to end: ends what the start may wait for
 * @throws {AgentError} what only an operator can mend on the device: secrets, state directory
 */
export function agent(
  local: LocalSettings,
  {
    clock,
    log,
    tap,
    level,
    recent,
    files,
    manager,
    signal,
    dryHub,
    abandoned,
  }: {
    clock: Clock;
    log: Logger;
    tap: LogTap;
    level: AdjustableLevel;
    recent: RecentLines;
    files: Omit<GuardedFiles, 'state'>;
    manager: ServiceManager;
    signal: AbortSignal;
    /** Takes the place of the hub; then no identity is needed either. */
    dryHub?: HubClient & Service;
    /** Told at the end when the disk has not taken everything: a thread still waits for it. */
    abandoned?: () => void;
  },
): Service[] {
  const access = dryHub === undefined ? { identity: loadIdentity(local.identity, local.hub) } : { dryHub };
  useStateDirectory(local.stateDirectory, log);
  const state = (file: string) => join(local.stateDirectory, file);
  const bootId = readFileIfThere('/proc/sys/kernel/random/boot_id')?.trim();
  const sender = { version: VERSION, id: local.agentId ?? keptAgentId(state('agent-id')) };

  const moving: Record<string, Moving> = {};
  /** The clock of a part that must never stand still. */
  const watched = (part: string): Clock => {
    const its = new WatchedClock(clockOf(clock, part));
    moving[part] = its;
    return its;
  };

  // Parts that act on a change are created after the parts that announce it, and subscribe then.
  const stateChanged = new Notifier();
  const collectingResumed = new Notifier();
  const messageCounted = new Notifier();
  const configurationChanged = new Notifier<ConfigurationChange>();

  const linux = linuxSources({ hostRoot: local.hostRoot, clock: clockOf(clock, 'linux') });
  const occurrences = new Occurrences({ collectors, lookups: linux.lookups });
  const memoryBytes = (local.memoryBudgetInMegabytes * 1024 * 1024) / PARTS_OF_MEMORY;
  const writer = new BackgroundWriter({ clock, most: memoryBytes });
  const stateFiles = new BackgroundStateFiles({ clock, lane: writer.syncs });
  const storeFiles = new BackgroundFiles(writer);
  const limits = limitsInForce(local.limits, collectors, () => largestCache(local.stateDirectory, state('queues')));
  const dialect = publishedObject(settingRows(collectors), local.twinObjectName);
  const nameOf = namesOf(dialect.properties);
  const configuration = new TwinConfiguration({
    dialect,
    limits,
    lastGoodFile: state('last-good-configuration.json'),
    tell: (faults) => occurrences.accept('configuration', faults),
    changed: configurationChanged.notify,
    clock,
    log: log.child({ part: 'configuration' }),
    files: stateFiles,
  });
  const { settings } = configuration;
  logBlindSpots({ settings, limits, collectors, nameOf, log: log.child({ part: 'configuration' }) });
  const queues = new EventQueues({
    directory: state('queues'),
    settings,
    ageLimit: local.queueAgeLimit,
    clock: watched('queues'),
    log: log.child({ part: 'queues' }),
    files: storeFiles,
    memoryBytes,
    changed: () => {
      writer.releaseNotes();
      stateChanged.notify();
    },
  });
  const unsetClock = new UnsetClock({ clock, log: log.child({ part: 'clock' }), bootId: bootId ?? randomUUID() });
  const timed = unsetClock.around(queues);
  const hub =
    'dryHub' in access
      ? access.dryHub
      : new AzureHubClient({
          identity: access.identity,
          ...local.hub,
          productInfo: `vakt/${VERSION}`,
          methods: { call: (...what) => directMethods.call(...what) },
          clock: clockOf(clock, 'hub'),
          log: log.child({ part: 'hub' }),
        });
  const budget = new MessageBudget({
    file: state('message-units.json'),
    unitsPerDay: local.limits.messageUnitsPerDay,
    clock,
    log: log.child({ part: 'budget' }),
    files: stateFiles,
    changed: stateChanged.notify,
  });
  const publisher = new Publisher({
    budget,
    queues: timed,
    hub,
    settings,
    sender,
    routing: local.messageRouting,
    clock: watched('publisher'),
    log: log.child({ part: 'publisher' }),
    noted: messageCounted.notify,
  });
  const statistics = new Statistics({
    file: state('statistics.json'),
    totals: (queue) => queues.account(queue).totals,
    sent: () => publisher.sent(),
    log: log.child({ part: 'statistics' }),
    files: stateFiles,
  });
  messageCounted.on(() => statistics.save());
  writer.holdsNotes = () => queues.isInMemory;
  const aggregator = new Aggregator({
    directory: state('aggregates'),
    settings,
    queues: timed,
    clock: watched('aggregator'),
    log: log.child({ part: 'aggregator' }),
    files: storeFiles,
  });
  const unused = new UnusedMemory();
  const memory = new MemoryLimit({
    budgetInMegabytes: local.memoryBudgetInMegabytes,
    resident: () => process.memoryUsage.rss(),
    trim: () => {
      collectGarbage();
      unused.giveBack();
    },
    flush: () => aggregator.flush(),
    clock: clockOf(clock, 'memory'),
    log: log.child({ part: 'memory' }),
    changed: () => {
      collectingResumed.notify();
      stateChanged.notify();
    },
  });
  const pause = new Pause({
    file: state('pause.json'),
    skipped: () => sum(QUEUES.map((queue) => queues.account(queue).totals)).dropped.paused ?? 0,
    clock,
    log: log.child({ part: 'pause' }),
    files: stateFiles,
    changed: () => {
      collectingResumed.notify();
      stateChanged.notify();
    },
  });
  const leavesOut: LeavesOut = (collector, priority) => {
    if (pause.skips(collector)) return 'paused';
    return memory.leavesOut(collector, priority) === undefined ? undefined : 'memory';
  };
  const triggers = new Triggers({
    collectors,
    settings,
    aggregator: unsetClock.before(aggregator),
    queues: timed,
    origin: `${sender.id} ${bootId ?? ''}`,
    leavesOut,
    log: log.child({ part: 'triggers' }),
  });
  occurrences.offerTo(triggers);
  // By the shorter of the frequencies before and after the change, so that a change can't delay its own event.
  let noticesWithin: Duration = NOTICES_WITHIN;
  const changeNotices = new ChangeNotices({
    announce: (line) => {
      for (const batch of occurrences.translate('log', [line])) triggers.announce(batch);
      publisher.sendHighWithin(noticesWithin);
    },
    clock,
    log: log.child({ part: 'notices' }),
  });
  configurationChanged.on((change) => changeNotices.accept(change));
  const linuxEvents = new LinuxEvents({
    containerOf: (pid) => linux.lookups.containerId(pid, 0),
    streams: () => occurrences.streams(),
    sink: occurrences,
    hostRoot: local.hostRoot,
    loopback: local.collectors.loopbackConnections,
    stateDirectory: local.stateDirectory,
    writer,
    clock: clockOf(clock, 'linux'),
    log: log.child({ part: 'linux' }),
    changed: stateChanged.notify,
  });
  const exposedFiles = new ExposedFiles({
    files: { ...files, state: local.stateDirectory },
    lane: writer.syncs,
    clock: clockOf(clock, 'files'),
    log: log.child({ part: 'files' }),
    changed: stateChanged.notify,
  });
  const runs = new Runs({
    file: state('last-run.json'),
    bootId,
    isAskedTo: () => signal.aborted,
    clock,
    log: log.child({ part: 'runs' }),
    files: stateFiles,
  });
  const baseline = new BaselineScans({
    scanner: new IsolatedScanner({
      reader: new Reader({ clock, log: log.child({ part: 'baseline' }) }),
      hostRoot: local.hostRoot,
      firewall: linux.snapshots.firewall,
      clock,
      log: log.child({ part: 'baseline' }),
    }),
    settings,
    tell: (faults) =>
      occurrences.accept(
        'configuration',
        faults.map(({ setting, ...fault }) => ({ name: nameOf(setting), ...fault })),
      ),
    clock: clockOf(clock, 'baseline'),
    log: log.child({ part: 'baseline' }),
  });
  const snapshots = new Snapshots({
    collectors,
    sources: { ...linux.snapshots, baseline, statistics: statistics.source },
    settings,
    queues: timed,
    leavesOut,
    bytesPerDay: (queue) => publisher.bytesPerDay(queue),
    clock: watched('snapshots'),
    log: log.child({ part: 'snapshots' }),
    changed: () => {
      void exposedFiles.look();
      stateChanged.notify();
    },
  });
  collectingResumed.on(() => snapshots.catchUp());
  moving.events = linuxEvents;

  let stopping = false;
  const observed: Observed = {
    version: VERSION,
    agentId: sender.id,
    startedAt: () => unsetClock.startedAt,
    ...(bootId === undefined ? {} : { bootId }),
    stopping: () => stopping,
    collectors,
    settings: () => settings.current(),
    nameOf,
    limits,
    configuration: () => configuration.state(),
    lastRun: (event) => snapshots.lastRun(event),
    stream: (name) => linuxEvents.status(name),
    queues,
    aggregator,
    sent: () => publisher.sent(),
    budget: () => budget.use(),
    memory,
    pause: () => pause.status(),
    restarts: () => runs.status(),
    exposed: () => exposedFiles.status(),
    baseline,
    logLevel: () => logLevel.status(),
    hub: () => hub.status(),
    next: () => publisher.next(),
    routing: local.messageRouting,
    stall: () => clock.lastStall?.(),
  };
  const logLevel = new TemporaryLogLevel({ level, clock, log: log.child({ part: 'log' }) });
  const directMethods = new DirectMethods<MethodParts>({
    methods,
    permissions: local.directMethods,
    parts: {
      now: () => clock.now(),
      status: () => localStatus(observed),
      takeNow: (events) => snapshots.takeNow(events),
      flush: (limit) => {
        aggregator.flush();
        return publisher.flush(limit);
      },
      pause,
      logLevel,
      recentLines: () => recent.all(),
      configuration: () => configuration.reported(),
      local,
      secrets: 'identity' in access ? [access.identity.sharedAccessKey] : [],
    },
    clock,
    log: log.child({ part: 'methods' }),
  });
  const reported = new ReportedStatus({
    observed,
    settings,
    clock: clockOf(clock, 'status'),
    log: log.child({ part: 'status' }),
    changed: stateChanged.notify,
  });
  const twin = new TwinSync({
    hub,
    apply: (desired) => configuration.obey(desired),
    reported: () => ({ ...configuration.reported(), securityAgent: reported.current() }),
    clock: watched('twin'),
    log: log.child({ part: 'twin' }),
  });
  stateChanged.on(() => twin.changed());
  const credentialWatch = new CredentialWatch({
    status: () => hub.status(),
    changed: stateChanged.notify,
    clock: clockOf(clock, 'credential'),
    log: log.child({ part: 'credential' }),
  });
  const strictStart = new StrictStart({
    verdict: configuration.verdict,
    obstacle: () => hub.status().error,
    clock,
    signal,
  });
  const lifeline = new Lifeline({
    manager,
    moving,
    status: () => localStatus(observed),
    clock: clockOf(clock, 'lifeline'),
    log: log.child({ part: 'lifeline' }),
  });
  settings.onChange((before) => {
    noticesWithin = milliseconds(Math.min(before.highPriorityMessageFrequency, NOTICES_WITHIN));
    linuxEvents.refresh();
    twin.changed();
  });
  hub.on('status', () => twin.changed());

  return [
    controlSocket(
      local.controlSocket,
      { '/status': () => localStatus(observed), '/follow': followHandler(triggers) },
      log,
    ),
    endOfWriting({ writer, stateFiles, clock, log, ...(abandoned === undefined ? {} : { abandoned }) }),
    runs, // how they ended
    queues, // what an earlier run could not send
    aggregator.recovery, // and what it was counting
    pause, // before anything is collected
    logEvents(tap, occurrences),
    runs.report,
    exposedFiles,
    unsetClock,
    statistics.keeper(clock),
    changeNotices,
    budget,
    logLevel,
    hub, // connects, and goes on trying for ever, in the background
    twin, // desired in, reported out
    ...(local.strictStart ? [strictStart] : []),
    reported,
    credentialWatch,
    publisher,
    aggregator,
    memory,
    snapshots, // Periodic collectors
    linuxEvents, // Triggered collectors
    endOfRun(() => {
      stopping = true;
      stateFiles.hurry();
      runs.end();
      reported.takeFigures();
    }),
    lifeline, // says that all of this has started
  ];
}

/**
 * Makes the state directory if it isn't there, and lets no other agent use it as long as this process lives: two
 * writers would lose each other's events.
 */
function useStateDirectory(directory: string, log: Logger): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const { mode } = statSync(directory);
    if ((mode & 0o022) !== 0) {
      const remedy = `Take the permission to write from others: chmod go-w ${shellWord(directory)}`;
      throw new AgentError('STATE_DIRECTORY_UNUSABLE', `others can write to ${directory}`, remedy);
    }
    lockFile(join(directory, 'lock'));
  } catch (cause) {
    if (cause instanceof AgentError && cause.id === 'SOCKET_UNAVAILABLE') {
      log.warn({ err: cause }, 'Could not lock the state directory; see to it that only one agent uses it.');
      return;
    }
    if (cause instanceof AgentError) throw cause;
    const remedy = `Create ${directory} for the user that the agent runs as, or set stateDirectory to another one.`;
    const what = `cannot use the state directory: ${messageOf(cause)}`;
    throw new AgentError('STATE_DIRECTORY_UNUSABLE', what, remedy, { cause });
  }
}

/** The id that names this agent in its messages: made once, and kept for as long as the state directory lives. */
function keptAgentId(file: string): string {
  try {
    const kept = readFileIfThere(file)?.trim();
    if (kept !== undefined && /^[0-9a-f-]{36}$/i.test(kept)) return kept;
    const id = randomUUID();
    writeFileAtomic(file, `${id}\n`);
    return id;
  } catch (cause) {
    const remedy = 'Make the state directory readable and writable for the user that the agent runs as.';
    throw new AgentError('STATE_DIRECTORY_UNUSABLE', `cannot keep the agent's id: ${messageOf(cause)}`, remedy, {
      cause,
    });
  }
}

/** Lets `vakt status` ask. Without it the agent still does its work, so that only another running agent is fatal. */
function controlSocket(path: string, handlers: Parameters<typeof serveControlSocket>[1], log: Logger): Service {
  let close = async () => {};
  return {
    name: 'control socket',
    async start() {
      try {
        close = await serveControlSocket(path, handlers);
      } catch (error) {
        if (error instanceof AgentError) throw error;
        log.warn({ path, err: error }, 'Could not open the control socket; "vakt status" will not work.');
      }
    },
    stop: () => close(),
  };
}

/** Streams the payloads of one event, a JSON line each, for `vakt collect`. A reader that is too slow misses some. */
const followHandler =
  (triggers: Triggers): Handler =>
  (query, response) => {
    const event = query.get('event');
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.flushHeaders();
    const end = triggers.follow((name, payload) => {
      if (name === event && !response.writableNeedDrain) response.write(`${JSON.stringify(payload)}\n`);
    });
    response.on('close', end);
    return undefined;
  };

/** Last to start, so first to stop: says so before anything else ends. */
const endOfRun = (say: () => void): Service => ({ name: 'end of run', start: async () => {}, stop: async () => say() });

/** Stopped before the queues close: what is logged after that can't become an event any more. */
function logEvents(tap: LogTap, occurrences: Occurrences): Service {
  let stop = () => {};
  return {
    name: 'log events',
    async start() {
      stop = tap.listen((line) => occurrences.accept('log', [line]));
    },
    stop: async () => stop(),
  };
}
