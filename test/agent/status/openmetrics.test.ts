import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { localStatus } from '../../../src/agent/status/observe.ts';
import { metricsText } from '../../../src/agent/status/openmetrics.ts';
import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { DROP_REASONS } from '../../../src/core/base/counters.ts';
import { ObservedAgent } from './observed-agent.ts';

/** Lines of OpenMetrics 1.0 as its ABNF has them; without exemplars and timestamps. */
const TYPE = /^# TYPE ([a-z_]+) (counter|gauge)$/;
const HELP = /^# HELP ([a-z_]+) [^\\"]+\.$/;
const SAMPLE = /^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^\\"\n]|\\[\\"n])*",?)*)\})? (NaN|-?[\d.e+-]+)$/;

/** Samples by name and labels. @throws if the text isn't in the format, or a metric is there twice */
function parse(text: string): Map<string, number> {
  const lines = text.split('\n');
  assert.deepEqual(lines.splice(-2), ['# EOF', '']);
  const samples = new Map<string, number>();
  const families = new Set<string>();
  let family = '';
  let expected = '';
  for (const line of lines) {
    const [, typed = '', type] = TYPE.exec(line) ?? [];
    if (type !== undefined) {
      assert.ok(!families.has(typed), `${typed} is there twice`);
      families.add(typed);
      family = typed;
      expected = type === 'counter' ? `${family}_total` : family;
      continue;
    }
    const [, helped] = HELP.exec(line) ?? [];
    if (helped !== undefined) {
      assert.equal(helped, family);
      continue;
    }
    const [, name, labels = '', value] = SAMPLE.exec(line) ?? [];
    assert.equal(name, expected, line);
    const key = labels === '' ? String(name) : `${name}{${labels}}`;
    assert.ok(!samples.has(key), `${key} is there twice`);
    samples.set(key, Number(value));
  }
  return samples;
}

describe('openMetrics', () => {
  let agent: ObservedAgent;
  let status: LocalStatus;

  beforeEach(async () => {
    agent = await ObservedAgent.start();
    status = localStatus(agent.observed);
  });
  afterEach(() => agent.stop());

  const sampled = (changes: Partial<LocalStatus> = {}) => parse(metricsText({ ...status, ...changes }, 'openmetrics'));

  it('prints only that the agent does not run, if it is stopped', () => {
    assert.deepEqual(parse(metricsText(undefined, 'openmetrics')), new Map([['vakt_up', 0]]));
  });

  it('prints 1 for the current state', () => {
    const samples = sampled({ state: 'paused' });
    assert.equal(samples.get('vakt_up'), 1);
    assert.equal(samples.get('vakt_state{state="paused"}'), 1);
    assert.equal(samples.get('vakt_state{state="running"}'), 0);
    assert.equal(samples.get(`vakt_build_info{version="${status.version}",agent_id="${status.agentId}"}`), 1);
    assert.equal(samples.get('vakt_start_time_seconds'), Date.parse(status.startedAt) / 1_000);
  });

  it('has the accounts of each event, which add up', () => {
    const account = { collected: 20, delivered: 10, aggregatedAway: 4, queued: 3, dropped: { kernel: 2, memory: 1 } };
    const samples = sampled({ events: { ProcessCreate: account } });
    const of = (name: string, more = '') => samples.get(`vakt_events_${name}{event="ProcessCreate"${more}}`);
    assert.deepEqual(
      [of('collected_total'), of('delivered_total'), of('aggregated_total'), of('queued')],
      [20, 10, 4, 3],
    );
    assert.equal(of('dropped_total', ',reason="kernel"'), 2);
    assert.equal(of('dropped_total', ',reason="memory"'), 1);
  });

  it('has each counter of losses from the start, so that its first increase is seen', () => {
    const samples = sampled({ events: {} });
    for (const event of ['ProcessCreate', 'SecurityAlert', 'Unidentified']) {
      assert.equal(samples.get(`vakt_events_collected_total{event="${event}"}`), 0);
      for (const reason of DROP_REASONS)
        assert.equal(samples.get(`vakt_events_dropped_total{event="${event}",reason="${reason}"}`), 0);
    }
  });

  it("names counters as Prometheus' own format does", () => {
    const text = metricsText(status, 'prometheus');
    assert.match(
      text,
      /^# TYPE vakt_messages_sent_total counter\n# HELP vakt_messages_sent_total .*\nvakt_messages_sent_total \d+$/m,
    );
    assert.doesNotMatch(text, /# EOF/);
    assert.match(metricsText(undefined, 'prometheus'), /^vakt_up 0\n$/m);
  });

  it('leaves out what is unknown', () => {
    const { detections: _, ...without } = { ...status, posture: {}, credential: { kind: 'moduleKey' } };
    const names = [...parse(metricsText(without, 'openmetrics')).keys()].join('\n');
    assert.doesNotMatch(names, /vakt_(?:rules|alerts|open_ports|baseline|credential)/);
  });

  it('has the alerts by severity, and what made none', () => {
    const samples = sampled({
      detections: {
        state: 'on',
        rules: { loaded: 87, refused: 1, off: { requires: 4 } },
        ruleSetHash: 'ab',
        alerts: { informational: 0, low: 0, medium: 1, high: 2, critical: 0 },
        counted: 7,
        suppressed: { silenced: 5 },
      },
    });
    assert.equal(samples.get('vakt_alerts_total{severity="high"}'), 2);
    assert.equal(samples.get('vakt_alert_matches_counted_total'), 7);
    assert.equal(samples.get('vakt_alert_matches_suppressed_total{reason="silenced"}'), 5);
    assert.equal(samples.get('vakt_rules_off{reason="requires"}'), 4);
  });

  it('keeps its format for any strings in the answer', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const account = { collected: 1, delivered: 1, aggregatedAway: 0, queued: 0, dropped: {} };
        const samples = sampled({ version: text, events: { [text]: account } });
        assert.equal(samples.get('vakt_up'), 1);
      }),
      { examples: [['"} 1\nvakt_up 0'], ['\\'], ['\n'], ['\\n"']] },
    );
  });
});
