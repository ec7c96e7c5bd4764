import '../../src/agent/hub/memory.ts';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { AzureHubClient } from '../../src/agent/hub/azure-client.ts';
import { Publisher } from '../../src/agent/pipeline/publisher.ts';
import { EventQueues } from '../../src/agent/pipeline/queue.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, minutes } from '../../src/core/base/duration.ts';
import type { LogLine } from '../../src/core/base/log.ts';
import type { OutgoingEvent } from '../../src/core/contract/store.ts';
import { HubEmulator } from '../../src/emulator/hub.ts';
import { eventsIn } from '../../src/emulator/message-log.ts';
import { fastClock, moduleAccess, newKey, temporaryDirectory } from '../agent/hub/support.ts';
import { eventOf, liveSettings, quietLog } from '../agent/pipeline/memory-queues.ts';
import { memoryChains } from '../agent/pipeline/message-chains.ts';
import { synchronousFiles } from '../agent/pipeline/synchronous-files.ts';

/** Sends over real TLS to a hub that disconnects at one event. Waits of minutes run on a fast clock. */
describe('An event at which the hub disconnects', function () {
  this.timeout(minutes(2));
  const module = { deviceId: 'dev1', moduleId: 'azureiotsecurity', primaryKey: newKey() };
  const clock = fastClock(100);
  let directory: ReturnType<typeof temporaryDirectory>;
  let hub: HubEmulator;
  let client: AzureHubClient;
  let queues: EventQueues;
  let publisher: Publisher;
  let logged: LogLine[];

  beforeEach(async () => {
    directory = temporaryDirectory();
    hub = await HubEmulator.start({ modules: [module] });
    logged = [];
    const log = quietLog(logged);
    const settings = liveSettings({
      maxMessageSizeInBytes: 200_000,
      highPriorityMessageFrequency: minutes(1),
      lowPriorityMessageFrequency: minutes(1),
    });
    client = new AzureHubClient({
      ...moduleAccess({
        ...{ ...module, hostName: hub.hostName, key: module.primaryKey },
        gatewayHostName: `localhost:${hub.port}`,
        trustedCaFile: directory.write('ca.pem', hub.caPem),
        clock,
      }),
      productInfo: 'vakt/0.1.0',
      clock,
      log,
    });
    queues = new EventQueues({
      files: synchronousFiles,
      directory: join(directory.path, 'queues'),
      settings,
      clock,
      log,
    });
    const sender = { version: '0.1.0', id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };
    publisher = new Publisher({
      chains: memoryChains(),
      queues,
      hub: client,
      settings,
      sender,
      routing: 'security',
      clock,
      log,
    });
    for (const service of [queues, client, publisher]) await service.start();
  });
  afterEach(async () => {
    for (const service of [publisher, client, queues]) await service.stop();
    await hub.stop();
    directory.remove();
  });

  const poison = (): OutgoingEvent => {
    const event = eventOf(300);
    return { ...event, json: event.json.replace('xxxxxx', 'poison') };
  };
  const settled = async () => {
    const limit = systemClock.monotonic() + minutes(1.5);
    while (queues.waiting('Low').events > 0 && systemClock.monotonic() < limit) {
      await systemClock.sleep(milliseconds(200));
      queues.put('High', [eventOf(300)]); // new events are collected
    }
  };

  it('is found and dropped, and all other events arrive once', async () => {
    hub.faults.inject({ kind: 'closeOnText', text: 'poison' });
    const all = Array.from({ length: 40 }, (_, n) => (n === 17 ? poison() : eventOf(300)));
    queues.put('Low', all);
    await settled();
    const { collected, delivered, dropped, queued } = queues.account('Low').totals;
    assert.deepEqual([collected, delivered, dropped, queued], [40, 39, { refused: 1 }, 0]);
    await publisher.stop(); // waits for messages in flight
    const high = queues.account('High').totals;
    const ids = eventsIn(hub.messages).map(({ Id }) => Id);
    assert.equal(new Set(ids).size, ids.length);
    assert.equal(ids.length, 39 + high.delivered);
    const warnings = logged.filter(({ id }) => id === 'EVENT_UNSENDABLE');
    assert.equal(warnings.length, 1);
    assert.ok(warnings[0]?.message.includes((JSON.parse(all[17]?.json ?? '{}') as { Id: string }).Id));
    const failed = publisher.sent().failed;
    process.stdout.write(`      given up after ${failed} failures and ${hub.connections.length} connections\n`);
    assert.ok(failed < 3 + 6 + 1 + 10 + 5, String(failed));
  });

  it('is kept if the hub disconnects at every event', async () => {
    hub.faults.inject({ kind: 'closeOnText', text: 'Events' });
    queues.put('Low', [poison(), eventOf(300), eventOf(300)]);
    queues.put('High', [eventOf(300)]);
    await hub.waitForConnection(() => hub.connections.length > 25, minutes(1));
    for (const queue of ['High', 'Low'] as const) assert.deepEqual(queues.account(queue).totals.dropped, {});
    hub.faults.clear();
    await settled();
    assert.equal(queues.account('Low').totals.delivered, 3);
    assert.deepEqual(queues.account('High').totals.dropped, {});
  });
});
