import assert from 'node:assert/strict';
import sinon from 'sinon';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { TwinSync } from '../../../src/agent/hub/twin-sync.ts';
import type { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import { UnsavedFiles } from '../../../src/agent/state/unsaved-files.ts';
import { localStatus, type Observed } from '../../../src/agent/status/observe.ts';
import { ReportedStatus } from '../../../src/agent/status/reported.ts';
import type { LocalStatus, Posture, SecurityAgentStatus } from '../../../src/agent/status/schema.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { droppedIn, type Totals } from '../../../src/core/base/counters.ts';
import { days, hours, minutes, seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';
import type { BaselinePosture } from '../../../src/core/contract/baseline.ts';
import type { Payload, Priority } from '../../../src/core/contract/event.ts';
import type { Settings } from '../../../src/core/contract/settings.ts';
import { limitsInForce } from '../../../src/core/twin/limits.ts';
import { withCopies } from '../../harness/copies.ts';
import { FakeHub } from '../hub/fake-hub.ts';
import { aggregating, quietLog } from '../pipeline/memory-queues.ts';
import { defaults, ObservedAgent, TIME } from './observed-agent.ts';
import { validateStatus } from './schema.ts';

/** What a lost event of audit may have been. */
const AUDITED = ['starts', 'exits', 'connections'] as const;

const SCANNED: BaselinePosture = {
  passed: 300,
  failed: 20,
  failedBySeverity: { critical: 2, important: 8, warning: 9, informational: 1 },
  errors: 3,
  skipped: 60,
  ruleSet: '1.0.0',
  ruleSetHash: 'ab'.repeat(32),
  durationMs: 400,
  scannedAt: '2024-05-01T12:00:00.000Z',
  groupsDisabled: 'cron,ssh',
  checksDisabled: 'file.etc-passwd',
  roles: 'router',
  customChecks: 'refused',
  customChecksHash: 'cd'.repeat(32),
  customChecksReason: '/etc/vakt/checks.json: does not belong to root',
  limits: 'Runs in a container.',
};

/** Without what only `vakt status` shows. */
const reportedOf = ({ pid, localFileHash, hub, events, queues, messages, memory, logLevel, ...status }: LocalStatus) =>
  status;

/** The part that does not come from recommendations. */
const ofScans = ({ baseline, listeningPorts }: Posture) => ({
  ...(baseline === undefined ? {} : { baseline }),
  ...(listeningPorts === undefined ? {} : { listeningPorts }),
});

const bound = (queues: EventQueues): Observed['queues'] => ({
  account: (queue) => queues.account(queue),
  waiting: (queue) => queues.waiting(queue),
  store: () => queues.store(),
});

describe('the status', () => {
  let agent: ObservedAgent;

  beforeEach(async () => {
    agent = await ObservedAgent.start();
  });
  afterEach(() => agent.stop());

  it('has the copies of secrets that the agent uses, for those on the device', async () => {
    const hub = await withCopies({ '/s/k': '/c/k' }, () => localStatus(agent.observed).hub);
    assert.deepEqual(hub.copies, { '/s/k': '/c/k' });
    assert.ok(!('copies' in localStatus(agent.observed).hub));
  });

  it('reports each collector as skipped for lack of memory, unless it cannot work at all', () => {
    agent.isOver = true;
    agent.lastRuns.SystemInformation = { at: TIME, problem: 'no file' };
    const { state, memory, collectors: all } = localStatus(agent.observed);
    assert.equal(state, 'degraded');
    assert.deepEqual(memory, { residentBytes: 70e6, budgetBytes: 100e6, isOver: true });
    assert.deepEqual(all.ProcessCreate, { state: 'degraded', source: 'auditUnicast', reason: 'Left out.' });
    assert.equal(all.SystemInformation?.reason, 'no file');
    assert.equal(all.DroppedEventsStatistics?.state, 'on');
    agent.settings.replace({ ...agent.settings.current(), priorities: { ProcessCreate: 'High' } });
    assert.equal(localStatus(agent.observed).state, 'degraded');
    assert.deepEqual(localStatus(agent.observed).collectors.ProcessCreate, { state: 'on', source: 'auditUnicast' });
  });

  const tookPorts = (...ports: number[]) =>
    agent.snapshotPosture.accept({
      event: 'ListeningPorts',
      at: TIME,
      rows: ports.map((port) => ({ Protocol: 'tcp', LocalAddress: '0.0.0.0', LocalPort: String(port) })),
      leftOut: 0,
    });
  const starts = (...commands: string[]) => agent.starts(...commands);
  const snapshot = (rows: Payload[]) => agent.snapshot(rows);
  const change = (some: Partial<Settings>) => agent.change(some);
  const aggregation = (enabled: boolean) => aggregating(['ProcessCreate'], hours(1), enabled);

  const accounts = () => {
    const { delivery, events } = localStatus(agent.observed);
    const { collected, delivered, aggregatedAway, queued, dropped } = delivery;
    const waiting = queued.highEvents + queued.lowEvents;
    assert.equal(collected, delivered + aggregatedAway + waiting + droppedIn({ dropped } as Totals));
    for (const [name, row] of Object.entries(events)) {
      const total = row.delivered + row.aggregatedAway + row.queued + droppedIn({ dropped: row.dropped } as Totals);
      assert.equal(row.collected, total, name);
    }
    const all = Object.values(events).reduce((total, row) => total + row.collected, 0);
    assert.equal(all, collected);
    return { collected, delivered, aggregatedAway, waiting, dropped };
  };

  it('accounts for every event, at every step of its way', () => {
    const none = { collected: 0, delivered: 0, aggregatedAway: 0, waiting: 0, dropped: {} };
    assert.deepEqual(accounts(), none);

    starts('ls', 'ls', 'ls', 'ps'); // counted, and not yet queued
    assert.deepEqual(accounts(), { ...none, collected: 4, aggregatedAway: 2, waiting: 2 });

    change({ ...aggregation(false) }); // flushed
    assert.deepEqual(accounts(), { ...none, collected: 4, aggregatedAway: 2, waiting: 2 });

    starts('top', 'top'); // listed
    snapshot([{ LocalPort: '22' }, { LocalPort: '80' }]);
    assert.deepEqual(accounts(), { ...none, collected: 7, aggregatedAway: 2, waiting: 5 });

    agent.queues.take('Low', 100_000, true); // on their way
    assert.deepEqual(accounts(), { ...none, collected: 7, aggregatedAway: 2, waiting: 5 });
    agent.queues.settle('Low', 'kept');
    assert.deepEqual(accounts(), { ...none, collected: 7, aggregatedAway: 2, waiting: 5 });
    agent.queues.take('Low', 100_000, true);
    agent.queues.settle('Low', 'delivered');
    assert.deepEqual(accounts(), { ...none, collected: 7, aggregatedAway: 2, delivered: 4, waiting: 1 });
    agent.queues.take('High', 100_000, true);
    agent.queues.settle('High', 'refused');
    const dropped = { refused: 1 };
    assert.deepEqual(accounts(), { collected: 7, aggregatedAway: 2, delivered: 4, waiting: 0, dropped });

    agent.occurrences.drop(AUDITED, 'kernel', 5);
    agent.occurrences.drop('starts', 'malformed', 1);
    assert.deepEqual(accounts().dropped, { refused: 1, kernel: 5, malformed: 1 });
    assert.equal(accounts().collected, 13);

    change({ maxLocalCacheSizeInBytes: 8192 });
    for (let n = 0; n < 200; n += 1) starts(`ls ${n}`);
    const full = accounts();
    assert.equal(full.collected, 213);
    assert.ok((full.dropped.userShare ?? 0) > 100 && full.waiting > 0, JSON.stringify(full));
  });

  describe('of a configuration that blinds the agent', () => {
    const limits = limitsInForce(
      {
        shortestMessageFrequency: seconds(10),
        shortestSnapshotFrequency: minutes(5),
        longestMessageFrequency: days(1),
        alwaysOn: [],
        messageUnitsPerDay: 0,
      },
      collectors,
      () => 1e9,
    );
    const blind = (some: Partial<Settings>) => {
      agent.observed = { ...agent.observed, limits };
      change(some);
      return localStatus(agent.observed);
    };
    const off = (...names: string[]) => ({
      priorities: {
        ...agent.settings.current().priorities,
        ...Object.fromEntries(names.map((name) => [name, 'Off'])),
      } as Record<string, Priority>,
    });

    it('is degraded, with the reason, without starts, connections or logins', () => {
      for (const name of ['ProcessCreate', 'ConnectionCreate', 'Login']) {
        agent.settings.replace(defaults());
        const { state, configuration: reportedStatus, collectors: all } = blind(off(name));
        assert.equal(state, 'degraded', name);
        assert.deepEqual(reportedStatus.switchedOff, { [name]: `eventPriority${name} is Off` });
        assert.match(reportedStatus.warnings[`eventPriority${name}`] ?? '', /is Off, and limits\.mayBeOff/);
        assert.equal(all[name]?.state, 'off');
        assert.match(all[name]?.reason ?? '', /limits\.mayBeOff/);
        assert.deepEqual(validateStatus(reportedOf(localStatus(agent.observed))), []);
      }
    });

    it('is running without others, and lists them', () => {
      const { state, configuration: reportedStatus } = blind(off('OSBaseline', 'Diagnostic'));
      assert.equal(state, 'running');
      assert.deepEqual(Object.keys(reportedStatus.switchedOff ?? {}), ['OSBaseline', 'Diagnostic']);
    });

    it('is degraded when messages are later than a day', () => {
      const { state, configuration: reportedStatus } = blind({ lowPriorityMessageFrequency: days(365) });
      assert.equal(state, 'degraded');
      assert.match(reportedStatus.warnings.lowPriorityMessageFrequency ?? '', /is P365D, longer than limits\./);
    });

    it('lists the hardening checks if no rule is left to evaluate', () => {
      agent.scanned = { ...SCANNED, passed: 0, failed: 0, errors: 0 };
      const { state, configuration: reportedStatus } = blind({});
      assert.equal(state, 'running');
      assert.deepEqual(Object.keys(reportedStatus.switchedOff ?? {}), ['OSBaseline']);
      assert.match(reportedStatus.warnings.baselineGroupsDisabled ?? '', /leaves no rule/);
      agent.observed = { ...agent.observed, limits: { ...limits, mayBeOff: new Set(['Diagnostic']) } };
      assert.equal(localStatus(agent.observed).state, 'degraded');
    });
  });

  it('shows that a held queue sends its next messages when it is no longer held', () => {
    const held = { queues: 'Low', until: '2099-05-02T00:00:00.000Z', reason: 'Held until then.' };
    const next = () => ({ High: TIME, Low: TIME });
    agent.observed = { ...agent.observed, next, budget: () => ({ unitsToday: 80, unitsPerDay: 100, held }) };
    assert.deepEqual(localStatus(agent.observed).next, { highAt: TIME.toISOString(), lowAt: held.until });
  });

  it('is degraded while messages are held, and so are their collectors', () => {
    const held = { queues: 'Low', until: TIME.toISOString(), reason: 'Held until then.' };
    agent.observed = { ...agent.observed, budget: () => ({ unitsToday: 80, unitsPerDay: 100, held }) };
    change({ ...aggregation(false) });
    starts('ls', 'ps');
    const { state, delivery, collectors: all } = localStatus(agent.observed);
    assert.equal(state, 'degraded');
    assert.deepEqual([delivery.unitsToday, delivery.unitsPerDay, delivery.held], [80, 100, held]);
    assert.equal(delivery.heldEvents, 2);
    assert.equal(localStatus({ ...agent.observed, collectors: [] }).state, 'degraded');
    assert.deepEqual([all.ProcessCreate?.state, all.ProcessCreate?.reason], ['degraded', held.reason]);
    assert.equal(all.Login?.state, 'on');
    assert.deepEqual(validateStatus(reportedOf(localStatus(agent.observed))), []);
  });

  it('names files of state that could not be saved, and is degraded until they are', () => {
    const unsaved = new UnsavedFiles();
    agent.observed = { ...agent.observed, unsaved };
    for (let round = 0; round < 2; round += 1) {
      const { store, state } = localStatus(agent.observed);
      assert.deepEqual([store, state], [{ place: 'disk', isNearlyFull: false }, 'running']);
      unsaved.report('/var/lib/vakt/pause.json', new Error("EISDIR: illegal operation on a directory, rename '/a'"));
      const failed = localStatus(agent.observed);
      assert.deepEqual(
        [failed.store.unsaved, failed.state],
        ['pause.json (EISDIR: illegal operation on a directory)', 'degraded'],
      );
      unsaved.report('/var/lib/vakt/pause.json', undefined);
    }
  });

  it('is degraded while a file is open to others, and says which', () => {
    assert.equal('exposed' in localStatus(agent.observed), false);
    agent.exposed = { secrets: 'Others can read /etc/vakt/secrets/module.key (mode 0644).' };
    assert.deepEqual(
      [localStatus(agent.observed).exposed, localStatus(agent.observed).state],
      [agent.exposed, 'degraded'],
    );
  });

  it('shows when and why the agent last stalled', () => {
    assert.equal('heldUp' in localStatus(agent.observed), false);
    const stall = { length: seconds(241), ended: seconds(300), at: TIME, computed: true };
    agent.observed = { ...agent.observed, stall: () => stall };
    assert.deepEqual(localStatus(agent.observed).heldUp, {
      seconds: 241,
      at: TIME.toISOString(),
      why: 'held up for 241 s (computing)',
    });
  });

  it('shows how earlier runs ended, which does not degrade the agent', () => {
    agent.restarts = { unclean: 3, since: TIME.toISOString(), lastEnd: 'killed' };
    const { state, restarts: reportedStatus } = localStatus(agent.observed);
    assert.deepEqual([state, reportedStatus], ['running', agent.restarts]);
  });

  it('distinguishes the queues by priority, including windows', () => {
    change({ priorities: { ...agent.settings.current().priorities, ProcessCreate: 'High' } });
    starts('ls', 'ls');
    const { queued } = localStatus(agent.observed).delivery;
    assert.deepEqual(queued, { highEvents: 1, highBytes: 0, lowEvents: 0, lowBytes: 0 });
  });

  describe('of a collector', () => {
    const of = (name: string) => localStatus(agent.observed).collectors[name];

    it('a collector has the state of its source if the kernel reports its events', () => {
      agent.kernelEvents = { state: 'degraded', source: 'procPolling', reason: 'no audit' };
      assert.deepEqual(of('ProcessCreate'), agent.kernelEvents);
      assert.deepEqual(of('Diagnostic'), { state: 'on' });
    });

    it('a collector is off if the twin sets Off, regardless of its source', () => {
      const off = Object.fromEntries(collectors.map(({ name }) => [name, 'Off' as const]));
      change({ priorities: off });
      agent.kernelEvents = { state: 'unavailable' };
      for (const { name } of collectors) assert.deepEqual(of(name), { state: 'off' });
      assert.equal(localStatus(agent.observed).state, 'running');
    });

    it('is off, with the reason, where messages may not contain its event', () => {
      const stateWith = (routing: 'security' | 'telemetry' | 'both') =>
        localStatus({ ...agent.observed, routing }).collectors.SecurityAlert;
      assert.deepEqual([stateWith('telemetry'), stateWith('both')], [{ state: 'on' }, { state: 'on' }]);
      const off = stateWith('security');
      assert.equal(off?.state, 'off');
      assert.match(off?.reason ?? '', /messages for the security service may not contain it\. Set messageRouting/);
      assert.equal(localStatus({ ...agent.observed, routing: 'security' }).state, 'running');
    });

    it('is on before its first run, and unavailable while it fails', () => {
      assert.deepEqual(of('LocalUsers'), { state: 'on' });
      agent.lastRuns.LocalUsers = { at: TIME };
      assert.deepEqual(of('LocalUsers'), { state: 'on', lastRunAt: '2024-05-01T12:00:00.000Z' });
      agent.lastRuns.LocalUsers = { at: TIME, problem: 'no file' };
      assert.deepEqual(of('LocalUsers'), {
        state: 'unavailable',
        reason: 'no file',
        lastRunAt: '2024-05-01T12:00:00.000Z',
      });
    });

    it('is there for every collector', () => {
      const { collectors: shown } = localStatus(agent.observed);
      assert.deepEqual(
        Object.keys(shown),
        collectors.map(({ name }) => name),
      );
    });
  });

  describe('of the system', () => {
    const posture = () => ofScans(localStatus(agent.observed).posture);

    it('is not known before the first snapshots', () => assert.deepEqual(posture(), {}));

    it('is what the last scan found, with its exceptions, and how many ports are open', () => {
      agent.scanned = SCANNED;
      agent.lastRuns.ListeningPorts = { at: TIME, elements: 0 };
      assert.deepEqual(posture(), { baseline: SCANNED, listeningPorts: 0 });
      agent.lastRuns.ListeningPorts = { at: TIME, problem: 'no netlink' };
      assert.deepEqual(posture(), { baseline: SCANNED });
    });

    it('adds settings that a scan could not apply to the warnings of the configuration', () => {
      agent.configuration = { ...agent.configuration, warnings: { colour: 'is not known to this agent' } };
      agent.doubts = { baselineRoles: 'names an unknown role: rooter' };
      agent.scanned = SCANNED;
      assert.deepEqual(localStatus(agent.observed).configuration.warnings, {
        ...agent.configuration.warnings,
        baselineRoles: 'names an unknown role: rooter',
      });
    });

    it('is not said by collectors that are off', () => {
      agent.scanned = SCANNED;
      agent.doubts = { baselineRoles: 'names an unknown role: rooter' };
      agent.lastRuns.ListeningPorts = { at: TIME, elements: 3 };
      change({ priorities: { OSBaseline: 'Off', ListeningPorts: 'Off' } });
      assert.deepEqual(posture(), {});
      assert.deepEqual(localStatus(agent.observed).configuration.warnings, {});
    });
  });

  describe('of the agent', () => {
    it('the agent is running if all is well, even without a network', () => {
      assert.equal(localStatus(agent.observed).state, 'running');
      agent.hub = { ...agent.hub, state: 'connecting' };
      assert.equal(localStatus(agent.observed).state, 'running');
    });

    it('is degraded when the hub refuses it, and stopping when it stops', () => {
      agent.hub = { ...agent.hub, state: 'refused' };
      assert.equal(localStatus(agent.observed).state, 'degraded');
      agent.stopping = true;
      assert.equal(localStatus(agent.observed).state, 'stopping');
    });
  });

  it('shows the state of the hub, its credential and the messages', () => {
    const error = new AgentError('CREDENTIAL_REFUSED', 'the hub refuses the key', 'Renew the key.');
    agent.hub = { state: 'refused', error, credential: { kind: 'moduleKey', expiresAt: TIME } };
    agent.sent = { sent: 3, under4KB: 2, failed: 1, lastSentAt: TIME, lastError: error };
    const status = localStatus(agent.observed);
    assert.deepEqual(status.hub, {
      state: 'refused',
      error: 'the hub refuses the key',
      id: 'CREDENTIAL_REFUSED',
      remedy: 'Renew the key.',
    });
    assert.deepEqual(status.credential, { kind: 'moduleKey', expiresAt: '2024-05-01T12:00:00.000Z' });
    assert.deepEqual(status.messages, { sent: 3, under4KB: 2, failed: 1 });
    const { messagesSent, messagesFailed, lastSentAt, lastError } = status.delivery;
    assert.deepEqual(
      [messagesSent, messagesFailed, lastSentAt, lastError],
      [3, 1, '2024-05-01T12:00:00.000Z', 'the hub refuses the key'],
    );
  });

  it('shows why the open connection could not be replaced', () => {
    const error = new AgentError('SECRET_FILE_MALFORMED', 'the key is not base64', 'Copy it again.');
    agent.hub = { state: 'connected', credential: { kind: 'moduleKey', error } };
    const { hub, credential, state } = localStatus(agent.observed);
    assert.deepEqual(hub, {
      state: 'connected',
      renewalError: 'the key is not base64',
      renewalRemedy: 'Copy it again.',
    });
    assert.deepEqual(credential.error, {
      code: 'Authentication',
      reason: 'File Format',
      id: 'SECRET_FILE_MALFORMED',
    });
    assert.equal(state, 'degraded');
  });

  describe('as it is reported', () => {
    let time: sinon.SinonFakeTimers;
    let changes: number;

    beforeEach(() => {
      time = sinon.useFakeTimers({
        toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
        shouldClearNativeTimers: true,
      });
      changes = 0;
    });
    afterEach(() => time.restore());

    const report = (options: { firstPeriod?: number } = {}) =>
      new ReportedStatus({
        observed: agent.observed,
        settings: agent.settings,
        clock: systemClock,
        log: quietLog(),
        ...options,
        changed: () => {
          changes += 1;
        },
      });

    /** The same status with something in every place. */
    const full = () => {
      starts('ls', 'ls');
      snapshot([{ LocalPort: '22' }]);
      agent.occurrences.drop(AUDITED, 'kernel', 3);
      for (const { name } of collectors) agent.lastRuns[name] = { at: TIME, problem: 'cannot read the file: EACCES' };
      agent.lastRuns.ListeningPorts = { at: TIME, elements: 7 };
      agent.scanned = SCANNED;
      agent.doubts = { baselineRoles: 'names an unknown role: rooter' };
      const error = new AgentError('HUB_UNREACHABLE', 'no answer', 'Wait.');
      agent.configuration = {
        ...agent.configuration,
        errors: { snapshotFrequency: 'must be …' },
        warnings: { colour: 'unknown' },
      };
      agent.hub = { state: 'connected', error, credential: { kind: 'moduleKey', expiresAt: TIME, expiresSoon: true } };
      agent.sent = { sent: 3, under4KB: 2, failed: 1, lastSentAt: TIME, lastError: error };
      agent.kernelEvents = { state: 'degraded', source: 'procPolling', reason: 'The audit socket belongs to auditd.' };
      return report().current();
    };

    it('is what a twin can hold and a query can find: no arrays, no nulls, and plain keys', () => {
      const look = (value: unknown, path: string): void => {
        assert.ok(value !== null && value !== undefined && !Array.isArray(value), path);
        if (typeof value !== 'object') return;
        for (const [key, member] of Object.entries(value)) {
          assert.match(key, /^[^.$\s\p{Cc}]+$/u, path);
          look(member, `${path} › ${key}`);
        }
      };
      look(full(), 'securityAgent');
    });

    it('has the members of the contract, and none that only the device may see', () => {
      assert.deepEqual(Object.keys(full()).toSorted(), [
        'agentId',
        'bootId',
        'collectors',
        'configuration',
        'credential',
        'delivery',
        'posture',
        'restarts',
        'startedAt',
        'state',
        'store',
        'version',
      ]);
    });

    it('is as its schema says, with little in it and with everything', () => {
      assert.deepEqual(validateStatus(report().current()), []);
      assert.deepEqual(validateStatus(full()), []);
      agent.pause = { until: '2024-05-01T13:00:00.000Z', reason: 'Update', skipped: 3 };
      assert.deepEqual(validateStatus(report().current()), []);
      assert.notDeepEqual(validateStatus({ ...full(), colour: 'red' }), []);
      assert.notDeepEqual(validateStatus({ ...full(), state: 'well' }), []);
    });

    it('is small', () => assert.ok(Buffer.byteLength(JSON.stringify(full())) < 5_000));

    it('reports state changes immediately, and counters only with High messages', async () => {
      const reported = report();
      await reported.start();
      agent.lastRuns.LocalUsers = { at: TIME };
      const first = reported.current();
      starts('ls');
      agent.lastRuns.LocalUsers = { at: new Date(TIME.getTime() + 1_000) };
      agent.sent = { ...agent.sent, sent: 1 };
      assert.deepEqual(reported.current(), first);

      agent.kernelEvents = { state: 'degraded' };
      agent.lastRuns.LocalUsers = { at: new Date(TIME.getTime() + 1_000), problem: 'no file' };
      const second = reported.current();
      assert.equal(second.state, 'degraded');
      assert.equal(second.collectors.LocalUsers?.state, 'unavailable');
      assert.deepEqual(second.delivery, first.delivery);

      await time.tickAsync(minutes(7) - 1);
      assert.equal(reported.current().delivery.collected, 0);
      assert.equal(changes, 0);
      await time.tickAsync(1);
      assert.equal(changes, 1);
      const third = reported.current();
      assert.deepEqual([third.delivery.collected, third.delivery.messagesSent], [1, 1]);
      assert.equal(third.collectors.LocalUsers?.lastRunAt, '2024-05-01T12:00:01.000Z');
      await reported.stop();
    });

    it('reports a pause immediately, and its skipped events with the counters', () => {
      const reported = report();
      assert.equal(reported.current().pause, undefined);
      const until = '2024-05-01T13:00:00.000Z';
      agent.pause = { until, reason: 'Update', skipped: 3 };
      assert.deepEqual(
        [reported.current().state, reported.current().pause],
        ['paused', { ...agent.pause, skipped: 0 }],
      );
      reported.takeFigures();
      assert.deepEqual(reported.current().pause, agent.pause);
      agent.pause = { ...agent.pause, skipped: 4 };
      assert.equal(reported.current().pause?.skipped, 3);
      agent.pause = undefined;
      assert.deepEqual([reported.current().state, reported.current().pause], ['running', undefined]);
    });

    describe('through the twin', () => {
      const inTrouble = { place: 'memory', reason: 'EROFS: read-only file system', isNearlyFull: false } as const;
      const nearlyFull = { place: 'disk', isNearlyFull: true } as const;
      const ending = new Date(TIME.getTime() + hours(1));
      const audit = { state: 'on', source: 'auditUnicast' } as const;
      const polling = {
        state: 'degraded',
        source: 'procPolling',
        reason: 'The audit socket belongs to auditd.',
      } as const;

      const CHANGES: Readonly<
        Record<string, { begin(): void; end(): void; seen(status: SecurityAgentStatus): unknown; shows: unknown }>
      > = {
        'a collector is degraded': {
          begin: () => {
            agent.kernelEvents = polling;
          },
          end: () => {
            agent.kernelEvents = audit;
          },
          seen: ({ state, collectors: { ProcessCreate } }) => [state, ProcessCreate],
          shows: ['degraded', polling],
        },
        'a source has changed': {
          begin: () => {
            agent.kernelEvents = { state: 'on', source: 'auditMulticast' };
          },
          end: () => {
            agent.kernelEvents = audit;
          },
          seen: ({ collectors: { ProcessCreate } }) => ProcessCreate?.source,
          shows: 'auditMulticast',
        },
        'a snapshot cannot be taken': {
          begin: () => {
            agent.lastRuns.LocalUsers = { at: TIME, problem: 'no file' };
          },
          end: () => {
            agent.lastRuns.LocalUsers = { at: TIME };
          },
          seen: ({ state, collectors: { LocalUsers } }) => [state, LocalUsers?.state, LocalUsers?.reason],
          shows: ['degraded', 'unavailable', 'no file'],
        },
        'a hardening rule does not hold': {
          begin: () => {
            agent.scanned = { ...SCANNED, failed: 21, passed: 299 };
          },
          end: () => {
            agent.scanned = undefined;
          },
          seen: ({ posture }) => posture.baseline?.failed,
          shows: 21,
        },
        'an exception from the hardening rules is in force': {
          begin: () => {
            agent.scanned = { ...SCANNED, groupsDisabled: 'cron' };
            agent.doubts = { baselineChecksDisabled: 'names an unknown rule: x' };
          },
          end: () => {
            agent.scanned = undefined;
            agent.doubts = {};
          },
          seen: ({ posture, configuration: { warnings } }) => [posture.baseline?.groupsDisabled, warnings],
          shows: ['cron', { baselineChecksDisabled: 'names an unknown rule: x' }],
        },
        'a port is opened': {
          begin: () => tookPorts(22),
          end: () => tookPorts(),
          seen: ({ posture }) => [posture.exposure, posture.recommendations?.openPorts?.count],
          shows: [{ openPorts: 1, ports: '22/tcp' }, 1],
        },
        'a recommendation cannot be judged any more': {
          begin: () => {
            tookPorts(22);
            localStatus(agent.observed);
            agent.snapshotPosture.failed('ListeningPorts', 'no /proc');
          },
          end: () => tookPorts(),
          seen: ({ posture: { exposure, recommendations } }) => {
            const { severity, count, reason } = recommendations?.openPorts ?? {};
            return [exposure?.openPorts, severity, count, reason];
          },
          shows: [undefined, 'Medium', 1, 'no /proc'],
        },
        'a recommendation can neither be given nor ruled out': {
          begin: () => agent.snapshotPosture.failed('LocalUsers', 'no file'),
          end: () => {
            const root = { UserName: 'root', UserId: '0', ExtraDetails: { Password: 'locked' } };
            agent.snapshotPosture.accept({ event: 'LocalUsers', at: TIME, rows: [root], leftOut: 0 });
          },
          seen: ({ posture: { accounts, notJudged } }) => [accounts?.uidZero, notJudged?.secondRootAccount],
          shows: [undefined, 'no file'],
        },
        'the credential has another end': {
          begin: () => {
            agent.hub = { ...agent.hub, credential: { kind: 'moduleKey', expiresAt: ending } };
          },
          end: () => {
            agent.hub = { ...agent.hub, credential: { kind: 'moduleKey' } };
          },
          seen: ({ credential }) => credential,
          shows: { kind: 'moduleKey', expiresAt: ending.toISOString() },
        },
        'the credential ends soon': {
          begin: () => {
            agent.hub = {
              ...agent.hub,
              credential: { kind: 'moduleCertificate', expiresAt: ending, expiresSoon: true },
            };
          },
          end: () => {
            agent.hub = { ...agent.hub, credential: { kind: 'moduleKey' } };
          },
          seen: ({ state, credential: { expiresSoon } }) => [state, expiresSoon],
          shows: ['degraded', true],
        },
        'the credential cannot be renewed': {
          begin: () => {
            const error = new AgentError('SECRET_FILE_MISSING', 'module.key does not exist', 'Create it.');
            agent.hub = { ...agent.hub, credential: { kind: 'moduleKey', error } };
          },
          end: () => {
            agent.hub = { ...agent.hub, credential: { kind: 'moduleKey' } };
          },
          seen: ({ state, credential: { error } }) => [state, error?.id],
          shows: ['degraded', 'SECRET_FILE_MISSING'],
        },
        'files of state cannot be saved': {
          begin: () => {
            agent.observed = { ...agent.observed, unsaved: { describe: () => 'pause.json (EISDIR)' } };
          },
          end: () => {
            agent.observed = { ...agent.observed, unsaved: { describe: () => undefined } };
          },
          seen: ({ state, store }) => [state, store.unsaved],
          shows: ['degraded', 'pause.json (EISDIR)'],
        },
        'the queues are nearly full': {
          begin: () => {
            agent.observed = { ...agent.observed, queues: { ...bound(agent.queues), store: () => nearlyFull } };
          },
          end: () => {
            agent.observed = { ...agent.observed, queues: bound(agent.queues) };
          },
          seen: ({ state, store }) => [state, store],
          shows: ['degraded', nearlyFull],
        },
        'events wait in memory': {
          begin: () => {
            agent.observed = { ...agent.observed, queues: { ...bound(agent.queues), store: () => inTrouble } };
          },
          end: () => {
            agent.observed = { ...agent.observed, queues: bound(agent.queues) };
          },
          seen: ({ state, store }) => [state, store],
          shows: ['degraded', inTrouble],
        },
        'memory is above its budget': {
          begin: () => {
            agent.isOver = true;
          },
          end: () => {
            agent.isOver = false;
          },
          seen: ({ state, collectors: { ProcessCreate } }) => [state, ProcessCreate?.reason],
          shows: ['degraded', 'Left out.'],
        },
        'the configuration was refused': {
          begin: () => {
            agent.configuration = { ...agent.configuration, errors: { snapshotFrequency: 'must be …' } };
          },
          end: () => {
            agent.configuration = { ...agent.configuration, errors: {} };
          },
          seen: ({ state, configuration: { errors } }) => [state, errors],
          shows: ['degraded', { snapshotFrequency: 'must be …' }],
        },
      };
      for (const [what, { begin, end, seen, shows }] of Object.entries(CHANGES)) {
        it(`reports within five seconds that ${what}, and that it has cleared`, async () => {
          agent.kernelEvents = audit;
          const twinHub = new FakeHub();
          const reported = new ReportedStatus({
            observed: new Proxy({} as Observed, { get: (_, name: keyof Observed) => agent.observed[name] }),
            settings: agent.settings,
            clock: systemClock,
            log: quietLog(),
            changed: () => {},
          });
          const twin = new TwinSync({
            hub: twinHub,
            apply: () => {},
            reported: () => ({ securityAgent: reported.current() }),
            clock: systemClock,
            log: quietLog(),
          });
          const reportedStatus = () => twinHub.reported.securityAgent as SecurityAgentStatus;
          end(); // so that it can be compared with later reports
          await twin.start();
          twinHub.emit('connected');
          await time.tickAsync(seconds(5));
          const before = structuredClone(reportedStatus());
          assert.notDeepEqual(seen(before), shows);
          for (let round = 0; round < 2; round += 1) {
            begin();
            twin.changed();
            await time.tickAsync(seconds(5));
            assert.deepEqual(seen(reportedStatus()), shows);
            assert.deepEqual(validateStatus(reportedStatus()), []);
            end();
            twin.changed();
            await time.tickAsync(seconds(5));
            assert.deepEqual(seen(reportedStatus()), seen(before));
            assert.equal(reportedStatus().state, 'running');
          }
          await twin.stop();
        });
      }
    });

    it('reports the findings of a scan immediately, and its time with the counters', () => {
      const reported = report();
      assert.deepEqual(ofScans(reported.current().posture), {});
      agent.scanned = SCANNED;
      agent.lastRuns.ListeningPorts = { at: TIME, elements: 3 };
      assert.deepEqual(ofScans(reported.current().posture), { baseline: SCANNED, listeningPorts: 3 });

      const later = { ...SCANNED, scannedAt: '2024-05-02T01:00:00.000Z', durationMs: 390 };
      agent.scanned = later;
      agent.lastRuns.ListeningPorts = { at: TIME, elements: 4 };
      assert.deepEqual(ofScans(reported.current().posture), { baseline: SCANNED, listeningPorts: 3 });
      agent.scanned = { ...later, failed: 21, passed: 299 };
      assert.deepEqual(ofScans(reported.current().posture), { baseline: agent.scanned, listeningPorts: 4 });
      agent.scanned = { ...later, failed: 21, passed: 299, groupsDisabled: 'cron' };
      assert.equal(reported.current().posture.baseline?.groupsDisabled, 'cron');

      agent.lastRuns.ListeningPorts = { at: TIME, elements: 5 };
      reported.takeFigures();
      assert.equal(reported.current().posture.listeningPorts, 5);
    });

    it('reports the time of a first run immediately', () => {
      const reported = report();
      assert.equal(reported.current().collectors.LocalUsers?.lastRunAt, undefined);
      agent.lastRuns.LocalUsers = { at: TIME };
      assert.equal(reported.current().collectors.LocalUsers?.lastRunAt, '2024-05-01T12:00:00.000Z');
    });

    it('follows a change of the frequency in the middle of a wait', async () => {
      const reported = report();
      await reported.start();
      reported.current();
      starts('ls');
      await time.tickAsync(minutes(1));
      change({ highPriorityMessageFrequency: minutes(2) });
      await time.tickAsync(minutes(1));
      assert.equal(reported.current().delivery.collected, 1);
      await reported.stop();
    });

    it('updates the figures after a part of the first period, and then after whole ones', async () => {
      const reported = report({ firstPeriod: 0.5 });
      await reported.start();
      const reports = async (after: number) => {
        const before = changes;
        await time.tickAsync(after - 1);
        assert.equal(changes, before);
        await time.tickAsync(1);
        assert.equal(changes, before + 1);
      };
      await reports(minutes(3.5));
      await reports(minutes(7));
      await reports(minutes(7));
      await reported.stop();
    });

    it('has the latest figures when asked for them, whatever the frequency', () => {
      const reported = report();
      reported.current();
      starts('ls');
      reported.takeFigures();
      assert.equal(changes, 1);
      assert.equal(reported.current().delivery.collected, 1);
    });
  });
});
