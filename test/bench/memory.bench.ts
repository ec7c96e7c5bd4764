import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';
import { DEVICE, MODULE, TestBed } from '../integration/test-bed.ts';
import { type Memory, memory, Peer, report, scriptOf } from './figures.ts';
import { auditIsMissing, sourceNote } from './slot.ts';
import { Native } from './starts.ts';

/* Resident memory of the connected agent with all collectors, and of smaller programs. */

const BUDGET_MIB = 64;
const STARTED = seconds(20);
/** The agent releases the memory of its start after a minute. */
const STEADY = seconds(90);
const STARTS = 2_000;
const BARE = ['-e', "setInterval(() => {}, 1e6); process.stdout.write('ready\\n')"];

const native = new Native();
const bed = await TestBed.open({ desired: {} });
bed.writeConfiguration({ detections: { enabled: true } });
const peers: Peer[] = [];
try {
  const missing = await auditIsMissing();
  const environment = {
    BENCH_CONNECTION_STRING: bed.hub.connectionString(DEVICE, MODULE),
    BENCH_CA: bed.write('sdk-ca.pem', bed.hub.caPem),
  };
  // One after the other: they have the same identity, and a hub accepts one connection per identity.
  const afterAWhile = async (...args: string[]) => {
    const peer = await Peer.start(process.execPath, args, environment);
    peers.push(peer);
    await systemClock.sleep(seconds(5));
    const found = memory(peer.pid);
    await peer.end();
    return found;
  };
  const bare = await afterAWhile(...BARE);
  const bareSmall = await afterAWhile('--max-semi-space-size=1', ...BARE);
  const sdk = await afterAWhile(scriptOf('sdk-peer'));
  const sdkSmall = await afterAWhile('--max-semi-space-size=1', scriptOf('sdk-peer'));

  const agent = bed.startAgent();
  const status = await agent.waitForStatus(({ hub }) => hub.state === 'connected');
  await systemClock.sleep(STARTED);
  const started = memory(agent.pid);
  await systemClock.sleep(milliseconds(STEADY - STARTED));
  const steady = memory(agent.pid);
  await native.start(STARTS, 200);
  await systemClock.sleep(seconds(2));
  const after = memory(agent.pid);

  const row = (label: string, { rss, anonymous }: Memory, budget = '') => [
    label,
    rss.toFixed(1),
    anonymous.toFixed(1),
    budget,
  ];
  report(
    'Resident memory, MiB',
    [
      ['', 'RSS', 'anonymous', 'budget (RSS)'],
      row('bare Node, idle', bare),
      row('bare Node, idle, --max-semi-space-size=1', bareSmall),
      row('the stock SDK, connected', sdk),
      row('the stock SDK, connected, --max-semi-space-size=1', sdkSmall),
      row(`agent, connected, after ${STARTED / 1_000} s`, started),
      row(`agent, after ${STEADY / 1_000} s`, steady, `≤ ${BUDGET_MIB}`),
      row(`agent, after ${STARTS} process starts`, after, `≤ ${BUDGET_MIB}`),
    ],
    [sourceNote(status.collectors.ProcessCreate?.source, missing)],
  );
} finally {
  await Promise.all(peers.map((peer) => peer.end()));
  await bed.close();
  native.remove();
}
