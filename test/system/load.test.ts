import assert from 'node:assert/strict';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { median } from '../bench/figures.ts';
import { Native } from '../bench/starts.ts';
import { watchHeldUp } from '../harness/held-up.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, assertClosed, QUICK, TestBed } from '../integration/test-bed.ts';
import { forks } from './forks.ts';
import { missingForAudit } from './missing-for-audit.ts';

const WINDOW = { value: 'PT1H' };
/** All events of a kind are in one window, which a change of its length closes. */
const AGGREGATED = {
  ...QUICK,
  aggregationEnabledProcessCreate: { value: true },
  aggregationIntervalProcessCreate: WINDOW,
  aggregationEnabledProcessTerminate: { value: true },
  aggregationIntervalProcessTerminate: WINDOW,
};
const FLUSH = {
  aggregationIntervalProcessCreate: { value: 'PT2H' },
  aggregationIntervalProcessTerminate: { value: 'PT2H' },
};

describe('A machine under load', function () {
  this.timeout(240_000);
  let native: Native;
  let bed: TestBed;
  let agent: AgentProcess;

  before(async function () {
    require(this, await missingForAudit());
    native = new Native();
    require(this, native.compiler === undefined ? 'there is no C compiler to build the load with' : undefined);
  });
  after(() => native?.remove());

  beforeEach(async () => {
    bed = await TestBed.open({ desired: AGGREGATED });
    bed.writeConfiguration({ memoryBudgetInMegabytes: 512 }); // enough memory for all events
    agent = bed.startAgent();
    await agent.waitForStatus(
      ({ collectors, hub, configuration }) =>
        collectors.ProcessCreate?.source === 'auditUnicast' &&
        hub.state === 'connected' &&
        configuration.source === 'desired',
    );
  });
  afterEach(() => bed?.close());

  const lost = async () => (await agent.status()).delivery.dropped.kernel ?? 0;

  /**
   * Flushes all windows and returns how many of these starts and ends the hub has, once it has or the agent has counted as
   * lost all of them, or too few came in a minute.
   */
  const delivered = async (marker: string, program: string, expected: number) => {
    const starts = () => bed.hits('ProcessCreate', ({ CommandLine }) => String(CommandLine).includes(marker));
    const ends = () => bed.hits('ProcessTerminate', ({ Executable }) => Executable === program);
    bed.desire(FLUSH);
    const isComplete = async () => starts() + ends() + (await lost()) >= 2 * expected;
    await until('all starts and ends', isComplete, { every: seconds(0.5) }).catch(() => {});
    return { starts: starts(), ends: ends() };
  };

  /** Waits until a load's events have been read. Other programs still start, a few per second. */
  const settled = async () => {
    // Three polls without new events: an agent that gets no CPU for seconds reads nothing in that time.
    for (let before = Number.NEGATIVE_INFINITY, quiet = 0; quiet < 3; ) {
      const { events } = await agent.status();
      const now = (events.ProcessCreate?.collected ?? 0) + (events.ProcessTerminate?.collected ?? 0);
      quiet = now - before < 1_000 / 3 ? quiet + 1 : 0;
      before = now;
      await systemClock.sleep(seconds(1));
    }
  };

  it('delivers or counts as lost each of 20,000 starts at the highest rate', async () => {
    const before = forks();
    const { count, marker, seconds: took } = await native.start(20_000, 0);
    await settled();
    const { starts, ends } = await delivered(marker, native.program, count);
    const counted = await lost();
    const foreignForks = forks() - before - count;
    process.stderr.write(
      `    ${Math.round(count / took)}/s: ${starts} starts, ${ends} ends at the hub, ${counted} lost\n`,
    );
    assert.ok(starts <= count && ends <= count);
    assert.ok(starts + ends + counted >= 2 * count, `${2 * count - starts - ends - counted} are missing`);
    // Starts and ends of other programs are lost, too.
    assert.ok(starts + ends + counted <= 2 * (count + foreignForks) + 200, 'more losses were counted than possible');
    assertClosed(await agent.status());
  });

  it('delivers all events at 2,000 starts per second @release', async function () {
    const heldUp = watchHeldUp(agent.pid);
    const { count, marker } = await native.start(20_000, 2_000);
    await settled();
    // The kernel's buffers suffice for a second or two; on a loaded machine, the agent may get no CPU for longer.
    this.retries(heldUp() > seconds(1) ? 2 : 0);
    assert.deepEqual(await delivered(marker, native.program, count), { starts: count, ends: count });
    assert.equal(await lost(), 0);
    assertClosed(await agent.status());
  });

  it('starts programs as fast while the agent is stopped for 30 s, and the agent counts its losses @release', async () => {
    const BURST = 10_000;
    const running = [await native.start(BURST, 0), await native.start(BURST, 0)];
    await settled();
    const before = await agent.status();
    agent.kill('SIGSTOP');
    const stopped: Awaited<ReturnType<Native['start']>>[] = [];
    const stoppedUntil = systemClock.monotonic() + seconds(30);
    do stopped.push(await native.start(BURST, 0));
    while (systemClock.monotonic() < stoppedUntil);
    agent.kill('SIGCONT');
    await settled();

    // If the kernel waited for the agent, every burst would be slower; other load slows down only some bursts.
    const rates = (loads: typeof stopped) => loads.map(({ count, seconds: took }) => count / took);
    const [with_, without] = [Math.min(...rates(running)), median(rates(stopped))];
    const started = stopped.reduce((all, { count }) => all + count, 0);
    const after = await agent.status();
    const collected = (after.events.ProcessCreate?.collected ?? 0) - (before.events.ProcessCreate?.collected ?? 0);
    const counted = (after.delivery.dropped.kernel ?? 0) - (before.delivery.dropped.kernel ?? 0);
    process.stderr.write(
      `    ${Math.round(with_)} starts/s while it runs, ${Math.round(without)} while it is stopped; ` +
        `of ${started} starts ${collected} were read; ${counted} lost, ends among them\n`,
    );
    // If senders waited for the agent, they would start a few dozen; other load at worst halves the rate.
    assert.ok(without > with_ * 0.25, `${Math.round(without)} starts/s instead of ${Math.round(with_)}`);
    assert.ok(collected + counted >= started, `${started - collected - counted} starts are missing`);
    assert.ok(counted > 0);
    assertClosed(after);
  });
});
