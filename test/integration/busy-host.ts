import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../src/core/base/duration.ts';
import { median } from '../bench/figures.ts';
import { priorityOf, reading } from '../harness/scenario/launch.ts';
import { MARK } from '../harness/scenario/numbered-events.ts';
import { NumberedLog } from '../harness/scenario/numbered-log.ts';
import { Random } from '../harness/scenario/random.ts';
import { type AgentProcess, assertClosed, QUICK, type TestBed } from './test-bed.ts';

/** Desired configuration for a loaded host: program starts and logins from auditd's log, and little else. */
export const BUSY = {
  ...QUICK,
  snapshotFrequency: { value: 'PT2S' },
  maxMessageSizeInBytes: { value: 256 * 1024 },
  maxLocalCacheSizeInBytes: { value: 32 * 1024 * 1024 },
  ...priorityOf(
    ['ProcessTerminate', 'ConnectionCreate', 'FirewallConfiguration', 'ConnectedHardware', 'LocalUsers'],
    'Off',
  ),
};

const PER_SECOND = 200;
const BURSTS_PER_SECOND = 10;
const MIN_ANSWERS = 10;

/** A host on which many numbered programs start per second, and its agent. */
export class BusyHost {
  readonly #bed: TestBed;
  readonly #log: NumberedLog;
  readonly #perSecond: number;
  #agent: AgentProcess | undefined;

  /**
   * @param perSecond number of program starts
   * @param longestFiller of a start's arguments, in characters
   * @param settings of the agent's local configuration
   */
  constructor(
    bed: TestBed,
    {
      perSecond = PER_SECOND,
      longestFiller,
      settings = {},
    }: { perSecond?: number; longestFiller?: number; settings?: object } = {},
  ) {
    this.#bed = bed;
    this.#perSecond = perSecond;
    this.#log = new NumberedLog(join(bed.directory, 'host'), new Random(1), {
      ...(longestFiller === undefined ? {} : { longestFiller }),
    });
    bed.writeConfiguration({ ...settings, hostRoot: this.#log.hostRoot });
  }

  /** Number of events so far. */
  get happened(): number {
    return this.#log.appended;
  }

  get agent(): AgentProcess {
    assert.ok(this.#agent);
    return this.#agent;
  }

  /** Starts an agent without capabilities, which reads auditd's log. */
  async start(environment: NodeJS.ProcessEnv = {}): Promise<LocalStatus> {
    this.#agent = this.#bed.startAgent({ environment, ...reading(this.#log) });
    return this.#agent.waitForStatus(
      ({ hub, collectors, configuration }) =>
        hub.state === 'connected' &&
        collectors.ProcessCreate?.source === 'auditLog' &&
        configuration.source === 'desired',
    );
  }

  /**
   * Runs for the given time, or until the status fulfils `until`.
   *
   * @returns response time of the agent: the median of at least ten requests, since other load may delay a few of them for
   *   seconds
   */
  async live(duration: Duration, until: (status: LocalStatus) => boolean = () => false): Promise<number> {
    const end = systemClock.monotonic() + duration;
    const took: number[] = [];
    let next: number = systemClock.monotonic();
    while (systemClock.monotonic() < end || took.length < MIN_ANSWERS) {
      for (; next < systemClock.monotonic(); next += 1_000 / BURSTS_PER_SECOND)
        this.#log.burst(this.#perSecond / BURSTS_PER_SECOND);
      const asked = systemClock.monotonic();
      const status = await this.agent.status();
      took.push(systemClock.monotonic() - asked);
      if (until(status)) break;
      await systemClock.sleep(milliseconds(50));
    }
    return median(took);
  }

  /** Appends records to auditd's log. */
  async complete(): Promise<void> {
    await this.#log.complete();
  }

  /** Events that the hub has received. */
  arrived(): Set<string | undefined> {
    const elements = [...this.#bed.elements('ProcessCreate'), ...this.#bed.elements('Login')];
    return new Set(elements.map((element) => numberIn(element)));
  }

  /** Checks that the hub has received all events, and that none was dropped. */
  async assertComplete(): Promise<void> {
    await this.complete();
    await this.#bed.waitForEvents(() => this.arrived().size >= this.happened, seconds(60));
    const status = await this.agent.status();
    assert.deepEqual(status.delivery.dropped, {});
    assertClosed(status);
  }

  /** Checks that each start arrived once, or again under the same id. */
  assertNoneTwice(): void {
    const ids = new Map<string, string>();
    for (const { Id, Payload } of this.#bed.events('ProcessCreate')) {
      for (const element of Payload) {
        const number = numberIn(element);
        if (number === undefined) continue;
        assert.equal(ids.get(number) ?? Id, Id, `event ${number} has come twice`);
        ids.set(number, Id);
      }
    }
  }
}

const numberIn = (element: object) => new RegExp(`${MARK}(\\d+)`).exec(JSON.stringify(element))?.[1];
