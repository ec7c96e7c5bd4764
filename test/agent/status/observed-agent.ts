import assert from 'node:assert/strict';
import { join } from 'node:path';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { Occurrences } from '../../../src/agent/collectors/occurrences.ts';
import { type ConfigurationState, LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import type { Exposed } from '../../../src/agent/linux/self/exposed-files.ts';
import { Aggregator } from '../../../src/agent/pipeline/aggregator.ts';
import { snapshotEvent } from '../../../src/agent/pipeline/envelope.ts';
import type { PauseStatus } from '../../../src/agent/pipeline/pause.ts';
import type { Sent } from '../../../src/agent/pipeline/publisher.ts';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import type { LastRun } from '../../../src/agent/pipeline/snapshots.ts';
import { Triggers } from '../../../src/agent/pipeline/triggers.ts';
import { Recommendations } from '../../../src/agent/posture/recommendations.ts';
import { SnapshotPosture } from '../../../src/agent/posture/snapshot-posture.ts';
import type { Restarts } from '../../../src/agent/state/runs.ts';
import type { Observed } from '../../../src/agent/status/observe.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import type { BaselinePosture } from '../../../src/core/contract/baseline.ts';
import type { Collector } from '../../../src/core/contract/collector.ts';
import type { Payload, Priority } from '../../../src/core/contract/event.ts';
import type { HubStatus } from '../../../src/core/contract/hub.ts';
import type { Settings } from '../../../src/core/contract/settings.ts';
import type { SourceStatus } from '../../../src/core/contract/sources.ts';
import { readDefaults } from '../../../src/core/twin/twin.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { records } from '../collectors/samples.ts';
import { nameOf, publishedDialect } from '../config/published.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { synchronousFiles } from '../pipeline/synchronous-files.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';

export const TIME = new Date('2024-05-01T12:00:00.000Z');

export const defaults = (): Settings => readDefaults(publishedDialect()).settings;

/** What a status is made from: real settings, windows and queues, and other parts that are as a test sets them. */
export class ObservedAgent {
  readonly settings = new LiveSettings(defaults());
  readonly queues: EventQueues;
  readonly occurrences: Occurrences;
  readonly lastRuns: Record<string, LastRun> = {};
  configuration: ConfigurationState = { source: 'desired', desiredVersion: 7, errors: {}, warnings: {} };
  /** The source of starts; all others are on. */
  kernelEvents: SourceStatus = { state: 'on', source: 'auditUnicast' };
  sent: Sent = { sent: 0, under4KB: 0, failed: 0 };
  hub: HubStatus = { state: 'connected', credential: { kind: 'moduleKey' } };
  stopping = false;
  /** Whether memory is above its budget. */
  isOver = false;
  pause: PauseStatus | undefined;
  restarts: Restarts = { unclean: 0 };
  exposed: Exposed = {};
  scanned: BaselinePosture | undefined;
  doubts: Record<string, string> = {};
  readonly snapshotPosture = new SnapshotPosture({
    baseline: () => this.scanned,
    hasIpv6: () => true,
    isCollected: () => true,
    log: quietLog(),
  });
  observed: Observed;

  private constructor(folder: string) {
    const { settings } = this;
    const log = quietLog();
    const clock = systemClock;
    const queues = new EventQueues({
      files: synchronousFiles,
      directory: join(folder, 'queues'),
      settings,
      clock,
      log,
    });
    const aggregator = new Aggregator({
      files: synchronousFiles,
      settings,
      clock,
      queues,
      directory: join(folder, 'aggregates'),
      log,
    });
    const lookups = {
      newBatch: () => {},
      userName: () => 'root',
      containerId: () => undefined,
      started: () => ({ containerId: undefined, sha256: undefined }),
      interfaceName: () => undefined,
    };
    this.queues = queues;
    this.occurrences = new Occurrences({ collectors, lookups });
    this.occurrences.offerTo(new Triggers({ collectors, settings, aggregator, queues, origin: '', log }));
    this.observed = {
      version: '0.1.0',
      agentId: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f',
      localFileHash: '',
      startedAt: () => TIME,
      memory: {
        use: () => ({ residentBytes: 70e6, budgetBytes: 100e6, isOver: this.isOver }),
        leavesOut: (collector, priority) => this.#leavesOut(collector, priority),
      },
      bootId: '11111111-2222-3333-4444-555555555555',
      stopping: () => this.stopping,
      collectors,
      settings: () => settings.current(),
      nameOf,
      configuration: () => this.configuration,
      lastRun: (event) => this.lastRuns[event],
      stream: (name) => (name === 'starts' ? this.kernelEvents : { state: 'on' }),
      queues,
      aggregator,
      sent: () => this.sent,
      pause: () => this.pause,
      restarts: () => this.restarts,
      exposed: () => this.exposed,
      baseline: { posture: () => this.scanned, warnings: () => this.doubts },
      snapshotFacts: (isOn) => this.snapshotPosture.facts(isOn),
      recommendations: new Recommendations({
        file: join(folder, 'recommendations.json'),
        files: immediateStateFiles,
        clock,
        log,
      }),
      logLevel: () => undefined,
      hub: () => this.hub,
    };
  }

  static async start(): Promise<ObservedAgent> {
    const agent = new ObservedAgent(temporaryFolder());
    await agent.queues.start();
    return agent;
  }

  stop(): Promise<void> {
    return this.queues.stop();
  }

  change(some: Partial<Settings>): void {
    this.settings.replace({ ...this.settings.current(), ...some });
  }

  /** Reports starts of processes, a command line each. */
  starts(...commands: readonly string[]): void {
    const started = commands.map((command) => ({ ...records.starts, commandLine: command }));
    this.occurrences.accept('starts', started);
  }

  /** Queues a snapshot of listening ports. */
  snapshot(rows: Payload[]): void {
    const collector = collectors.find(({ name }) => name === 'ListeningPorts');
    assert.ok(collector);
    this.queues.put('High', [snapshotEvent(collector, rows, TIME)]);
  }

  #leavesOut({ type }: Pick<Collector, 'type'>, priority: Priority): string | undefined {
    return this.isOver && type === 'Security' && priority === 'Low' ? 'Left out.' : undefined;
  }
}
