import assert from 'node:assert/strict';
import { renameSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { type Duration, seconds } from '../../src/core/base/duration.ts';
import type { ConnectionRecord } from '../../src/emulator/connection-log.ts';
import { until } from '../harness/until.ts';
import { type AgentProcess, assertClosed, DEVICE, MODULE, STEADY, TestBed } from './test-bed.ts';

/* A module's keys, replaced in their files and at the hub while the agent is running. */

const ID = { deviceId: DEVICE, moduleId: MODULE };

describe('An agent with keys in files', function () {
  this.timeout(seconds(180));
  let bed: TestBed;

  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    bed.startWith(STEADY);
  });
  afterEach(() => bed.close());

  const keys = () => {
    const credential = bed.hub.getModule(DEVICE, MODULE)?.credential;
    assert.ok(credential?.type === 'sas');
    return credential;
  };
  const configureBoth = (primary: string, secondary: string) => {
    bed.write('module.key', primary);
    bed.write('secondary.key', secondary);
    bed.writeConfiguration({
      identity: { kind: 'moduleKey', ...ID, keyFile: 'module.key', secondaryKeyFile: 'secondary.key' },
    });
  };
  /** Replaces a file by renaming, so that a reader never sees an incomplete file. */
  const replace = (text: string, name = 'module.key') => {
    bed.write(`${name}.new`, text);
    renameSync(join(bed.directory, `${name}.new`), join(bed.directory, name));
    bed.lookNow();
  };
  const wrongKey = () => Buffer.alloc(32, 'wrong').toString('base64');
  const connected = (agent: AgentProcess, limit?: Duration) =>
    agent.waitForStatus(({ hub, credential }) => hub.state === 'connected' && credential.error === undefined, limit);
  const hasSent = (agent: AgentProcess) => agent.waitForStatus(({ delivery }) => delivery.messagesSent > 0);
  const sendsOn = (limit?: Duration) => {
    const before = bed.hub.messages.length;
    return bed.hub.waitForMessage(({ sequence }) => sequence > before + 1, limit);
  };
  const attempts = (from = 0) => bed.hub.connections.slice(from);
  const refusals = (from = 0) => attempts(from).filter(({ returnCode }: ConnectionRecord) => returnCode !== 0).length;

  /** Checks that no event was lost, and that each collected event arrived once or is still queued. */
  const assertNothingLost = async (agent: AgentProcess) => {
    const status = await agent.status();
    assertClosed(status);
    assert.deepEqual(status.delivery.dropped, {});
    const received = new Set(bed.events().map(({ Id }) => Id)).size;
    assert.ok(received >= status.delivery.delivered, `${received} events came of ${status.delivery.delivered}`);
  };

  it('connects with a new key in the file, without a gap, while the hub still accepts both', async () => {
    const agent = bed.startAgent();
    await hasSent(agent);
    replace(keys().secondaryKey);
    await until('a second connection', () => attempts().length === 2);
    await connected(agent);
    await sendsOn();
    assert.equal(refusals(), 0);
    await assertNothingLost(agent);
    assert.deepEqual(
      agent.log.filter(({ level }) => level === 'error'),
      [],
    );
  });

  it('does not reconnect when the file is touched or rewritten with the same key', async () => {
    const agent = bed.startAgent();
    await hasSent(agent);
    const file = join(bed.directory, 'module.key');
    utimesSync(file, new Date(), new Date());
    bed.lookNow();
    await agent.status();
    replace(`${bed.key}\n`);
    await agent.status();
    replace(keys().secondaryKey); // the only reason for another connection
    await until('a second connection', () => attempts().length > 1);
    await connected(agent);
    assert.equal(attempts().length, 2);
  });

  it('is refused at most three times if the hub has other keys, and connects with the new key from the file', async () => {
    const agent = bed.startAgent();
    await hasSent(agent);
    const { primaryKey } = bed.hub.regenerateKeys(ID, 'both');
    await until('three refusals', () => refusals() === 3);
    const status = await agent.waitForStatus(({ hub }) => hub.state === 'refused');
    assert.deepEqual([status.state, status.credential.error?.id], ['degraded', 'CREDENTIAL_REFUSED']);
    bed.lookNow();
    const { delivery } = await agent.status();
    assert.ok(delivery.queued.highEvents + delivery.queued.lowEvents > 0, 'nothing was collected');
    replace(primaryKey);
    await connected(agent);
    await sendsOn();
    assert.equal(refusals(), 3);
    await assertNothingLost(agent);
    assert.equal(agent.log.filter(({ id }) => id === 'CREDENTIAL_REFUSED').length, 1);
  });

  it('connects after the key is regenerated and the file contains it some seconds later', async () => {
    const agent = bed.startAgent();
    await hasSent(agent);
    const { primaryKey } = bed.hub.regenerateKeys(ID, 'primary');
    await until('a refusal', () => refusals() > 0);
    replace(primaryKey);
    await connected(agent);
    await sendsOn();
    await assertNothingLost(agent);
  });

  for (const [content, write, id] of [
    ['no key', () => bed.write('module.key', 'half a k'), 'SECRET_FILE_MALFORMED'],
    ['a key that everybody may read', () => bed.write('module.key', bed.key, 0o644), 'SECRET_FILE_EXPOSED'],
    ['been removed', () => rmSync(join(bed.directory, 'module.key')), 'SECRET_FILE_MISSING'],
    ["another module's key", () => replace(wrongKey()), 'CREDENTIAL_REFUSED'],
  ] as const) {
    it(`keeps its connection while the file has ${content}, and shows the error until it is corrected`, async () => {
      const agent = bed.startAgent();
      await hasSent(agent);
      write();
      bed.lookNow();
      const broken = await agent.waitForStatus(({ credential }) => credential.error?.id === id);
      assert.deepEqual([broken.hub.state, broken.state], ['connected', 'degraded']);
      await sendsOn();
      assert.ok(attempts()[0]?.closedAt === undefined, 'the connection was closed');
      replace(bed.key);
      await connected(agent);
      await agent.waitForStatus(({ state }) => state === 'running'); // no secret is exposed any more
      assert.ok(refusals() <= 1);
      await sendsOn();
      await assertNothingLost(agent);
    });
  }

  it('tries the secondary key immediately, keeps it, and returns to a new primary key', async () => {
    configureBoth(bed.key, keys().secondaryKey);
    const agent = bed.startAgent();
    const first = await connected(agent);
    assert.equal(first.credential.source, 'primary');
    await hasSent(agent);
    const { primaryKey } = bed.hub.regenerateKeys(ID, 'primary');
    const second = await agent.waitForStatus(
      ({ hub, credential }) => hub.state === 'connected' && credential.source === 'secondary',
    );
    assert.equal(second.credential.error, undefined);
    const [, refused, accepted] = attempts();
    assert.ok(refused !== undefined && accepted !== undefined);
    assert.deepEqual([refused.admitted, accepted.admitted], [false, true]);
    // The tests of HubSupervisor check that it is immediate; a loaded machine may take longer.
    assert.ok(accepted.connectedAt.getTime() - refused.connectedAt.getTime() < seconds(15), 'too late');
    bed.hub.disconnect(DEVICE, MODULE);
    await until('another connection', () => attempts().length === 4);
    assert.equal(refusals(), 1, 'the refused key was used again');
    replace(primaryKey);
    await agent.waitForStatus(({ hub, credential }) => hub.state === 'connected' && credential.source === 'primary');
    await sendsOn();
    await assertNothingLost(agent);
  });

  it('is refused at most three times with two wrong keys', async () => {
    configureBoth(bed.key, keys().secondaryKey);
    bed.hub.regenerateKeys(ID, 'both');
    const agent = bed.startAgent();
    await until('three refusals', () => refusals() === 3);
    await agent.waitForStatus(({ hub }) => hub.state === 'refused');
    bed.lookNow();
    replace(keys().primaryKey);
    await connected(agent);
    assert.equal(refusals(), 3);
  });

  it('starts with its keys, and retries slowly while the hub refuses both until the device is enabled', async () => {
    bed.hub.setStatus('disabled', DEVICE);
    const agent = bed.startAgent();
    await until('three refusals', () => refusals() === 3);
    await agent.waitForStatus(({ delivery }) => delivery.queued.highEvents + delivery.queued.lowEvents > 0);
    bed.hub.setStatus('enabled', DEVICE);
    replace(keys().secondaryKey); // an operator's way to trigger an immediate attempt
    await connected(agent);
    await sendsOn();
    await assertNothingLost(agent);
  });
});
