import assert from 'node:assert/strict';
import sinon from 'sinon';
import type { AlertsStatus } from '../../../src/agent/detections/alerts/alerts.ts';
import { localStatus } from '../../../src/agent/status/observe.ts';
import { ReportedStatus } from '../../../src/agent/status/reported.ts';
import { detectionsStatus, type ObservedDetections } from '../../../src/agent/status/sections.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours } from '../../../src/core/base/duration.ts';
import { NO_LIMITS } from '../../../src/core/twin/limits.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { ObservedAgent } from './observed-agent.ts';
import { validateStatus } from './schema.ts';

const ALERTS: AlertsStatus = {
  hits: 12,
  alerts: 3,
  counted: 4,
  suppressed: { silenced: 5 },
  bySeverity: { informational: 0, low: 0, medium: 1, high: 2, critical: 0 },
  last: { type: 'IoT_CryptoMiner', severity: 'high', at: '2026-05-01T12:00:00.000Z' },
  silencedUntil: '2026-05-02T12:00:00Z',
  exceptions: { mine: 7 },
  unusedExceptions: 'old',
};
const DETECTIONS: ObservedDetections = {
  rules: { loaded: 90, refused: 0, off: { requires: 4 }, hash: 'ab'.repeat(32) },
  alerts: ALERTS,
  incomplete: {},
  isEnabled: true,
  warnings: {},
};

