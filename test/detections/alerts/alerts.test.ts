import assert from 'node:assert/strict';
import fc from 'fast-check';
import sinon from 'sinon';
import * as v from 'valibot';
import { systemClock } from '../../../src/base/clock.ts';
import { days, hours, minutes, seconds } from '../../../src/base/duration.ts';
import { createLog } from '../../../src/base/log.ts';
import { securityAlert } from '../../../src/collectors/security-alert.ts';
import { ALERT_LEVELS, type AlertLevel } from '../../../src/contract/event.ts';
import type { AlertRaised } from '../../../src/contract/streams.ts';
import { AlertTimes } from '../../../src/detections/alerts/alert-times.ts';
import { Alerts } from '../../../src/detections/alerts/alerts.ts';
import type { AlertPolicy } from '../../../src/detections/alerts/policy.ts';
import { look } from '../../collectors/samples.ts';
import { quietLog } from '../../pipeline/memory-queues.ts';
import { hit, POLICY } from './samples.ts';

const START = new Date('2026-05-01T12:00:00.000Z');

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
  const told = () => raised.map(({ alertId, count }) => [alertId, count] as const);

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: START });
    [raised, early, logged, policy, changes] = [[], [], [], POLICY, 0];
    alerts = create();
  });
  afterEach(() => time.restore());

  it('raises an alert at once, with what the rule says and what happened', () => {
    const more = { ExtraDetails: { ContainerId: 'c', Sha256: 's' } };
    take({ payload: more, fields: { ParentImage: '/bin/sh', ParentCommandLine: 'sh -c x' }, eventIds: ['e1'] });
    const [record] = raised;
    // As JSON, since the fake clock has a Date of its own.
    assert.deepEqual(JSON.parse(JSON.stringify(record)), {
      time: START.toISOString(),
      alertId: record?.alertId,
      alertType: 'IoT_CryptoMiner',
      severity: 'high',
      rule: { id: hit().rule.id, title: 'Coin miner started', source: 'builtin', author: 'Vakt project' },
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

  it('has container and digest in the fields of the event', () => {
    take({ payload: { ExtraDetails: { ContainerId: 'c', Sha256: 's', Terminal: 't' } } });
    const [record] = raised;
    assert.ok(record !== undefined);
    const payload: Record<string, unknown> = { ...securityAlert.translate(record, look) };
    assert.deepEqual([payload.ContainerId, payload.Sha256, payload.ExtraDetails], ['c', 's', { Terminal: 't' }]);
  });

  it('makes events that are valid', () => {
    const hostile = { ...Object.fromEntries(Array.from({ length: 99 }, (_, n) => [`F${n}`, 'é'.repeat(9_000)])) };
    take({ payload: { CommandLine: 'ü'.repeat(70_000), ExtraDetails: hostile } });
    take({ rule: { id: 'x'.repeat(9_000), tags: [], remediation: 'y'.repeat(9_000), level: 'low' } });
    pass(hours(1));
    for (const record of raised) {
      const payload = securityAlert.translate(record, look);
      assert.equal(v.safeParse(securityAlert.payload, payload).success, true);
      assert.ok(Buffer.byteLength(JSON.stringify(payload)) < 32_000);
    }
    assert.equal(raised.length, 2);
  });

  describe('the log', () => {
    it('has a line for each alert, by its severity, with the id of the alert', () => {
      for (const level of ALERT_LEVELS) take({ rule: { level, id: level } });
      const levels = logged.map((line) => line.level);
      assert.deepEqual(levels, ['info', 'info', 'warn', 'error', 'error']);
      assert.deepEqual(
        logged.map((line) => line.alertId),
        raised.map(({ alertId }) => alertId),
      );
    });
  });

  describe('de-duplication', () => {
    it('counts further hits of the hour, and tells them in one update with the same id', () => {
      take();
      pass(minutes(20));
      take();
      take();
      pass(minutes(40) - 1);
      assert.equal(raised.length, 1);
      pass(1);
      const [first, update] = raised;
      assert.deepEqual(told(), [
        [first?.alertId, 1],
        [first?.alertId, 3],
      ]);
      const seen = [update?.firstSeen.getTime(), update?.lastSeen.getTime()];
      assert.deepEqual(seen, [START.getTime(), START.getTime() + minutes(20)]);
      pass(hours(2));
      assert.equal(raised.length, 2);
    });

    it('makes no update of an alert without further hits, and a new alert after the hour', () => {
      take();
      pass(hours(1));
      take();
      assert.equal(raised.length, 2);
      assert.notEqual(raised[0]?.alertId, raised[1]?.alertId);
    });

    it('gives a new alert a new id, also when the clock was set back to the hour of the one before', () => {
      take();
      pass(hours(1));
      time.setSystemTime(START);
      take();
      assert.equal(new Set(raised.map(({ alertId }) => alertId)).size, 2);
    });

    it('tells the update before a new alert of the same key, also without a tick', () => {
      take();
      take();
      time.tick(hours(1));
      take();
      assert.deepEqual(
        raised.map(({ count }) => count),
        [1, 2, 1],
      );
    });

    it('keeps users, programs and addresses apart, and rules', () => {
      take();
      take({ fields: { User: 'bob' } });
      take({ fields: { Image: '/tmp/other' } });
      take({ fields: { DestinationIp: '192.0.2.1' } });
      take({ rule: { id: 'another' } });
      take({ view: { Image: '/usr/bin/xmrig', CommandLine: 'xmrig' } });
      take({ fields: { CommandLine: '/tmp/xmrig --other' } });
      assert.equal(raised.length, 6);
    });

    it('uses the fields that the rule names', () => {
      const key = { rule: { key: ['CommandLine'] } };
      take(key);
      take({ ...key, fields: { User: 'bob' } });
      take({ ...key, fields: { CommandLine: 'x' } });
      assert.equal(raised.length, 2);
    });

    it('keeps things apart that have changed', () => {
      const port = (LocalPort: string) =>
        take({ source: 'listening_port_change', fields: { LocalPort, Change: 'added' } });
      for (const one of ['1', '2', '1']) port(one);
      assert.equal(raised.length, 2);
    });

    it('is not misled by steps of the wall clock', () => {
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

  describe('limits', () => {
    const different = (count: number, more: Parameters<typeof hit>[0] = {}) => {
      for (let n = 0; n < count; n += 1) take({ ...more, fields: { Image: `/tmp/${n}`, ...more.fields } });
    };

    it('allows 20 new alerts of a rule in an hour, and tells the others once', () => {
      different(30);
      assert.equal(raised.length, 20);
      assert.deepEqual(alerts.accounts(), { hits: 30, alerts: 20, counted: 0, suppressed: { ruleLimit: 10 } });
      pass(hours(1));
      const summary = raised.at(-1);
      assert.deepEqual([raised.length, summary?.count, summary?.alertType], [21, 10, 'IoT_CryptoMiner']);
      assert.match(summary?.details?.Summary ?? '', /^10 more/);
      different(1);
      assert.equal(raised.length, 22);
    });

    it('allows 120 new alerts in an hour, with one summary a type, of the highest severity', () => {
      for (let n = 0; n < 7; n += 1) different(20, { rule: { id: `r${n}`, alert: `T${n}`, level: 'low' } });
      assert.equal(raised.length, 120);
      take({ rule: { id: 'r0', alert: 'T6', level: 'critical' }, fields: { Image: '/tmp/x' } });
      take({ rule: { id: 'other', alert: 'T9', level: 'low' } });
      pass(hours(1));
      const summaries = raised.slice(120).map(({ alertType, count, severity }) => `${alertType} ${count} ${severity}`);
      assert.deepEqual(summaries, ['T6 21 critical', 'T9 1 low']);
      assert.deepEqual(alerts.accounts().suppressed, { ruleLimit: 1, deviceLimit: 21 });
    });

    it('raises the first urgent alert of a rule and a user also above them', () => {
      const by = (UserId: string, id: string, level: AlertLevel = 'high') =>
        take({ rule: { id, alert: id, level }, payload: { UserId }, fields: { Image: `/tmp/${id}` } });
      different(30, { payload: { UserId: '1000' } });
      for (let n = 0; n < 6; n += 1)
        different(20, { rule: { id: `r${n}`, level: 'low' }, payload: { UserId: '1000' } });
      assert.equal(raised.length, 120);
      by('0', hit().rule.id);
      by('0', hit().rule.id);
      by('1000', hit().rule.id);
      by('1000', 'shell', 'critical');
      by('1000', 'other', 'medium');
      const told = raised.slice(120).map(({ alertType, subject }) => `${alertType} of ${subject.UserId}`);
      assert.deepEqual(told, [`${hit().rule.id} of 0`, 'shell of 1000']);
      restart();
      take({ rule: { id: 'shell', alert: 'shell', level: 'critical' }, payload: { UserId: '1000' } });
      assert.equal(raised.length, 122);
    });

    it('raises 60 of them, of one user 30', () => {
      const urgent = (UserId: string) => {
        const before = raised.length;
        for (let n = 0; n < 99; n += 1)
          take({ rule: { id: `urgent ${n}` }, payload: { UserId }, fields: { Image: UserId } });
        return raised.length - before;
      };
      for (let n = 0; n < 6; n += 1) different(20, { rule: { id: `r${n}`, level: 'low' } });
      const each = ['1000', '0', '1', '2', '3', '4', '5'].map(urgent);
      assert.deepEqual(each, [30, 15, 8, 4, 2, 1, 0]);
      pass(hours(1));
      assert.equal(urgent('1000'), 99);
    });

    it('takes all users of a container for one, who leaves some to root of the host', () => {
      const urgent = (UserId: string, ContainerId?: string) => {
        const before = raised.length;
        const payload = { UserId, ...(ContainerId === undefined ? {} : { ExtraDetails: { ContainerId } }) };
        for (let n = 0; n < 99; n += 1) take({ rule: { id: `urgent ${n}` }, payload, fields: { Image: UserId } });
        return raised.length - before;
      };
      for (let n = 0; n < 6; n += 1) different(20, { rule: { id: `r${n}`, level: 'low' } });
      for (let user = 10_000; user < 10_100; user += 1) urgent(String(user), '0');
      assert.equal(raised.length, 120 + 30);
      assert.equal(urgent('0'), 15, 'although the name of the container is that of root');
    });

    it('still counts hits of open alerts above a limit', () => {
      different(25);
      different(20);
      assert.deepEqual(alerts.accounts(), { hits: 45, alerts: 20, counted: 20, suppressed: { ruleLimit: 5 } });
    });

    it('slides: an hour after each alert, another one is allowed', () => {
      for (let n = 0; n < 20; n += 1) {
        take({ fields: { Image: `/tmp/${n}` } });
        pass(minutes(2));
      }
      take({ fields: { Image: '/tmp/x' } });
      assert.equal(raised.length, 20);
      pass(minutes(20));
      take({ fields: { Image: '/tmp/y' } });
      take({ fields: { Image: '/tmp/z' } });
      assert.equal(alerts.accounts().alerts, 21);
    });
  });

  describe('early messages', () => {
    it('are asked for by critical and high alerts, at most once a minute', () => {
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

  describe('the policy', () => {
    it('counts what it suppresses, by reason', () => {
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

    it('applies the minimum level to the level that a trusted actor lowers', () => {
      policy = { ...POLICY, minimumLevel: 'high' };
      assert.equal(take({ during: 'dpkg' }), false);
      policy = { ...POLICY, minimumLevel: 'medium' };
      assert.equal(take({ during: 'dpkg' }), true);
      assert.deepEqual(
        raised.map(({ severity, during }) => [severity, during]),
        [['medium', 'dpkg']],
      );
      assert.deepEqual(alerts.accounts().suppressed, { minimumLevel: 1 });
    });

    it('is told to the caller, who is not to take a hit above a limit for a suppressed one', () => {
      const isTold = Array.from({ length: 27 }, (_, n) => take({ fields: { Image: `/tmp/${Math.max(1, n)}` } }));
      assert.ok(isTold.every((told) => told));
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

    it('is shown in the status', () => {
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

    it('shows the last alert and how many of each severity there were', () => {
      take();
      pass(minutes(1));
      take({ rule: { id: 'l', level: 'low', alert: 'L' } });
      const { bySeverity, last } = alerts.status();
      assert.deepEqual(bySeverity, { informational: 0, low: 1, medium: 0, high: 1, critical: 0 });
      assert.deepEqual(last, { type: 'L', severity: 'low', at: '2026-05-01T12:01:00.000Z' });
    });
  });

  describe('over restarts', () => {
    it('continues counting, with the same id, and tells the update when it is due', () => {
      take();
      pass(minutes(30));
      take();
      restart();
      take();
      assert.equal(raised.length, 1);
      pass(minutes(30));
      assert.deepEqual(told(), [
        [raised[0]?.alertId, 1],
        [raised[0]?.alertId, 3],
      ]);
    });

    it('has something to be saved when the status judges a policy, although no rule hits', () => {
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

    it('takes the time into account in which it did not run', () => {
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

    it('does not lift limits, and keeps what is to be summarized', () => {
      for (let n = 0; n < 25; n += 1) take({ fields: { Image: `/tmp/${n}` } });
      restart();
      take({ fields: { Image: '/tmp/x' } });
      assert.equal(raised.length, 20);
      const saved = JSON.parse(JSON.stringify(alerts.toJson()));
      time.setSystemTime(START.getTime() - days(3_000));
      alerts = create();
      alerts.restore(saved);
      take({ fields: { Image: '/tmp/y' } });
      assert.equal(raised.length, 20);
      pass(hours(1));
      assert.equal(raised.at(-1)?.count, 7);
    });

    it('gives an alert the same id again when it was killed before it saved its state', () => {
      take();
      alerts = create();
      take();
      time.tick(minutes(3));
      alerts = create();
      take();
      assert.equal(new Set(raised.map(({ alertId }) => alertId)).size, 1);
      assert.notEqual(create().toJson(), undefined);
    });

    it('gives it the same id again, also when the one before of its key was in the same hour', () => {
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

    it('keeps the last 200 alerts', () => {
      for (let n = 0; n < 210; n += 1) {
        take({ rule: { id: `r${n}` }, fields: { User: `u${n}` } });
        pass(minutes(31));
      }
      const before = alerts.history.list();
      restart();
      assert.deepEqual([before.length, before.at(-1)?.ruleId], [200, 'r209']);
      assert.deepEqual(alerts.history.list(), before);
    });

    it('ignores a damaged state', () => {
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

  it('keeps its limits and its books whatever happens', () => {
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
        const births: { at: number; rule: string }[] = [];
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
              take({
                rule: { id, alert: `T${id}`, level: one.rule > 5 ? 'high' : 'low' },
                fields: { User: `u${(one.user + n) % 50}` },
                payload: { UserId: String((one.user + n) % 7) },
              });
              hits += 1;
              if (alerts.accounts().alerts > had) births.push({ at: systemClock.monotonic(), rule: id });
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
        for (const { at, rule } of births) {
          const within = births.filter((other) => other.at >= at && other.at < at + hours(1));
          assert.ok(within.length <= 120 + 60);
          const most = Number(rule) > 5 ? 20 + 60 : 20;
          assert.ok(within.filter((other) => other.rule === rule).length <= most);
        }
        for (const [index, at] of early.entries()) assert.ok(index === 0 || at - (early[index - 1] ?? 0) >= minutes(1));
      }),
      { numRuns: 60 },
    );
  });

  it('tells in its last updates and summaries every hit that was not suppressed otherwise', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 300 }), (users) => {
        [raised, policy] = [[], POLICY];
        alerts = create();
        for (const user of users) take({ fields: { User: `u${user}` } });
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

  it('tells updates when they are due, and early messages when it is rung', async () => {
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
