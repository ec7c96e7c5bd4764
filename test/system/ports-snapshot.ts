import { listeningPorts } from '../../src/agent/collectors/listening-ports.ts';
import { ListeningSockets } from '../../src/agent/linux/sockets/listening-sockets.ts';
import { Snapshots } from '../../src/agent/pipeline/snapshots.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import type { OutgoingEvent } from '../../src/core/contract/store.ts';
import { sources } from '../agent/collectors/samples.ts';
import { liveSettings, quietLog } from '../agent/pipeline/memory-queues.ts';
import { processorTime } from '../harness/processor-time.ts';

/* Takes the snapshot ListeningPorts twice, as the agent does. Prints the queued events, the collector's result, and the longest
 * time for which the event loop was blocked. */

let queued: readonly OutgoingEvent[] = [];
const snapshots = new Snapshots({
  collectors: [listeningPorts],
  sources: { ...sources, sockets: new ListeningSockets() },
  settings: liveSettings({ maxMessageSizeInBytes: 204_800, priorities: { ListeningPorts: 'High' } }),
  queues: {
    put(_queue, events) {
      queued = events;
      return events.length;
    },
    drop: () => {},
  },
  clock: systemClock,
  log: quietLog(),
  changed: () => {},
});

let longest = 0;
let used = processorTime();
const watch = setInterval(() => {
  longest = Math.max(longest, used());
  used = processorTime();
}, 1);
const tookMs: number[] = [];
for (let time = 0; time < 2; time += 1) {
  const from = performance.now();
  await snapshots.takeNow(['ListeningPorts']);
  tookMs.push(performance.now() - from);
}
clearInterval(watch);
const answer = {
  events: queued.map(({ json }) => JSON.parse(json)),
  run: snapshots.lastRun('ListeningPorts'),
  longest,
  tookMs,
  rss: process.memoryUsage.rss(),
};
process.stdout.write(JSON.stringify(answer));
