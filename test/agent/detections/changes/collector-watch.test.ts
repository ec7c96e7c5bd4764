import assert from 'node:assert/strict';
import sinon from 'sinon';
import { agentChanges } from '../../../../src/agent/detections/changes/change.ts';
import { CollectorWatch, type WatchedCollector } from '../../../../src/agent/detections/changes/collector-watch.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { hours, minutes } from '../../../../src/core/base/duration.ts';

const START = new Date('2026-05-01T12:00:00.000Z');

describe('CollectorWatch', () => {
  let time: sinon.SinonFakeTimers;
  let watch: CollectorWatch;

  beforeEach(() => {
    time = sinon.useFakeTimers({ now: START });
    watch = new CollectorWatch({ clock: systemClock, snapshotPeriod: () => hours(13) });
  });
  afterEach(() => time.restore());

  const collector = (name: string, state: WatchedCollector['state'] = 'on'): WatchedCollector => ({
    name,
    category: ['ListeningPorts', 'LocalUsers'].includes(name) ? 'Periodic' : 'Triggered',
    state,
  });
  const check = (...of: WatchedCollector[]) =>
    watch.check(of, false).map(({ fields }) => `${fields.Event} ${fields.Collector} ${fields.State}`);

  it('reports the loss of an active source once, and again after it was back', () => {
    watch.saw('Login');
    const down = collector('Login', 'unavailable');
    assert.deepEqual(check(down), []);
    time.tick(minutes(2));
    assert.deepEqual(check(down), ['CollectorStatus Login lost']);
    time.tick(hours(1));
    assert.deepEqual(check(down), []);
    assert.deepEqual(check(collector('Login')), []);
    assert.deepEqual(check(down), []);
    time.tick(minutes(2));
    assert.deepEqual(check(down), ['CollectorStatus Login lost']);
  });

  it('does not report a source that never existed, or that is reopened immediately', () => {
    const down = collector('ProcessCreate', 'unavailable');
    assert.deepEqual(check(down), []);
    time.tick(hours(30));
    assert.deepEqual(check(down), []);
    watch.saw('ProcessCreate');
    check(down);
    time.tick(minutes(2) - 1);
    assert.deepEqual([...check(down), ...check(collector('ProcessCreate'))], []);
    time.tick(minutes(1));
    assert.deepEqual(check(down), []);
  });

  it('reports an event collector as silent after 24 hours, a snapshot after twice its period', () => {
    for (const name of ['ProcessCreate', 'ListeningPorts', 'Login']) watch.saw(name);
    const all = [collector('ProcessCreate'), collector('ListeningPorts'), collector('Login')];
    time.tick(hours(24) - 1);
    assert.deepEqual(check(...all), []);
    time.tick(1);
    assert.deepEqual(check(...all), ['CollectorStatus ProcessCreate silent']);
    time.tick(hours(2));
    assert.deepEqual(check(...all), ['CollectorStatus ListeningPorts silent']);
    watch.saw('ProcessCreate');
    time.tick(hours(24));
    assert.deepEqual(check(...all), ['CollectorStatus ProcessCreate silent'], 'and never Login');
  });

  it('reports nothing while collection is paused, or for a collector that is off', () => {
    watch.saw('ProcessCreate');
    time.tick(hours(30));
    assert.deepEqual(watch.check([collector('ProcessCreate')], true), []);
    time.tick(hours(20));
    assert.deepEqual(check(collector('ProcessCreate', 'off')), []);
    time.tick(hours(23));
    assert.deepEqual(check(collector('ProcessCreate')), []);
    time.tick(hours(1));
    assert.deepEqual(check(collector('ProcessCreate')), ['CollectorStatus ProcessCreate silent']);
  });

  it('keeps the active collectors across restarts, regardless of steps of the clock', () => {
    watch.saw('ProcessCreate');
    const kept = JSON.parse(JSON.stringify(watch.toJson()));
    watch = new CollectorWatch({ clock: systemClock, snapshotPeriod: () => hours(13) });
    watch.restore(kept);
    time.setSystemTime(START.getTime() + hours(5_000));
    assert.deepEqual(check(collector('ProcessCreate')), []);
    check(collector('ProcessCreate', 'unavailable'));
    time.tick(minutes(2));
    assert.deepEqual(check(collector('ProcessCreate', 'unavailable')), ['CollectorStatus ProcessCreate lost']);
    for (const damaged of [null, 5, {}, [5]]) watch.restore(damaged);
  });

  it('reports why a source is lost', () => {
    watch.saw('Login');
    const down = { ...collector('Login', 'unavailable'), reason: 'no audit' };
    watch.check([down], false);
    time.tick(minutes(2));
    const [change] = watch.check([down], false);
    assert.deepEqual(change?.fields, {
      Event: 'CollectorStatus',
      Collector: 'Login',
      State: 'lost',
      Reason: 'no audit',
    });
    assert.deepEqual([change?.source, change?.event.name], ['agent', 'CollectorStatus']);
  });
});

describe('agentChanges', () => {
  it("passes exactly the fields of the agent's events to rules", () => {
    const row = { ConfigurationName: 'x', ErrorType: 'TypeMismatch', Message: 'm' };
    const [change] = agentChanges([row], { event: 'ConfigurationError', at: START });
    assert.deepEqual(change?.fields, { Event: 'ConfigurationError', ...row });
    assert.deepEqual(agentChanges([row], { event: 'Diagnostic', at: START }), []);
  });
});
