import assert from 'node:assert/strict';
import { ASSESSED_EVENTS, SnapshotPosture } from '../../../src/agent/posture/snapshot-posture.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import type { BaselinePosture } from '../../../src/core/contract/baseline.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import type { ListingStatus } from '../../../src/core/contract/sources.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { iptablesRows, userRows } from './rows.ts';

const at = new Date('2026-05-01T12:00:00.000Z');
const NOT_YET = { unknown: 'no snapshot since the start of the agent' };
const PORT = { Protocol: 'tcp', LocalAddress: '0.0.0.0', LocalPort: '22' };
const SCANNED = { passed: 1, failed: 0 } as BaselinePosture;

describe('SnapshotPosture', () => {
  let posture: SnapshotPosture;
  let logged: LogLine[];
  let scanned: BaselinePosture | undefined;
  const facts = (off: readonly string[] = []) => posture.facts((event) => !off.includes(event));
  const took = (event: string, rows: readonly Payload[], { leftOut = 0, ...source }: ListingStatus = { state: 'on' }) =>
    posture.accept({ event, at, rows, leftOut, source });
  const failed = (event: string, problem = 'no /proc') => posture.failed(event, problem);

  beforeEach(() => {
    scanned = SCANNED;
    logged = [];
    posture = new SnapshotPosture({
      baseline: () => scanned,
      hasIpv6: () => false,
      isCollected: (event) => event !== 'OSBaseline',
      log: quietLog(logged),
    });
  });

  it('has no facts before the first snapshots, nor from other events', () => {
    took('SystemInformation', [{ OSName: 'x' }]);
    took('constructor', []);
    failed('SystemInformation');
    for (const fact of Object.values(facts())) assert.deepEqual(fact, NOT_YET);
  });

  it('wants the snapshots that it assesses, and that are taken anyway', () => {
    assert.deepEqual(
      [...Object.keys(ASSESSED_EVENTS), 'SystemInformation', 'constructor'].filter((event) => posture.wants(event)),
      ['ListeningPorts', 'FirewallConfiguration', 'LocalUsers', 'MessageStatistics'],
    );
  });

  it('knows what the last snapshot says, and nothing after one that failed', () => {
    took('ListeningPorts', [PORT]);
    assert.deepEqual(facts().exposure, { found: { openPorts: 1, ports: '22/tcp' } });
    took('ListeningPorts', []);
    assert.deepEqual(facts().exposure, { found: { openPorts: 0, ports: '' } });
    failed('ListeningPorts');
    assert.deepEqual(facts().exposure, { unknown: 'no /proc' });
    assert.deepEqual(facts().accounts, NOT_YET);
    took('ListeningPorts', [PORT]);
    assert.deepEqual(facts().exposure, { found: { openPorts: 1, ports: '22/tcp' } });
  });

  it('has no facts from events that are off', () => {
    for (const event of Object.keys(ASSESSED_EVENTS)) took(event, [{ MessagesSent: 10, MessagesUnder4KB: 0, ...PORT }]);
    for (const [event, fact] of Object.entries(ASSESSED_EVENTS)) {
      assert.ok('found' in facts()[fact], event);
      assert.deepEqual(facts([event])[fact], { unknown: `${event} is off` });
    }
  });

  it('knows that sockets are missing, but not that their processes are', () => {
    took('ListeningPorts', [PORT], { state: 'degraded', reason: 'no processes' });
    assert.deepEqual(facts().exposure, { found: { openPorts: 1, ports: '22/tcp' } });
    took('ListeningPorts', [PORT], { state: 'degraded', reason: '7 sockets are not listed', leftOut: 7 });
    assert.deepEqual(facts().exposure, {
      found: { openPorts: 1, ports: '22/tcp' },
      incomplete: '7 sockets are not listed',
    });
  });

  it('knows of rules that could not all be read only what these deny', async () => {
    const ip =
      '*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -p tcp -j ACCEPT\nCOMMIT';
    const rows = await iptablesRows({ ip });
    took('FirewallConfiguration', rows);
    const found = { inbound: 'deny', forward: 'allow', outbound: 'allow', permissiveRules: 1 };
    assert.deepEqual(facts().firewall, { found });
    took('FirewallConfiguration', rows, { state: 'degraded', reason: 'no nft' });
    assert.deepEqual(facts().firewall, {
      found: { ...found, forward: 'unknown', outbound: 'unknown' },
      incomplete: 'no nft',
    });
  });

  it('knows that accounts are missing', async () => {
    const rows = await userRows({ passwd: ['root:x:0:0::/root:/bin/sh'], shadow: ['root:!:1::::::'] });
    took('LocalUsers', rows, { state: 'degraded', source: 'files' });
    const found = { withoutPassword: 0, uidZero: 1, humans: 0 };
    assert.deepEqual(facts().accounts, { found, incomplete: 'the snapshot was cut' });
  });

  it('knows the last scan, unless it failed', () => {
    took('OSBaseline', []);
    assert.deepEqual(facts().baseline, { found: SCANNED });
    failed('OSBaseline', 'the scan hung');
    assert.deepEqual(facts().baseline, { unknown: 'the scan hung' });
    scanned = undefined;
    took('OSBaseline', []);
    assert.deepEqual(facts().baseline, { unknown: 'the snapshot could not be assessed' });
  });

  it('knows the messages since the last snapshot', () => {
    took('MessageStatistics', [{ MessagesSent: 40, MessagesUnder4KB: 30, TotalFailed: 1 }]);
    assert.deepEqual(facts().messages, { found: { sent: 40, under4KB: 30 } });
  });

  it('forgets what it knew if rows cannot be assessed', () => {
    took('ListeningPorts', [PORT]);
    took('ListeningPorts', [null as unknown as Payload]);
    assert.deepEqual(
      logged.map(({ level, message }) => [level, message.replace(/ \(.*/, '')]),
      [['error', 'Could not assess a snapshot; continuing.']],
    );
    assert.deepEqual(facts().exposure, { unknown: 'the snapshot could not be assessed' });
  });

  it('bounds a reason, and makes it printable', () => {
    failed('ListeningPorts', `\u001b[31m${'x'.repeat(10_000)}`);
    const { exposure } = facts();
    assert.ok('unknown' in exposure);
    assert.match(exposure.unknown, /^·\[31mx+…$/);
    assert.equal(exposure.unknown.length, 300);
  });
});
