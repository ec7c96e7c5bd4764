import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, minutes, seconds } from '../../src/core/base/duration.ts';
import type { Payload } from '../../src/core/contract/event.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, assertClosed, QUICK, TestBed } from '../integration/test-bed.ts';
import { missingForAudit } from './missing-for-audit.ts';

/** Time limit for starting the programs. */
const LOAD = { limit: minutes(2) };

/** Other programs of this machine also start while the hub is unreachable. */
const LARGE_CACHE = { maxLocalCacheSizeInBytes: { value: 32 * 1024 * 1024 } };

const STARTS = 2_000;
const PER_SECOND = 200;

/** Starts a program `STARTS` times, `PER_SECOND` times per second, each time with another argument. */
class Load {
  readonly marker = `vakt-load-${process.pid}-${Math.round(systemClock.monotonic())}`;
  started = 0;
  #running = 0;

  async run(each: (index: number) => string = (index) => String(index)): Promise<void> {
    const began = systemClock.monotonic();
    while (this.started < STARTS) {
      const due = Math.min(STARTS, ((systemClock.monotonic() - began) / 1_000) * PER_SECOND);
      while (this.started < due) this.#start(each(this.started));
      await systemClock.sleep(milliseconds(20));
    }
    while (this.#running > 0) await systemClock.sleep(milliseconds(20));
  }

  #start(argument: string): void {
    this.#running += 1;
    spawn('/bin/true', [this.marker, argument], { stdio: 'ignore' }).on('exit', () => {
      this.#running -= 1;
    });
    this.started += 1;
  }
}

describe('Process starts on the real kernel', function () {
  this.timeout(180_000);
  let bed: TestBed;

  before(async function () {
    require(this, await missingForAudit());
  });
  afterEach(() => bed?.close());

  const fromAudit = (agent: AgentProcess) =>
    agent.waitForStatus(({ collectors, hub, configuration }) => {
      const kernel = collectors.ProcessCreate?.source === 'auditUnicast';
      return kernel && hub.state === 'connected' && configuration.source === 'desired';
    });

  it('reach the hub in the hit counts of aggregated messages at 200 starts per second', async () => {
    bed = await TestBed.open({
      desired: {
        ...QUICK,
        aggregationEnabledProcessCreate: { value: true },
        aggregationIntervalProcessCreate: { value: 'PT2S' },
      },
    });
    const agent = bed.startAgent();
    await fromAudit(agent);
    const load = new Load();
    await load.run(() => 'alike');
    const hits = () => bed.hits('ProcessCreate', ({ CommandLine }) => String(CommandLine).includes(load.marker));
    await bed.waitForEvents(() => hits() >= STARTS);
    const status = await agent.waitForStatus(({ delivery }) => delivery.queued.lowEvents === 0);
    const { dropped, messagesFailed } = status.delivery;
    const counts = JSON.stringify({ dropped, messagesFailed, events: status.events });
    assert.equal(hits(), STARTS, `${hits()} of ${STARTS} starts are at the hub: ${counts}`);
    assert.equal(dropped.kernel ?? 0, 0, counts);
    assertClosed(status);
  });

  it('arrive at most once each after the hub was unreachable for 20 s and the agent was killed', async () => {
    bed = await TestBed.open({ desired: { ...QUICK, ...LARGE_CACHE } });
    const first = bed.startAgent();
    await fromAudit(first);
    const load = new Load();
    const running = load.run();
    await until('a quarter of the starts', () => load.started > STARTS * 0.25, LOAD);
    await bed.hub.offline();
    const back = systemClock.sleep(seconds(20)).then(() => bed.hub.online());
    await until('half of the starts', () => load.started > STARTS * 0.5, LOAD);

    const before = await first.waitForStatus(() => true); // on a loaded machine, the first request may fail
    first.kill('SIGKILL');
    await first.exited;
    const second = bed.startAgent();
    const restarted = await second.waitForStatus(
      ({ collectors }) => collectors.ProcessCreate?.source === 'auditUnicast',
    );
    const readAgainFrom = load.started;
    await running;
    await back;
    // Events arrive in order: once the hub has this start, it also has all earlier ones that the agent collected.
    spawn('/bin/true', [load.marker, 'sentinel'], { stdio: 'ignore' });
    const isSentinel = ({ CommandLine }: Payload) => String(CommandLine).endsWith(` ${load.marker} sentinel`);
    await bed.waitForEvents(() => bed?.elements('ProcessCreate').some(isSentinel) === true, seconds(100));
    // Other programs still start: the hub may have events whose delivery was not yet acknowledged.
    const status = await second.waitForStatus(
      ({ delivery, events: { ProcessCreate: created } }) =>
        delivery.queued.lowEvents === 0 && bed.elements('ProcessCreate').length === created?.delivered,
    );
    assertClosed(status);
    assertClosed(restarted);

    // Events that were collected, and so written, before the kill are at the hub.
    const created = status.events.ProcessCreate;
    assert.ok(created);
    assert.ok(created.collected >= (before.events.ProcessCreate?.collected ?? 0));
    assert.equal(created.queued, 0);

    // Each start arrived at most once, and only starts in the gap between the two agents are missing.
    const indexes = bed
      .elements('ProcessCreate')
      .map(({ CommandLine }) => String(CommandLine).split(' '))
      .filter(([, marker, index]) => marker === load.marker && index !== 'sentinel')
      .map(([, , index]) => Number(index));
    const unique = new Set(indexes);
    assert.equal(unique.size, indexes.length, 'a start is there twice');
    const missing = [...Array(STARTS).keys()].filter((index) => !unique.has(index));
    const [firstMissing = 0, lastMissing = 0] = [missing[0], missing.at(-1)];
    const details =
      `missing: ${missing.join(' ')}; read again from ${readAgainFrom}; ` +
      `dropped: ${JSON.stringify([before, restarted, status].map(({ delivery }) => delivery.dropped))}`;
    assert.ok(lastMissing < readAgainFrom, details);
    assert.equal(
      missing.length,
      missing.length === 0 ? 0 : lastMissing - firstMissing + 1,
      `in more than one gap: ${details}`,
    );
    if (status.delivery.messagesFailed > 0) return; // events of failed messages were sent again
    const ids = bed.events().map(({ Id }) => Id);
    assert.equal(new Set(ids).size, ids.length, 'an event is there twice');
  });
});
