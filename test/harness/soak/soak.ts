import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { ReceivedMessage } from '../../../src/emulator/message-log.ts';
import { MethodError } from '../../../src/emulator/method-calls.ts';
import { type AgentProcess, DEVICE, MODULE, TestBed } from '../../integration/test-bed.ts';
import { faultsIn } from '../../message-schema.ts';
import type { Band } from '../chart.ts';
import { MemoryLoad } from '../memory-load.ts';
import { reading } from '../scenario/launch.ts';
import { NumberedLog } from '../scenario/numbered-log.ts';
import { Random } from '../scenario/random.ts';
import { runScenario, type Scenario, type Step, Verdict } from '../scenario/runner.ts';
import { SmallDisk } from '../small-disk.ts';
import { until } from '../until.ts';
import { CpuPeer } from './cpu-peer.ts';
import { GatewayLoad, RUN_FOR_CONNECTOR, RUN_FOR_POLLING, type StartsLog } from './gateway-load.ts';
import { HostileLoad } from './hostile-load.ts';
import type { LiveMemory } from './live-memory.ts';
import { childrenOf, cpuOf, type Usage, usageOf } from './measure.ts';
import { byAudit, inLoginFile, type RecordSession } from './sessions.ts';
import { COUNTED, Tally } from './tally.ts';
import { CALM, calm, type Properties, TIMETABLE } from './timetable.ts';

const SHIFTED_CLOCK = new URL('../../integration/shifted-clock.js', import.meta.url).href;
const LIVE_MEMORY = new URL('./live-memory.js', import.meta.url).href;
const IS_ROOT = process.getuid?.() === 0;
const DISK_BYTES = 24 * 2 ** 20;
/** As with the default settings of the module twin, in seconds. */
const DEFAULT_SECONDS = { high: 420, low: 18_000, snapshot: 46_800, aggregation: 3_600 };

/** Parts of an hour: when its fault begins and ends, and when the gateway comes to rest. */
const BEGINS = 0.2;
const ENDS = 0.55;
const RESTS = 0.75;
const SAMPLES_PER_HOUR = 12;
const SHORTEST_SAMPLE = seconds(2);

const STARTS_WITHIN = seconds(120);
/** The longest delays of the back-offs, plus the time to deliver everything afterwards. */
const SETTLES_WITHIN = minutes(6);
const FLUSH_AGAIN = seconds(11);
/** Maximum time for a snapshot, which must not run during the measurement at rest. */
const RESTS_WITHIN = minutes(2);
/** How long CPU at rest is measured. */
const REST_LASTS = seconds(5);
/**
 * Programs per unit of work, how many start at once, and how often; and the time that the agent has for the last ones.
 */
const UNIT_STARTS = 1_000;
const UNIT_AT_ONCE = 50;
const UNIT_EVERY = milliseconds(150);
const UNIT_ENDS_AFTER = seconds(2);
/**
 * Number of records that the agent's peer reads whenever programs start. It costs about as much CPU as the agent's
 * work.
 */
const PEER_RECORDS = 768;

export interface Options {
  /** How long the run lasts; the last hour is completed. */
  readonly duration: Duration;
  /** How long a day of the gateway is. */
  readonly day: Duration;
  /** The hour of the day with which the run begins. */
  readonly from: number;
  readonly seed: number;
  readonly hostile: boolean;
  /** Whether starts come only from an auditd log that the soak writes. */
  readonly isApart: boolean;
  /** Aborts the run. */
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** Measured while the gateway works. `x` in days of the gateway. */
export type Sample = Usage & { readonly x: number };

/** Measured when the gateway is at rest, at the end of each of its hours. */
export interface Look extends Sample {
  /** Live memory in V8's heap and outside of it after a collection, without compiled code, and that code; in MiB. */
  readonly live: number;
  readonly code: number;
  /** CPU of a second in which nothing happens, and of a unit of work, in ms. */
  readonly rest: number;
  readonly unit: number;
  /** CPU of a peer that is woken up for each part of a unit of work, in ms. */
  readonly peer: number;
}

/** Measured at rest only. */
const AT_REST = ['live', 'code', 'rest', 'unit', 'peer'] as const;

export const isAtRest = (figure: keyof Look): figure is (typeof AT_REST)[number] =>
  (AT_REST as readonly string[]).includes(figure);

/** A gateway's days, sped up, with one agent that is never restarted. */
export class Soak implements Scenario {
  readonly verdict: Verdict;
  readonly samples: Sample[] = [];
  readonly looks: Look[] = [];
  readonly disturbances: Band[] = [];
  /** Where starts of programs come from. */
  source = 'none';
  readonly #options: Options;
  readonly #bed: TestBed;
  readonly #tally = new Tally();
  readonly #random: Random;
  readonly #usual: Properties;
  /** Names of properties that the twin has had. */
  readonly #desired = new Set<string>();
  readonly #closing = new AbortController();
  #startedAgent: AgentProcess | undefined;
  #startedLoad: GatewayLoad | undefined;
  #died: Promise<never> | undefined;
  #sampling: Promise<void> | undefined;
  #disk: SmallDisk | undefined;
  #hostile: HostileLoad | undefined;
  #peer: CpuPeer | undefined;
  #clockShift = 0;
  /** Start of the first hour; before that, start of the run. */
  #began: number = systemClock.monotonic();

