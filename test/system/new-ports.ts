import { listeningPorts } from '../../src/agent/collectors/listening-ports.ts';
import { builtInRules } from '../../src/agent/detections/built-in.ts';
import { Detections } from '../../src/agent/detections/detections.ts';
import { ListeningSockets } from '../../src/agent/linux/sockets/listening-sockets.ts';
import { Snapshots } from '../../src/agent/pipeline/snapshots.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { hours } from '../../src/core/base/duration.ts';
import { sources } from '../agent/collectors/samples.ts';
import { liveSettings, quietLog } from '../agent/pipeline/memory-queues.ts';

/* For each line of its standard input, evaluates the shipped rules for a snapshot of ListeningPorts as the agent takes it, and
 * prints the rules that matched, each with its port and user. */

let hits: string[] = [];
const detections = new Detections({
  isOn: () => true,
  rules: builtInRules(),
  lists: () => ({}),
  alerts: {
    take({ rule, subject: { fields } }) {
      hits.push(`${rule.alert} ${fields.UserId} ${fields.LocalPort}`);
      return true;
    },
  },
  ancestry: { processAt: () => undefined },
  files: { isRootOwned: () => false, runsHostFile: () => undefined },
  userNameOf: () => undefined,
  idOf: () => undefined,
  collectors: () => [],
  isPaused: () => false,
  snapshotPeriod: () => hours(13),
  clock: systemClock,
  log: quietLog(),
  changed: () => {},
  stateChanged: () => {},
});
const snapshots = new Snapshots({
  collectors: [listeningPorts],
  sources: { ...sources, sockets: new ListeningSockets() },
  settings: liveSettings({}),
  queues: { put: (_queue, events) => events.length, drop: () => {} },
  clock: systemClock,
  log: quietLog(),
  changed: () => {},
});
snapshots.offerTo(detections);

for await (const _ of process.stdin) {
  hits = [];
  await snapshots.takeNow(['ListeningPorts']);
  await detections.stop();
  process.stdout.write(`${JSON.stringify(hits)}\n`);
}
