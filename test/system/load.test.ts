import assert from 'node:assert/strict';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { median } from '../bench/figures.ts';
import { Native } from '../bench/starts.ts';
import { watchHeldUp } from '../harness/held-up.ts';
import { require } from '../harness/require.ts';
import { type AgentProcess, assertClosed, QUICK, TestBed } from '../integration/test-bed.ts';
import { forks } from './forks.ts';
import { missingForAudit } from './missing-for-audit.ts';

const WINDOW = { value: 'PT1H' };
/** Everything in one window each, that a change of its length closes. */
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
    bed.writeConfiguration({ memoryBudgetInMegabytes: 512 }); // what is left out for want of memory is tested elsewhere
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

  /** Has everything sent that was collected, and says how many of these starts and ends are at the hub. */
  const delivered = async (marker: string, program: string) => {
    bed.desire(FLUSH);
    await agent.waitForStatus(({ configuration }) => configuration.desiredVersion === 3);
    // Others go on starting programs, so something always waits: it is over when no more of ours come.
    for (let before = 0, quiet = 0; ; ) {
      const starts = bed.hits('ProcessCreate', ({ CommandLine }) => String(CommandLine).includes(marker));
      const ends = bed.hits('ProcessTerminate', ({ Executable }) => Executable === program);
      quiet = starts + ends === before ? quiet + 1 : 0;
      if (quiet >= (before > 0 ? 5 : 20)) return { starts, ends };
      before = starts + ends;
      await systemClock.sleep(seconds(3));
    }
  };

  /** Until what a load made has been read. Others go on starting programs, some a second. */
  const settled = async () => {
    // Three quiet looks: an agent that gets no processor for seconds reads nothing meanwhile.
    for (let before = Number.NEGATIVE_INFINITY, quiet = 0; quiet < 3; ) {
      const { events } = await agent.status();
      const now = (events.ProcessCreate?.collected ?? 0) + (events.ProcessTerminate?.collected ?? 0);
      quiet = now - before < 1_000 / 3 ? quiet + 1 : 0;
      before = now;
      await systemClock.sleep(seconds(1));
    }
  };

  it('of 20,000 starts as fast as two cores give: what is delivered and what is counted lost is what was started', async () => {
    const before = forks();
    const { count, marker, seconds: took } = await native.start(20_000, 0);
    await settled();
    const { starts, ends } = await delivered(marker, native.program);
    const counted = await lost();
    const others = forks() - before - count;
    process.stderr.write(
      `    ${Math.round(count / took)}/s: ${starts} starts, ${ends} ends at the hub, ${counted} lost\n`,
    );
    assert.ok(starts <= count && ends <= count);
    assert.ok(starts + ends + counted >= 2 * count, `${2 * count - starts - ends - counted} are missing`);
    // Others start programs too, and lose their starts and ends.
    assert.ok(starts + ends + counted <= 2 * (count + others) + 200, 'more was counted lost than can have been');
    assertClosed(await agent.status());
  });

  it('of 2,000 starts a second: nothing is lost', async function () {
    const heldUp = watchHeldUp(agent.pid);
    const { count, marker } = await native.start(20_000, 2_000);
    await settled();
    // The kernel's buffers last for a second or two: an agent that others kept from the processor for longer has two more tries.
    this.retries(heldUp() > seconds(1) ? 2 : 0);
    assert.deepEqual(await delivered(marker, native.program), { starts: count, ends: count });
    assert.equal(await lost(), 0);
    assertClosed(await agent.status());
  });

  it('does not notice an agent that stands still for 30 s, and what was lost meanwhile is counted', async () => {
    const BURST = 10_000;
    const running = [await native.start(BURST, 0), await native.start(BURST, 0)];
    await settled();
    const before = await agent.status();
    agent.kill('SIGSTOP');
    const stopped: Awaited<ReturnType<Native['start']>>[] = [];
    const until = systemClock.monotonic() + seconds(30);
    do stopped.push(await native.start(BURST, 0));
    while (systemClock.monotonic() < until);
    agent.kill('SIGCONT');
    await settled();

    // What the kernel would wait for slows every burst down; what others do on the machine, one or the other.
    const rates = (loads: typeof stopped) => loads.map(({ count, seconds: took }) => count / took);
    const [with_, without] = [Math.min(...rates(running)), median(rates(stopped))];
    const started = stopped.reduce((all, { count }) => all + count, 0);
    const after = await agent.status();
    const collected = (after.events.ProcessCreate?.collected ?? 0) - (before.events.ProcessCreate?.collected ?? 0);
    const counted = (after.delivery.dropped.kernel ?? 0) - (before.delivery.dropped.kernel ?? 0);
    process.stderr.write(
      `    ${Math.round(with_)} starts/s while it runs, ${Math.round(without)} while it stands still; ` +
        `of ${started} starts ${collected} were read; ${counted} lost, ends among them\n`,
    );
    // A sender that waits for the agent would get by with a few dozen; other work on the machine halves the number at worst.
    assert.ok(without > with_ * 0.25, `${Math.round(without)} starts/s instead of ${Math.round(with_)}`);
    assert.ok(collected + counted >= started, `${started - collected - counted} starts are missing`);
    assert.ok(counted > 0);
    assertClosed(after);
  });
});