  private constructor(bed: TestBed, options: Options, usual: Properties, verdict: Verdict) {
    this.#bed = bed;
    this.#options = options;
    this.verdict = verdict;
    this.#usual = usual;
    this.#random = new Random(options.seed);
    bed.hub.on('message', ({ body }: ReceivedMessage) => {
      this.#tally.received(body);
      this.#violates(faultsIn(JSON.parse(body), { isMarked: false }));
    });
  }

  static async run(options: Options): Promise<Soak> {
    const { seed, signal, day, duration, say } = options;
    const usual = usualAt(speedOf(options));
    const verdict = new Verdict(`soak, seed ${seed}`, say);
    const soak = new Soak(await TestBed.open({ desired: usual }), options, usual, verdict);
    await runScenario(soak, verdict, signal);
    if (signal.aborted) say('ended early');
    say(
      `${(duration / 3_600_000).toFixed(2)} h, a day in ${day / 60_000} min, ${soak.looks.length} hours; starts from ${soak.source}`,
    );
    return soak;
  }

  get directory(): string {
    return this.#bed.directory;
  }

  /** Rejects when the agent exits. */
  get failed(): Promise<never> | undefined {
    return this.#died;
  }

  async begin(signal: AbortSignal): Promise<void> {
    const { hostile, isApart, say } = this.#options;
    if (IS_ROOT) this.#disk = new SmallDisk(this.#stateDirectory, DISK_BYTES);
    else say('left out: a disk of its own for the state directory, which only root can mount');
    const log = isApart ? startsLog(join(this.directory, 'host'), this.#random) : undefined;
    const loginFile = log === undefined ? this.#makeLoginFile() : undefined;
    const agent = this.#startAgent(log, loginFile);
    const { collectors } = await agent.waitForStatus(
      (status) => isReady(status) && (!isApart || status.collectors.ProcessCreate?.source === 'auditLog'),
      STARTS_WITHIN,
    );
    this.source = collectors.ProcessCreate?.source ?? 'none';
    this.#startedLoad = this.#makeLoad(this.source, collectors.Login?.source, { loginFile, log });
    if (hostile) {
      this.#hostile = new HostileLoad();
      await this.#hostile.start();
    }
    await this.#fillMemories(signal);
    this.#began = systemClock.monotonic();
    this.#sampling = this.#sample(AbortSignal.any([signal, this.#closing.signal]));
  }

  async load(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#load.live(signal), this.#hostile?.raid(signal)]);
  }

  *steps(): Iterable<Step> {
    const part = (from: number, to: number) => milliseconds((to - from) * this.#hour);
    const times = { before: part(0, BEGINS), lasts: part(BEGINS, ENDS), after: part(ENDS, RESTS) };
    for (let hour = this.#options.from; this.#elapsed < this.#options.duration; hour += 1) {
      const faultAt = TIMETABLE[hour % TIMETABLE.length] ?? calm;
      const fault = faultAt({
        hub: this.#bed.hub,
        load: this.#load,
        setClock: (shift) => this.#setClock(shift),
        desire: (properties) => this.#desire(properties),
        restoreTwin: () => this.#restoreTwin(),
        disk: this.#disk,
      });
      const recover = (began: number, ended: number) => {
        if (fault.name !== CALM)
          this.disturbances.push({ from: this.#dayAt(began), to: this.#dayAt(ended), name: fault.name });
      };
      yield { ...times, fault, recover, check: () => this.#look(hour, fault.name) };
    }
  }

  /** Each hour has been checked. */
  async settle(): Promise<void> {}

  async close({ keep }: { keep: boolean }): Promise<void> {
    this.#closing.abort();
    await this.#sampling?.catch((error) => this.#violates([String(error)]));
    await this.#startedLoad?.end();
    this.#hostile?.end();
    this.#peer?.end();
    if (keep && this.#disk !== undefined)
      this.#options.say(`${this.#stateDirectory} is a file system of its own, still mounted`);
    await this.#startedAgent?.end();
    if (!keep) this.#disk?.unmount(); // otherwise its folder could not be removed
    await this.#bed.close({ keep });
  }

  get #agent(): AgentProcess {
    if (this.#startedAgent === undefined) throw new Error('the agent has not been started');
    return this.#startedAgent;
  }

  get #load(): GatewayLoad {
    if (this.#startedLoad === undefined) throw new Error('the load has not been started');
    return this.#startedLoad;
  }

  #startAgent(log: SoakLog | undefined, loginFile: string | undefined): AgentProcess {
    this.#setClock(0);
    this.#bed.writeConfiguration({
      collectors: { loopbackConnections: true },
      detections: {},
      ...(log === undefined ? {} : { hostRoot: log.events.hostRoot }),
    });
    const { options = [], ...how } = log === undefined ? {} : reading(log.events);
    const agent = this.#bed.startAgent({
      ...(loginFile === undefined ? {} : { through: withLogFolder(join(loginFile, '..')) }),
      ...how,
      options: ['--import', SHIFTED_CLOCK, '--expose-gc', '--import', LIVE_MEMORY, ...options],
      environment: { SHIFTED_CLOCK: join(this.directory, 'clock'), LIVE_MEMORY: this.#liveMemory },
    });
    this.#startedAgent = agent;
    this.#died = agent.exited.then(({ status, signal }) => {
      throw new Error(`the agent ended with ${status ?? signal}:\n${agent.output.slice(-4_000)}`);
    });
    this.#died.catch(() => {}); // it also exits at the end
    return agent;
  }

