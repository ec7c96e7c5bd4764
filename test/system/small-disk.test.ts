import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalStatus } from '../../src/agent/status/schema.ts';
import { type Duration, seconds } from '../../src/core/base/duration.ts';
import type { Envelope } from '../../src/core/contract/event.ts';
import { require } from '../harness/require.ts';
import { SmallDisk } from '../harness/small-disk.ts';
import { type AgentProcess, assertClosed, TestBed } from '../integration/test-bed.ts';

const every = (frequency: string) => ({ value: frequency });
const off = { value: 'Off' };

/** Two snapshots per second, and nothing that needs kernel audit, which other tests may use. */
const DESIRED = {
  highPriorityMessageFrequency: every('PT1S'),
  lowPriorityMessageFrequency: every('PT1S'),
  snapshotFrequency: every('PT1S'),
  eventPriorityProcessCreate: off,
  eventPriorityProcessTerminate: off,
  eventPriorityConnectionCreate: off,
  eventPriorityLogin: off,
  eventPriorityConnectedHardware: off,
  eventPriorityFirewallConfiguration: off,
  eventPrioritySystemInformation: off,
};

const SIZE = 2 ** 20;

describe('An agent whose state directory is on a disk of 1 MiB', function () {
  this.timeout(180_000);
  let bed: TestBed;
  let disk: SmallDisk;
  let agent: AgentProcess;

  beforeEach(async function () {
    require(this, process.getuid?.() === 0 ? undefined : 'this is not root, which alone may mount');
    bed = await TestBed.open({ desired: DESIRED });
    bed.writeConfiguration({ store: { syncEvery: 'PT1S' } }); // until a sync, files are open, and a remount is refused
    disk = new SmallDisk(join(bed.directory, 'state'), SIZE);
    writeFileSync(join(disk.folder, 'last-good-configuration.json'), JSON.stringify({ configuration: DESIRED }));
    agent = bed.startAgent();
    await bed.waitForEvents(() => bed.events('LocalUsers').length >= 2);
  });
  afterEach(async () => {
    try {
      await agent?.end();
    } finally {
      disk?.unmount();
      await bed?.close();
    }
  });

  const restart = async (signal: NodeJS.Signals) => {
    agent.kill(signal);
    await agent.exited;
    agent = bed.startAgent();
  };
  const closed = async (predicate: (status: LocalStatus) => boolean, limit: Duration = seconds(60)) => {
    const status = await agent.waitForStatus(predicate, limit);
    assertClosed(status);
    return status;
  };
  const dropped = ({ delivery }: LocalStatus) => Object.values(delivery.dropped).reduce((all, count) => all + count, 0);
  const queued = ({ delivery }: LocalStatus) => delivery.queued.highEvents + delivery.queued.lowEvents;
  /** Waits until the queues hold `count` more events than now. */
  const collectMore = async (count: number) => {
    const before = queued(await agent.status());
    return closed((status) => queued(status) >= before + count);
  };
  /** Numbers of acknowledged and received messages: a message is sent again if the connection broke before its acknowledgement. */
  const agreesWithHub = async () => {
    const received = () => {
      const events = new Map(bed.events().map((event) => [event.Id, event]));
      return [...events.values()].reduce((all, event) => all + countOf(event), 0);
    };
    await closed(({ delivery }) => delivery.delivered === received());
  };
  const noDefects = () => assert.ok(!agent.log.some(({ id }) => id === 'INTERNAL'));

  it('counts the events it drops while the disk is full, and recovers once there is space', async () => {
    await bed.hub.offline();
    await collectMore(4);
    disk.fill();
    const full = await closed((status) => dropped(status) >= 5);
    assert.ok((full.delivery.dropped.unwritable ?? 0) > 0, JSON.stringify(full.delivery.dropped));
    assert.equal(full.store.place, 'disk');

    await bed.hub.online(); // the queued events are sent, although only their own files can be freed
    const before = full.delivery.delivered;
    await closed(({ delivery }) => delivery.delivered > before);

    await disk.free();
    const { dropped: lost } = (await agent.waitForStatus(({ delivery }) => delivery.queued.highEvents === 0)).delivery;
    await agent.waitForLog(({ msg }) => msg === 'Writing the queue works again.', seconds(60));
    const after = await closed((status) => status.delivery.delivered > before + 10 && status.state === 'running');
    assert.deepEqual(after.delivery.dropped.unwritable, lost.unwritable, 'dropped although there was room');

    await restart('SIGTERM');
    const again = await closed(({ delivery }) => delivery.collected > after.delivery.collected);
    assert.deepEqual(again.delivery.dropped, { ...after.delivery.dropped, ...again.delivery.dropped });
    assert.equal(again.delivery.dropped.corrupt, undefined);
    await agreesWithHub();
    noDefects();
  });

  it('continues in memory while the disk is read-only, without losses or duplicates', async () => {
    await bed.hub.offline();
    await collectMore(2);
    await disk.remount('ro');
    const inMemory = await closed(({ store }) => store.place === 'memory');
    assert.match(inMemory.store.reason ?? '', /EROFS/);
    assert.equal(inMemory.state, 'degraded');
    await collectMore(6);
    await bed.hub.online(); // from memory and from the disk
    const { delivered } = (await agent.status()).delivery;
    await closed(({ delivery }) => delivery.delivered > delivered + 8);

    await bed.hub.offline();
    await collectMore(4);
    await disk.remount('rw');
    const back = await closed(({ store }) => store.place === 'disk');
    await restart('SIGKILL');
    const kept = await closed(({ delivery }) => delivery.collected > 0);
    assert.ok(kept.delivery.collected >= back.delivery.collected, 'the kill lost events');
    assert.deepEqual(kept.delivery.dropped, {});
    await bed.hub.online();
    await closed((status) => status.delivery.delivered > back.delivery.collected);
    await agreesWithHub();
    noDefects();
  });

  it('starts on a read-only disk, sends the stored events, and uses the disk again once it is writable', async () => {
    await bed.hub.offline();
    await collectMore(6);
    agent.kill('SIGTERM');
    await agent.exited;
    await disk.remount('ro');
    agent = bed.startAgent();
    const started = await closed(({ store, delivery }) => store.place === 'memory' && delivery.collected > 6);
    await collectMore(4);
    await bed.hub.online();
    await closed(({ delivery }) => delivery.delivered > started.delivery.collected);
    await disk.remount('rw');
    await closed(({ store }) => store.place === 'disk');
    await agreesWithHub();
    assert.deepEqual((await agent.status()).delivery.dropped, {});
    noDefects();
  });
});

/** Number of events that an envelope stands for in the accounts. */
const countOf = ({ Category, Payload }: Envelope): number => (Category === 'Periodic' ? 1 : Payload.length);
