import assert from 'node:assert/strict';
import sinon from 'sinon';
import { PostureUpdates } from '../../../src/agent/posture/posture-updates.ts';
import { SnapshotPosture } from '../../../src/agent/posture/snapshot-posture.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, minutes } from '../../../src/core/base/duration.ts';
import type { Snapshot } from '../../../src/core/contract/consumers.ts';
import { quietLog } from '../pipeline/memory-queues.ts';

const snapshot = (event: string, rows: Snapshot['rows']): Snapshot => ({ event, at: new Date(), rows, leftOut: 0 });
const ports = (...all: readonly number[]) =>
  snapshot(
    'ListeningPorts',
    all.map((port) => ({ Protocol: 'tcp', LocalAddress: '0.0.0.0', LocalPort: String(port) })),
  );
const accounts = (...ids: readonly string[]) =>
  snapshot(
    'LocalUsers',
    ids.map((UserId) => ({ UserId })),
  );
const ALLOW_ALL = {
  Enabled: true,
  Action: 'Allow',
  Direction: 'In',
  Priority: 0,
  ExtraDetails: { Family: 'ip', Table: 'filter', Chain: 'INPUT', Hook: 'input', Target: 'accept' },
};

describe('PostureUpdates', () => {
  let time: sinon.SinonFakeTimers;
  let isCollected: boolean;
  let updates: PostureUpdates;
  let posture: SnapshotPosture;
  let changes: number;

  beforeEach(async () => {
    time = sinon.useFakeTimers({ now: new Date('2026-05-01T12:00:00Z') });
    isCollected = true;
    changes = 0;
    const log = quietLog();
    posture = new SnapshotPosture({
      baseline: () => undefined,
      hasIpv6: () => false,
      isCollected: () => isCollected,
      log,
    });
    const changed = () => {
      changes += 1;
    };
    updates = new PostureUpdates({ posture, clock: systemClock, log, changed });
    await updates.start();
  });
  afterEach(async () => {
    await updates.stop();
    time.restore();
  });
  const facts = () => posture.facts(() => true);
  const shown = () => ('found' in facts().exposure ? facts().exposure : assert.fail());
  const see = (taken: Snapshot) => updates.betweenRounds.accept(taken);
  const open = (...all: readonly number[]) => ({
    found: { openPorts: all.length, ports: all.map((port) => `${port}/tcp`).join(', ') },
  });

  it('applies a change of ports, accounts or the firewall immediately', () => {
    updates.accept(accounts('0'));
    see(accounts('0', '0'));
    assert.deepEqual(facts().accounts, { found: { uidZero: 2, humans: 0 } });
    see(ports(22));
    assert.deepEqual(shown(), open(22));
    see(snapshot('FirewallConfiguration', [ALLOW_ALL]));
    assert.ok('found' in facts().firewall);
    assert.equal(changes, 3);
  });

  it('applies the last of many changes, with at most three in a row and then one per half an hour', async () => {
    see(accounts('0'));
    const before = changes;
    for (let at = 0; at < hours(24); at += minutes(1)) {
      see(ports(1_000 + at / minutes(1)));
      await time.tickAsync(minutes(1));
    }
    assert.ok(changes - before <= 3 + 48 && changes - before >= 48, String(changes - before));
    see(ports(443));
    see(ports(444));
    await time.tickAsync(minutes(30));
    assert.deepEqual(shown(), open(444));
    const settled = changes;
    await time.tickAsync(hours(3));
    assert.equal(changes, settled);
  });

  it('limits each event on its own', () => {
    for (let port = 1; port < 10; port += 1) see(ports(port));
    assert.deepEqual(shown(), open(3));
    see(accounts('0', '0'));
    assert.deepEqual(facts().accounts, { found: { uidZero: 2, humans: 0 } });
  });

  it('ignores listings that say the same, even while a change waits', async () => {
    for (let listing = 0; listing < 9; listing += 1) see(ports(22));
    assert.equal(changes, 1);
    for (const port of [1, 2, 3, 2]) see(ports(port));
    assert.deepEqual(shown(), open(2));
    await time.tickAsync(hours(1));
    assert.deepEqual(shown(), open(2));
    assert.equal(changes, 3);
  });

  it('applies snapshots of rounds immediately, and drops the older change that waits', async () => {
    for (const port of [1, 2, 3, 4]) see(ports(port));
    updates.accept(ports(5));
    assert.deepEqual(shown(), open(5));
    see(ports(6));
    updates.failed('ListeningPorts', 'no /proc');
    await time.tickAsync(hours(1));
    assert.deepEqual(facts().exposure, { unknown: 'no /proc' });
    assert.equal(changes, 3);
  });

  it('shows why a listing failed', () => {
    see(accounts('0', '0'));
    updates.betweenRounds.failed('LocalUsers', 'EACCES');
    updates.betweenRounds.failed('SystemInformation', 'EACCES');
    assert.deepEqual(facts().accounts, { unknown: 'EACCES' });
  });

  it('requests the events that the posture assesses', () => {
    assert.deepEqual(
      ['LocalUsers', 'SystemInformation'].filter((event) => updates.betweenRounds.wants(event)),
      ['LocalUsers'],
    );
    isCollected = false;
    assert.equal(updates.betweenRounds.wants('LocalUsers'), false);
    see(snapshot('SystemInformation', []));
    assert.equal(changes, 0);
  });
});