  /** Fills the agent's bounded caches first: their growth would look like a leak for days. */
  async #fillMemories(signal: AbortSignal): Promise<void> {
    await this.#load.fillMemories(signal);
    await this.#deliverAll();
    this.#bed.hub.clearMessages();
    this.#options.say(`filled what the agent remembers, in ${(this.#elapsed / 1_000).toFixed(0)} s`);
  }

  /** Lets the agent deliver everything, compares its output with the events, and measures at rest. */
  async #look(hour: number, name: string): Promise<void> {
    const rested = this.#elapsed;
    await this.#load.settle();
    const status = await this.#deliverAll();
    await this.#slowDown();
    await this.#becomeIdle();
    const usage = usageOf(this.#agent.pid, this.#stateDirectory);
    const { data: live, code } = await this.#measureLive();
    const counts = COUNTED.map((event) => {
      const made = this.#tally.count(event);
      return `${made - this.#tally.missing(event)} of ${made} ${event}`;
    });
    const dropped = Object.entries(status.delivery.dropped).map(([reason, count]) => `${count} ${reason}`);
    const settledAfter = (this.#elapsed - rested) / 1_000;
    const cpu = await this.#measureCpu();
    this.looks.push({ x: this.#day, ...usage, live, code, ...cpu });
    this.#restoreTwin();
    this.#bed.hub.clearMessages(); // the received events have been counted
    this.#options.say(
      `hour ${hour}${name === CALM ? '' : ` (${name})`}, settled in ${settledAfter.toFixed(0)} s: ${counts.join(', ')}; dropped: ${dropped.join(', ') || 'none'}; ` +
        `${usage.rss.toFixed(1)} MiB RSS, ${usage.pss.toFixed(1)} MiB PSS, ${live.toFixed(2)} MiB alive, ${code.toFixed(2)} MiB of code, ${usage.descriptors} descriptors, ` +
        `${usage.state.toFixed(0)} KiB of state, ${cpu.rest.toFixed(1)} ms for a second at rest, ${cpu.unit.toFixed(0)} ms for ${UNIT_STARTS} starts (the peer ${cpu.peer.toFixed(0)} ms)`,
    );
  }

  /** @returns the status when the agent has delivered everything deliverable, or when the run must end early */
  async #deliverAll(): Promise<LocalStatus> {
    await systemClock.sleep(seconds(3)); // a source is read several times per second
    const deadline = systemClock.monotonic() + SETTLES_WITHIN;
    let flushAt: number = systemClock.monotonic();
    for (;;) {
      if (systemClock.monotonic() >= flushAt) {
        flushAt = systemClock.monotonic() + FLUSH_AGAIN;
        await this.#flush();
      }
      const status = await this.#agent.status();
      const wrong = this.#tally.disagreements(status);
      const waiting = COUNTED.reduce((all, event) => all + (status.events[event]?.queued ?? 0), 0);
      if ((wrong.length === 0 && waiting === 0) || this.#options.signal.aborted) {
        this.#violates(this.#tally.toldTooOften());
        return status;
      }
      if (systemClock.monotonic() > deadline) {
        this.#violates([
          ...wrong,
          ...(waiting > 0 ? [`${waiting} events still wait`] : []),
          ...this.#tally.toldTooOften(),
        ]);
        return status;
      }
      await systemClock.sleep(seconds(1));
    }
  }

  /** Gives the agent the settings of a real day, so that no message and no snapshot falls into the measurement. */
  async #slowDown(): Promise<void> {
    this.#desire(usualAt(1));
    const { $version } = this.#bed.hub.twin(DEVICE, MODULE).desired;
    await this.#agent.waitForStatus(({ configuration }) => configuration.desiredVersion === $version, SETTLES_WITHIN);
  }

  /**
   * Waits until the agent's children for reading files and for snapshots have exited. A stuck child is also measured.
   */
  async #becomeIdle(): Promise<void> {
    const deadline = systemClock.monotonic() + RESTS_WITHIN;
    while (
      childrenOf(this.#agent.pid).length > 0 &&
      systemClock.monotonic() < deadline &&
      !this.#options.signal.aborted
    )
      await systemClock.sleep(milliseconds(100));
  }

  /**
   * Calls a method like an operator. The call fails while the agent is not connected, or shortly after another call.
   */
  async #flush(): Promise<void> {
    try {
      await this.#bed.hub.invokeMethod(DEVICE, MODULE, 'flush');
    } catch (error) {
      if (!(error instanceof MethodError)) throw error;
    }
  }

  /** Collects the agent's garbage. @returns the remaining live memory, in MiB */
  async #measureLive(): Promise<LiveMemory> {
    rmSync(this.#liveMemory, { force: true });
    process.kill(this.#agent.pid, 'SIGUSR2');
    await until('the memory that is alive', () => existsSync(this.#liveMemory));
    const { data, code } = JSON.parse(readFileSync(this.#liveMemory, 'utf8')) as LiveMemory;
    return { data: data / 2 ** 20, code: code / 2 ** 20 };
  }

  async #measureCpu(): Promise<Pick<Look, 'rest' | 'unit' | 'peer'>> {
    const [{ pid }, load] = [this.#agent, this.#load];
    this.#peer ??= await CpuPeer.start();
    const peer = this.#peer;
    const memoryLoad = new MemoryLoad();
    try {
      const before = cpuOf(pid);
      await systemClock.sleep(REST_LASTS);
      const rested = { agent: cpuOf(pid), peer: peer.cpu };
      for (let started = 0; started < UNIT_STARTS; started += UNIT_AT_ONCE) {
        load.burst(UNIT_AT_ONCE);
        peer.wake(PEER_RECORDS);
        await systemClock.sleep(UNIT_EVERY);
      }
      await load.settle();
      await systemClock.sleep(UNIT_ENDS_AFTER);
      return {
        rest: (rested.agent - before) / (REST_LASTS / 1_000),
        unit: cpuOf(pid) - rested.agent,
        peer: peer.cpu - rested.peer,
      };
    } finally {
      await memoryLoad.end();
    }
  }

  async #sample(signal: AbortSignal): Promise<void> {
    const every = milliseconds(Math.max(SHORTEST_SAMPLE, this.#hour / SAMPLES_PER_HOUR));
    while (!signal.aborted) {
      this.samples.push({ x: this.#day, ...usageOf(this.#agent.pid, this.#stateDirectory) });
      await systemClock.sleep(every, signal);
    }
  }

  #makeLoad(
    source: string,
    loginSource: string | undefined,
    { loginFile, log }: { loginFile: string | undefined; log: SoakLog | undefined },
  ): GatewayLoad {
    const { say, day } = this.#options;
    const isAudit = source.startsWith('audit');
    const runs = { procConnector: RUN_FOR_CONNECTOR, procPolling: RUN_FOR_POLLING }[source];
    if (!isAudit && runs === undefined) throw new Error(`there is no source of starts: ${source}`);
    say(
      `starts from ${source}${isAudit ? '' : ', with programs that run for some seconds'}; a day in ${day / 60_000} min`,
    );
    if (!isAudit || log !== undefined) say("left out: connections, which only the kernel's audit tells");
    const recordSession = this.#sessionsFor(loginSource, loginFile);
    if (recordSession === undefined)
      say(`left out: logins from ${loginSource ?? 'nowhere'}${IS_ROOT ? '' : ', which only root can make'}`);
    return new GatewayLoad({
      tally: this.#tally,
      random: this.#random,
      speed: speedOf(this.#options),
      programsRun: runs ?? milliseconds(0),
      connections: isAudit && log === undefined,
      startsLog: log,
      recordSession,
    });
  }

  /** @returns how logins are recorded for this source; `undefined` where they can't be */
  #sessionsFor(source: string | undefined, loginFile: string | undefined): RecordSession | undefined {
    if (!IS_ROOT || source === undefined || source === 'auditLog') return undefined;
    if (source.startsWith('audit')) return byAudit();
    return loginFile === undefined ? undefined : inLoginFile(loginFile, () => this.#clockShift);
  }

  /** @returns its path; `undefined` when the agent can't be given one */
  #makeLoginFile(): string | undefined {
    if (!IS_ROOT) return undefined;
    const folder = join(this.#bed.directory, 'log');
    mkdirSync(folder);
    writeFileSync(join(folder, 'wtmp'), '');
    return join(folder, 'wtmp');
  }

  /** @param shift in minutes */
  #setClock(shift: number): void {
    this.#clockShift = shift * 60_000;
    this.#bed.write('clock', String(this.#clockShift));
  }

  #desire(properties: Properties): void {
    for (const name of Object.keys(properties)) this.#desired.add(name);
    this.#bed.desire(properties);
  }

  #restoreTwin(): void {
    this.#bed.desire({ ...Object.fromEntries([...this.#desired].map((name) => [name, null])), ...this.#usual });
  }

  #violates(violations: readonly string[]): void {
    this.verdict.add(violations.map((violation) => `day ${this.#day.toFixed(2)}: ${violation}`));
  }

  get #stateDirectory(): string {
    return join(this.directory, 'state');
  }

  get #liveMemory(): string {
    return join(this.directory, 'live-memory');
  }

  get #elapsed(): number {
    return systemClock.monotonic() - this.#began;
  }

  get #day(): number {
    return this.#dayAt(systemClock.monotonic());
  }

  #dayAt(time: number): number {
    return (time - this.#began) / this.#options.day;
  }

  get #hour(): number {
    return this.#options.day / 24;
  }
}

