import assert from 'node:assert/strict';
import sinon from 'sinon';
import { FaultReports } from '../../../src/agent/config/fault-reports.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes } from '../../../src/core/base/duration.ts';
import type { ConfigurationFault } from '../../../src/core/contract/streams.ts';
import { quietLog } from '../pipeline/memory-queues.ts';

describe('FaultReports', () => {
  let time: sinon.SinonFakeTimers;
  let reportedFaults: string[];
  let reports: FaultReports;

  const faults = (document: number, count: number) =>
    Array.from({ length: count }, (_, index) => ({ name: `${document}.${index}` }) as unknown as ConfigurationFault);
  const documents = () => reportedFaults.map((name) => Number.parseInt(name, 10));

  beforeEach(async () => {
    time = sinon.useFakeTimers();
    reportedFaults = [];
    reports = new FaultReports({
      announce: (all) => reportedFaults.push(...all.map(({ name }) => name)),
      clock: systemClock,
      log: quietLog(),
    });
    await reports.start();
  });
  afterEach(async () => {
    await reports.stop();
    time.restore();
  });

  it('the faults of each configuration are reported immediately', () => {
    for (let document = 0; document < 20; document += 1) reports.accept(faults(document, 10));
    assert.equal(reportedFaults.length, 200);
  });

  it('a twin that changes all the time is reported rarely, with its latest configuration', async () => {
    for (let document = 0; document < 3_600; document += 1) {
      reports.accept(faults(document, 45));
      await time.tickAsync(1_000);
    }
    assert.ok(
      reportedFaults.length >= 360 && reportedFaults.length <= 200 + 12 * 20,
      `${reportedFaults.length} in an hour`,
    );
    await time.tickAsync(minutes(15));
    assert.equal(documents().at(-1), 3_599);
    const after = reportedFaults.length;
    await time.tickAsync(minutes(60));
    assert.equal(reportedFaults.length, after);
  });

  it('all faults of a configuration are reported even if they exceed the limit of one report', async () => {
    reports.accept(faults(1, 500));
    assert.equal(reportedFaults.length, 500);
  });

  it('faults of a configuration that has been corrected are not reported', async () => {
    for (let document = 0; document < 21; document += 1) reports.accept(faults(document, 10));
    reports.accept([]);
    await time.tickAsync(minutes(60));
    assert.equal(reportedFaults.length, 200);
  });

  it('waiting faults are reported at exit', async () => {
    for (let document = 0; document < 21; document += 1) reports.accept(faults(document, 10));
    assert.equal(reportedFaults.length, 200);
    await reports.stop();
    assert.equal(documents().at(-1), 20);
  });
});
