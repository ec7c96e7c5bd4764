import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { collectors } from '../../src/agent/collectors/index.ts';
import type { LocalStatus, SecurityAgentStatus } from '../../src/agent/status/schema.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { minutes, seconds } from '../../src/core/base/duration.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, DEVICE, MODULE, STEADY, TestBed } from './test-bed.ts';

/** All events are off, except those that a test enables. */
const QUIET = {
  ...STEADY,
  snapshotFrequency: { value: 'PT1S' },
  ...Object.fromEntries(collectors.map(({ name }) => [`eventPriority${name}`, { value: 'Off' }])),
  eventPrioritySecurityAlert: { value: 'High' }, // Off would be a conflict while detections are enabled
};
/** A hardening rule that fails on every system. */
const CUSTOM_CHECKS = JSON.stringify({
  rules: [
    {
      id: 'custom.never-there',
      category: 'iot',
      severity: 'Warning',
      level: 1,
      title: 'The file /nowhere/to-be-found is there',
      primitive: 'file',
      params: { must: 'exist', paths: ['/nowhere/to-be-found'] },
      appliesTo: { container: true },
    },
  ],
});
/**
 * Time limit for the report of a changed state. The contract (§2) requires five seconds, which test/agent/status tests. A loaded
 * machine may take longer, but less than the interval of the counters.
 */
const SOON = seconds(40);