/** An auditd log that only the soak writes, for an agent without access to the kernel's audit. */
interface SoakLog extends StartsLog {
  readonly events: NumberedLog;
}

function startsLog(root: string, random: Random): SoakLog {
  let argument = '';
  const events = new NumberedLog(root, random, { distinct: false, argument: () => argument });
  return {
    events,
    started(what) {
      argument = what;
      events.burst(1);
      void events.complete(); // if the soak is held up, half a record must not look like a broken one
    },
    complete: () => events.complete(),
  };
}

const speedOf = ({ day }: Options): number => (24 * 3_600_000) / day;

/** The default settings, sped up like the day, but with the contract's minimum intervals. */
function usualAt(speed: number): Properties {
  const { high, low, snapshot, aggregation } = DEFAULT_SECONDS;
  const every = (ofDay: number) => ({ value: `PT${Math.max(1, Math.round(ofDay / speed))}S` });
  const kinds = ['ProcessCreate', 'ConnectionCreate', 'ProcessTerminate'];
  return {
    highPriorityMessageFrequency: every(high),
    lowPriorityMessageFrequency: every(low),
    snapshotFrequency: every(snapshot),
    ...Object.fromEntries(kinds.map((name) => [`aggregationInterval${name}`, every(aggregation)])),
  };
}

const isReady = ({ hub, configuration, collectors }: LocalStatus): boolean =>
  hub.state === 'connected' && configuration.source === 'desired' && collectors.ProcessCreate?.state !== 'off';

/** Starts the agent in its own mount namespace with a different log folder. */
const withLogFolder = (folder: string): string[] => [
  ...['unshare', '--mount', 'sh', '-c'],
  'mount --bind "$0" /var/log && exec "$@"',
  folder,
];
