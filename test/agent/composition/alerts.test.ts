import assert from 'node:assert/strict';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { Occurrences } from '../../../src/agent/collectors/occurrences.ts';
import { alertsAsDiagnostics, logEvents } from '../../../src/agent/composition/services.ts';
import { LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import { Triggers } from '../../../src/agent/pipeline/triggers.ts';
import { createLog, type LogLine } from '../../../src/core/base/log.ts';
import { LogTap } from '../../../src/core/base/log-tap.ts';
import { isRouted, type Routing } from '../../../src/core/contract/message.ts';
import type { AlertRaised } from '../../../src/core/contract/streams.ts';
import { look, records } from '../collectors/samples.ts';
import { MemoryQueues, quietLog } from '../pipeline/memory-queues.ts';
import { defaults } from '../status/observed-agent.ts';

/** The path from detections to the queues, with the agent's own log. */
class Bench {
  readonly settings = new LiveSettings(defaults());
  readonly queues = new MemoryQueues();
  readonly occurrences = new Occurrences({ collectors, lookups: look });
  readonly tap = new LogTap('warn');
  readonly log = createLog({ level: 'silent', tap: this.tap });

  constructor(routing: Routing) {
    const { settings, queues, occurrences } = this;
    const triggers = new Triggers({
      collectors: collectors.filter((collector) => isRouted(routing, collector)),
      settings,
      aggregator: { add: () => assert.fail('nothing here is aggregated') },
      queues,
      origin: '',
      log: quietLog(),
    });
    occurrences.offerTo(triggers);
    const announce = (line: LogLine) => {
      for (const batch of occurrences.translate('log', [line])) triggers.announce(batch);
    };
    if (routing === 'security') occurrences.offerTo(alertsAsDiagnostics({ settings, level: 'warn', announce }));
    void logEvents(this.tap, occurrences).start();
  }

  /** As the detections do. */
  raise(changes: Partial<AlertRaised> = {}): void {
    const alert = { ...records.alerts, ...changes };
    this.log.error({ alertId: alert.alertId }, 'Security alert.');
    this.occurrences.accept('alerts', [alert]);
  }

  get events() {
    return [...this.queues.envelopes('High'), ...this.queues.envelopes('Low')];
  }
}

describe('An alert', () => {
  for (const routing of ['telemetry', 'both'] as const) {
    it(`is a SecurityAlert, and its line in the log no event, with messageRouting ${routing}`, () => {
      const bench = new Bench(routing);
      bench.raise();
      const [event, ...others] = bench.events;
      assert.equal(event.Name, 'SecurityAlert');
      assert.equal(event.Payload[0].AlertType, 'IoT_ReverseShell');
      assert.deepEqual(others, []);
      bench.log.error('Another line.');
      assert.deepEqual(
        bench.events.map(({ Name }) => Name),
        ['SecurityAlert', 'Diagnostic'],
      );
    });
  }

  for (const routing of ['telemetry', 'both', 'security'] as const) {
    it(`an alert does not displace another log line, with messageRouting ${routing}`, () => {
      const bench = new Bench(routing);
      for (let n = 0; n < 60; n += 1) bench.raise();
      bench.log.warn('Another line.');
      const messages = bench.events.map(({ Payload: [{ Message }] }) => Message);
      assert.equal(messages.filter((message) => message === 'Another line.').length, 1);
      assert.equal(messages.length, 61);
    });
  }

  it('lets no line of the log vanish without a count', () => {
    const bench = new Bench('telemetry');
    for (let n = 0; n < 100; n += 1) bench.log.warn('Another line.');
    assert.equal(bench.events.length, 60);
    const isDropped = ([queue, name, reason]: (typeof bench.queues.dropped)[number]) =>
      `${queue} ${name} ${reason}` === 'Low Diagnostic cacheFull';
    assert.equal(
      bench.queues.dropped.filter(isDropped).reduce((all, [, , , count]) => all + count, 0),
      40,
    );
  });

  describe('with messageRouting security', () => {
    it('is one Diagnostic event with all its fields', () => {
      const bench = new Bench('security');
      bench.raise();
      const [event, ...others] = bench.events;
      assert.deepEqual([event.Name, others], ['Diagnostic', []]);
      const [{ Severity, Message, ExtraDetails }] = event.Payload;
      assert.deepEqual([Severity, Message], ['Error', 'Security alert: Reverse shell']);
      assert.equal(ExtraDetails.Remedy, records.alerts.remediation);
      for (const [name, value] of Object.entries({
        AlertId: records.alerts.alertId,
        Severity: 'Critical',
        Count: '3',
        CommandLine: 'bash -i',
        ProcessId: '1445',
        Terminal: 'pts0',
        Techniques: 'T1059.004;T1071',
      })) {
        assert.equal(ExtraDetails[name], value, name);
      }
    });

    it('is one only from the level that log lines need', () => {
      const bench = new Bench('security');
      for (const severity of ['critical', 'high', 'medium', 'low', 'informational'] as const) bench.raise({ severity });
      assert.deepEqual(
        bench.events.map(({ Payload: [{ Severity, ExtraDetails }] }) => [ExtraDetails.Severity, Severity]),
        [
          ['Critical', 'Error'],
          ['High', 'Error'],
          ['Medium', 'Warning'],
        ],
      );
    });

    it('an alert is sent with priority High even while Diagnostic is off in the module twin', () => {
      const bench = new Bench('security');
      const { priorities } = defaults();
      bench.settings.replace({ ...defaults(), priorities: { ...priorities, Diagnostic: 'Off' } });
      bench.raise();
      const names = bench.queues.envelopes('High').map(({ Name }) => Name);
      assert.deepEqual([names, bench.events.length], [['Diagnostic'], 1]);
    });

    it('no alert is sent while SecurityAlert is off in the module twin', () => {
      const bench = new Bench('security');
      const { priorities } = defaults();
      bench.settings.replace({ ...defaults(), priorities: { ...priorities, SecurityAlert: 'Off' } });
      assert.equal(bench.occurrences.streams().has('alerts'), false);
      bench.raise();
      assert.deepEqual(bench.events, []);
    });
  });
});