describe('The status in reported', function () {
  this.timeout(minutes(2));
  let bed: TestBed;
  let agent: AgentProcess;

  const open = async (desired: object, local: object = {}) => {
    bed = await TestBed.open({ desired: { ...QUIET, ...desired } });
    bed.startWith({ ...QUIET, ...desired });
    bed.writeConfiguration(local);
  };
  const start = () => {
    agent = bed.startAgent();
  };
  afterEach(() => bed.close());

  /** Waits until the agent's own status fulfils `predicate`, then requires the same of reported within the time limit. */
  async function follows(change: string, predicate: (status: SecurityAgentStatus) => boolean): Promise<void> {
    await agent.waitForStatus((status: LocalStatus) => predicate(status), minutes(1));
    const reported = () => bed.hub.twin(DEVICE, MODULE).reported.securityAgent as SecurityAgentStatus | undefined;
    const isReported = () => {
      const status = reported();
      return status !== undefined && predicate(status);
    };
    await until(() => `${change}: ${JSON.stringify(reported())}`, isReported, { limit: SOON });
  }

  it('shows a rejected desired configuration until it is corrected', async () => {
    await open({});
    start();
    await follows('all is well', ({ state }) => state === 'running');
    bed.desire({ maxMessageSizeInBytes: { value: 1 } });
    await follows(
      'refused',
      ({ state, configuration }) => state === 'degraded' && configuration.errors.maxMessageSizeInBytes !== undefined,
    );
    bed.desire({ maxMessageSizeInBytes: null });
    await follows(
      'applied',
      ({ state, configuration }) => state === 'running' && Object.keys(configuration.errors).length === 0,
    );
  });

  it('shows a stall of the agent once it continues', async () => {
    await open({ eventPriorityProcessCreate: { value: 'Low' } }); // a timer that is due at least once per second
    start();
    await agent.waitForStatus(({ collectors }) => collectors.ProcessCreate?.source !== undefined, minutes(1));
    agent.kill('SIGSTOP');
    // A stall is detected when a timer is more than 2 s late, and longer than the delays of a loaded machine.
    await systemClock.sleep(seconds(6));
    agent.kill('SIGCONT');
    const { heldUp } = await agent.waitForStatus((status) => (status.heldUp?.seconds ?? 0) >= 4);
    assert.match(heldUp?.why ?? '', /waiting for the system, or stopped/);
  });

  it('omits the digest of the local file, which only the device shows', async () => {
    await open({});
    start();
    const { localFileHash } = await agent.waitForStatus(({ hub }) => hub.state === 'connected', minutes(1));
    assert.equal(
      localFileHash,
      createHash('sha256')
        .update(readFileSync(join(bed.directory, 'agent.json')))
        .digest('hex'),
    );
    await follows('without it', () => true);
    assert.ok(!('localFileHash' in (bed.hub.twin(DEVICE, MODULE).reported.securityAgent as object)));
  });

  it('shows why a snapshot cannot be taken until it can', async () => {
    await open({ eventPriorityLocalUsers: { value: 'High' } }, { hostRoot: 'host' });
    for (const folder of ['etc', 'proc']) mkdirSync(join(bed.directory, 'host', folder), { recursive: true });
    for (const file of ['stat', 'uptime']) bed.write(`host/proc/${file}`, readFileSync(`/proc/${file}`, 'utf8'));
    const passwd = () => bed.write('host/etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n');
    bed.write('host/etc/group', 'root:x:0:\n');
    passwd();
    start();
    await follows('taken', ({ collectors: { LocalUsers } }) => LocalUsers?.state === 'on');
    rmSync(join(bed.directory, 'host', 'etc', 'passwd'));
    await follows(
      'unavailable',
      ({ state, collectors: { LocalUsers } }) =>
        state === 'degraded' && LocalUsers?.state === 'unavailable' && LocalUsers.reason !== undefined,
    );
    passwd();
    await follows(
      'available again',
      ({ state, collectors: { LocalUsers } }) =>
        state === 'running' && LocalUsers?.state === 'on' && LocalUsers.reason === undefined,
    );
  });

  it('shows the results of the hardening checks, and each exception as soon as the twin sets it', async () => {
    await open({
      snapshotFrequency: { value: 'P1D' }, // only changes that make a scan outdated start a new one
      eventPriorityOSBaseline: { value: 'High' },
      eventPriorityConfigurationError: { value: 'High' },
    });
    start();
    await follows('scanned', ({ posture }) => (posture.baseline?.passed ?? 0) > 50);
    const skipped = async () => (await agent.waitForStatus(() => true)).posture.baseline?.skipped ?? 0;
    const atFirst = await skipped();
    bed.desire({ baselineGroupsDisabled: { value: 'ssh, crown' }, baselineRoles: { value: 'router' } });
    await follows(
      'excepted',
      ({ posture: { baseline }, configuration: { warnings } }) =>
        baseline?.groupsDisabled === 'ssh,crown' &&
        baseline.roles === 'router' &&
        warnings.baselineGroupsDisabled === 'names an unknown category: crown',
    );
    await bed.waitForEvents(() => bed.events('OSBaseline').length >= 2);
    const [before = [], after = []] = bed.events('OSBaseline').map(({ Payload }) => Payload);
    assert.ok(before.length > 0);
    // The failed checks are not compared: other tests change the machine at the same time.
    assert.ok((await skipped()) > atFirst);
    const categories = after.map(({ ExtraDetails }) => (ExtraDetails as Record<string, string>).Category);
    assert.ok(!categories.includes('ssh'));

    const checks = join(bed.directory, 'checks.json');
    bed.write('checks.json', CUSTOM_CHECKS, 0o644);
    const hash = createHash('sha256').update(CUSTOM_CHECKS).digest('hex');
    bed.desire({
      baselineGroupsDisabled: null,
      baselineCustomChecksEnabled: { value: true },
      baselineCustomChecksFilePath: { value: checks },
      baselineCustomChecksFileHash: { value: 'ab'.repeat(32) },
    });
    await follows(
      'refused',
      ({ state, posture: { baseline }, collectors: { OSBaseline } }) =>
        baseline?.customChecks === 'refused' &&
        (baseline.passed ?? 0) > 50 &&
        OSBaseline?.state === 'degraded' &&
        state === 'degraded',
    );
    const found = () =>
      bed
        .elements('ConfigurationError')
        .find(({ ConfigurationName }) => ConfigurationName === 'baselineCustomChecksFilePath');
    await bed.waitForEvents(() => found() !== undefined);
    const fault = found();
    assert.equal(fault?.ErrorType, 'TypeMismatch');
    assert.match(String(fault?.Message), /has another digest/);
    if (process.getuid?.() !== 0) return; // the file does not belong to root
    bed.desire({ baselineCustomChecksFileHash: { value: hash.toUpperCase() } });
    await follows(
      'evaluated',
      ({ posture: { baseline }, configuration: { warnings } }) =>
        baseline?.customChecks === 'on' && Object.keys(warnings).length === 0,
    );
    await bed.waitForEvents(() => bed.elements('OSBaseline').some(({ CceId }) => CceId === 'custom.never-there'));
    assert.equal(bed.elements('ConfigurationError').length, 1);
  });

  it('shows that a collector was disabled and enabled', async () => {
    await open({ eventPriorityMessageStatistics: { value: 'Low' } });
    start();
    await follows('on', ({ collectors: { MessageStatistics } }) => MessageStatistics?.state === 'on');
    bed.desire({ eventPriorityMessageStatistics: { value: 'off' } });
    await follows('off', ({ collectors: { MessageStatistics } }) => MessageStatistics?.state === 'off');
    bed.desire({ eventPriorityMessageStatistics: { value: 'High' } });
    await follows('on again', ({ collectors: { MessageStatistics } }) => MessageStatistics?.state === 'on');
  });

  it('shows that the queues are nearly full until they have been sent', async () => {
    await open({
      eventPriorityMessageStatistics: { value: 'Low' },
      eventPriorityDroppedEventsStatistics: { value: 'Low' },
      eventPrioritySystemInformation: { value: 'Low' }, // fills them sooner
      lowPriorityMessageFrequency: { value: 'PT5H' },
      maxLocalCacheSizeInBytes: { value: 12_000 },
      maxMessageSizeInBytes: { value: 65_536 },
    });
    start();
    await follows('nearly full', ({ state, store }) => state === 'degraded' && store.isNearlyFull);
    bed.desire({ lowPriorityMessageFrequency: { value: 'PT1S' } });
    await follows('sent', ({ state, store }) => state === 'running' && !store.isNearlyFull);
  });

  it('reports the pending changes once the hub accepts the agent again', async () => {
    await open({});
    bed.hub.addModule({ deviceId: DEVICE, moduleId: MODULE, primaryKey: Buffer.alloc(32, 1).toString('base64') });
    start();
    await agent.waitForStatus(({ state, hub }) => state === 'degraded' && hub.state === 'refused');
    bed.hub.addModule({ deviceId: DEVICE, moduleId: MODULE, primaryKey: bed.key });
    await agent.waitForStatus(({ hub }) => hub.state === 'connected', minutes(1));
    await follows(
      'back',
      ({ state, configuration, credential }) =>
        state === 'running' && configuration.source === 'desired' && credential.expiresAt !== undefined,
    );
  });

  it('shows an expiry of the credential that is always in the future', async () => {
    await open({});
    start();
    await follows('connected', ({ credential }) => Date.parse(credential.expiresAt ?? '') > Date.now());
    const first = (await agent.status()).credential.expiresAt ?? '';
    const second = () => Math.floor(Date.now() / 1_000);
    const before = second();
    await until('the next second: the expiry of a credential has no fractions', () => second() > before);
    await bed.hub.offline();
    await bed.hub.online();
    await follows('connected again', ({ credential }) => (credential.expiresAt ?? '') > first);
  });
});