describe('The status of the detections', () => {
  let agent: ObservedAgent;
  let time: sinon.SinonFakeTimers;

  beforeEach(async () => {
    time = sinon.useFakeTimers({ now: new Date('2026-05-01T12:00:00.000Z') });
    agent = await ObservedAgent.start();
  });
  afterEach(async () => {
    time.restore();
    await agent.stop();
  });

  const statusWith = (change: Partial<ObservedDetections> = {}) =>
    localStatus({ ...agent.observed, detections: () => ({ ...DETECTIONS, ...change }) });

  it('lists wrong names of rules after the other warnings of the configuration', () => {
    const { configuration, state } = statusWith({ warnings: { detectionsDisabledRules: 'names an unknown rule' } });
    assert.deepEqual(configuration.warnings, { detectionsDisabledRules: 'names an unknown rule' });
    assert.equal(state, 'running');
  });

  it('has the latest alerts while they are held', () => {
    const latest = { 1: { rule: 'Reverse shell', user: '0 (root)', time: '2026-05-01T12:00:00.000Z' } };
    const status = statusWith({ latest });
    assert.deepEqual(status.detections?.latest, latest);
    const { pid, localFileHash, hub, events, queues, messages, memory, logLevel, next, routing, heldUp, ...reported } =
      status;
    assert.deepEqual(validateStatus(reported), []);
    assert.equal(statusWith().detections?.latest, undefined);
  });

  it('contains the number of alerts and everything that suppresses alerts', () => {
    const { detections, state } = statusWith();
    assert.deepEqual(detections, {
      state: 'on',
      rules: { loaded: 90, refused: 0, off: { requires: 4 } },
      ruleSetHash: 'ab'.repeat(32),
      alerts: ALERTS.bySeverity,
      counted: 4,
      suppressed: { silenced: 5 },
      last: ALERTS.last,
      silencedUntil: '2026-05-02T12:00:00Z',
      exceptions: { mine: 7 },
      unusedExceptions: 'old',
    });
    assert.equal(state, 'running');
    assert.equal(localStatus(agent.observed).detections, undefined);
  });

  it('lists that alerts are silenced, and degrades the agent, unless the local file lets them be off', () => {
    const { silencedUntil: _silencedUntil, ...loud } = ALERTS;
    const reportedStatus = (change: Partial<ObservedDetections>, mayBeOff: readonly string[]) => {
      agent.observed = { ...agent.observed, limits: { ...NO_LIMITS, mayBeOff: new Set(mayBeOff) } };
      const { state, configuration } = statusWith({ alerts: loud, ...change });
      return [state, configuration.switchedOff?.detections, Object.keys(configuration.warnings)];
    };
    const silencing = (silenced: number, all: number) =>
      ({ silencedRules: { setting: 'detectionsDisabledRules', silenced, all, byExceptions: 0 } }) as const;
    const excepting = {
      silencedRules: { setting: 'detectionsExceptions', silenced: 1, all: 16, byExceptions: 1 },
    } as const;
    for (const [change, name, what] of [
      [{ alerts: ALERTS }, 'detectionsSilencedUntil', 'is 2026-05-02T12:00:00Z'],
      [silencing(14, 15), 'detectionsDisabledRules', 'leaves 1 of 15 rules of level high or critical'],
      [silencing(1, 1), 'detectionsDisabledRules', 'leaves no rule of level high or critical'],
      [excepting, 'detectionsExceptions', 'leaves 15 of 16 rules of level high or critical'],
      [silencing(8, 16), 'detectionsDisabledRules', 'leaves 8 of 16 rules of level high or critical'],
    ] as const) {
      assert.deepEqual(reportedStatus(change, ['SecurityAlert']), ['running', `${name} ${what}`, []]);
      assert.deepEqual(reportedStatus(change, []), ['degraded', `${name} ${what}`, [name]]);
    }
    const few = 'detectionsDisabledRules leaves 8 of 15 rules of level high or critical';
    assert.deepEqual(reportedStatus(silencing(7, 15), []), ['running', few, []]);
    assert.deepEqual(reportedStatus({}, []), ['running', undefined, []]);
  });

  it('is degraded, with the agent, when something is missing', () => {
    for (const change of [
      { problem: 'No rules could be loaded.' },
      { rules: { ...DETECTIONS.rules, refused: 2 } },
      { incomplete: { ListeningPorts: 7 } },
      { alerts: { ...ALERTS, silenceRefused: '2027-05-01T12:00:00Z' } },
    ]) {
      const { detections, state } = statusWith(change);
      assert.deepEqual([detections?.state, state], ['degraded', 'degraded'], JSON.stringify(change));
      assert.match(detections?.reason ?? '', /\.$/);
      const off = detectionsStatus({ ...DETECTIONS, ...change, isEnabled: false });
      assert.deepEqual([off.state, off.reason], ['off', undefined]);
    }
  });

  it('is valid, and reports states at once and counters at their time', () => {
    let observed = DETECTIONS;
    const reported = new ReportedStatus({
      observed: { ...agent.observed, detections: () => observed },
      settings: agent.settings,
      clock: systemClock,
      log: quietLog(),
      changed: () => {},
    });
    const first = reported.current();
    assert.deepEqual(validateStatus(first), []);
    observed = { ...DETECTIONS, alerts: { ...ALERTS, counted: 99 } };
    assert.equal(reported.current().detections?.counted, 4);
    const { silencedUntil: _, ...loud } = observed.alerts;
    observed = { ...DETECTIONS, alerts: loud };
    assert.equal(reported.current().detections?.silencedUntil, undefined);
    assert.equal(reported.current().detections?.counted, 99);
    observed = { ...observed, alerts: { ...loud, counted: 100 } };
    time.tick(hours(1));
    reported.takeFigures();
    assert.equal(reported.current().detections?.counted, 100);
  });

  it('reports the first alert of each severity at once, and more of them with the figures', () => {
    const none = { critical: 0, high: 0, medium: 0, low: 0, informational: 0 };
    let bySeverity = { ...ALERTS.bySeverity, ...none };
    const reported = new ReportedStatus({
      observed: { ...agent.observed, detections: () => ({ ...DETECTIONS, alerts: { ...ALERTS, bySeverity } }) },
      settings: agent.settings,
      clock: systemClock,
      log: quietLog(),
      changed: () => {},
    });
    assert.equal(reported.current().detections?.alerts.high, 0);
    bySeverity = { ...bySeverity, high: 1 };
    assert.equal(reported.current().detections?.alerts.high, 1);
    bySeverity = { ...bySeverity, high: 2 };
    assert.equal(reported.current().detections?.alerts.high, 1);
    bySeverity = { ...bySeverity, low: 1 };
    assert.deepEqual([reported.current().detections?.alerts.high, reported.current().detections?.alerts.low], [2, 1]);
  });
});
