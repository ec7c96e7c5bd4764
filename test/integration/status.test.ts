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

/** Nothing but what a test switches on. */
const QUIET = {
  ...STEADY,
  snapshotFrequency: { value: 'PT1S' },
  ...Object.fromEntries(collectors.map(({ name }) => [`eventPriority${name}`, { value: 'Off' }])),
  eventPrioritySecurityAlert: { value: 'High' }, // Off is a conflict while alerts are made
};
/** A rule that holds nowhere. */
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
 * A change of state is reported within five seconds after the agent knows of it (contract §2), which test/agent/status tests. A busy
 * machine takes longer, but not until the counters are reported.
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

  /** Once the agent itself shows what `predicate` asks for, reported must, too, within five seconds. */
  async function follows(what: string, predicate: (status: SecurityAgentStatus) => boolean): Promise<void> {
    await agent.waitForStatus((status: LocalStatus) => predicate(status), minutes(1));
    const reported = () => bed.hub.twin(DEVICE, MODULE).reported.securityAgent as SecurityAgentStatus | undefined;
    const isTold = () => {
      const status = reported();
      return status !== undefined && predicate(status);
    };
    await until(() => `${what}: ${JSON.stringify(reported())}`, isTold, { limit: SOON });
  }

  it('says that the desired configuration was refused, until it is right', async () => {
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
      'obeyed',
      ({ state, configuration }) => state === 'running' && Object.keys(configuration.errors).length === 0,
    );
  });

  it('says that the agent stood still, when it goes on', async () => {
    await open({ eventPriorityProcessCreate: { value: 'Low' } }); // a timer that is due each second, or more often
    start();
    await agent.waitForStatus(({ collectors }) => collectors.ProcessCreate?.source !== undefined, minutes(1));
    agent.kill('SIGSTOP');
    // Noticed when a timer is more than 2 s late, and long beside what a busy machine holds the agent up, or it computes.
    await systemClock.sleep(seconds(12));
    agent.kill('SIGCONT');
    const { heldUp } = await agent.waitForStatus((status) => (status.heldUp?.seconds ?? 0) >= 6);
    assert.match(heldUp?.why ?? '', /waiting for the system, or stopped/);
  });

  it('has the digest of the local file on the device only', async () => {
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

  it('says that a snapshot cannot be taken, and why, until it can', async () => {
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
      'taken again',
      ({ state, collectors: { LocalUsers } }) =>
        state === 'running' && LocalUsers?.state === 'on' && LocalUsers.reason === undefined,
    );
  });

  it('says what the hardening checks found, and every exception as soon as the twin makes it', async () => {
    await open({
      snapshotFrequency: { value: 'P1D' }, // only what makes a scan outdated has it made anew
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
    // What fails is not compared: other tests change the machine meanwhile.
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
    if (process.getuid?.() !== 0) return; // the file isn't root's
    bed.desire({ baselineCustomChecksFileHash: { value: hash.toUpperCase() } });
    await follows(
      'judged',
      ({ posture: { baseline }, configuration: { warnings } }) =>
        baseline?.customChecks === 'on' && Object.keys(warnings).length === 0,
    );
    await bed.waitForEvents(() => bed.elements('OSBaseline').some(({ CceId }) => CceId === 'custom.never-there'));
    assert.equal(bed.elements('ConfigurationError').length, 1);
  });

  it('says that a collector was switched off, and on', async () => {
    await open({ eventPriorityMessageStatistics: { value: 'Low' } });
    start();
    await follows('on', ({ collectors: { MessageStatistics } }) => MessageStatistics?.state === 'on');
    bed.desire({ eventPriorityMessageStatistics: { value: 'off' } });
    await follows('off', ({ collectors: { MessageStatistics } }) => MessageStatistics?.state === 'off');
    bed.desire({ eventPriorityMessageStatistics: { value: 'High' } });
    await follows('on again', ({ collectors: { MessageStatistics } }) => MessageStatistics?.state === 'on');
  });

  it('says that the queues are nearly full, until they have been sent', async () => {
    await open({
      eventPriorityMessageStatistics: { value: 'Low' },
      eventPriorityDroppedEventsStatistics: { value: 'Low' },
      lowPriorityMessageFrequency: { value: 'PT5H' },
      maxLocalCacheSizeInBytes: { value: 12_000 },
      maxMessageSizeInBytes: { value: 65_536 },
    });
    start();
    await follows('nearly full', ({ state, store }) => state === 'degraded' && store.isNearlyFull);
    bed.desire({ lowPriorityMessageFrequency: { value: 'PT1S' } });
    await follows('sent', ({ state, store }) => state === 'running' && !store.isNearlyFull);
  });

  it('says what the hub could not be told while it refused the agent', async () => {
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

  it('has an end of the credential that is always to come', async () => {
    await open({});
    start();
    await follows('connected', ({ credential }) => Date.parse(credential.expiresAt ?? '') > Date.now());
    const first = (await agent.status()).credential.expiresAt ?? '';
    const second = () => Math.floor(Date.now() / 1_000);
    const before = second();
    await until('the next second: the end of a credential has no fractions', () => second() > before);
    await bed.hub.offline();
    await bed.hub.online();
    await follows('connected again', ({ credential }) => (credential.expiresAt ?? '') > first);
  });
});
