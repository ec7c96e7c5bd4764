import assert from 'node:assert/strict';
import sinon from 'sinon';
import { collectors } from '../../src/agent/collectors/index.ts';
import { sum } from '../../src/core/base/counters.ts';
import { hours, minutes } from '../../src/core/base/duration.ts';
import { type Envelope, QUEUES } from '../../src/core/contract/event.ts';
import { Gateway } from '../agent/pipeline/gateway.ts';
import type { Link, SimulatedAgent } from '../agent/pipeline/simulated-agent.ts';
import { FleetDatabase } from './fleet.ts';
import { readPack } from './kusto.ts';
import { ingest, mappingNamed, type Row } from './mapping.ts';
import { hubRecord, receivedFrom, storageRecord } from './records.ts';

const pack = readPack();

/** What the agent says it has delivered, by event. */
function booksOf({ queues }: SimulatedAgent) {
  return new Map(
    collectors.map(({ name }) => {
      const rows = QUEUES.flatMap((queue) => queues.account(queue).byEvent[name] ?? []);
      return [name, sum(rows)] as const;
    }),
  );
}

const say = (line: string) => process.stdout.write(`      ${line}\n`);

describe('A day of messages, with outages of the hub, in the table of the KQL pack @release', function () {
  this.timeout(minutes(5));
  let time: sinon.SinonFakeTimers;
  let gateway: Gateway;
  let link: Link;

  before(async () => {
    time = sinon.useFakeTimers({
      now: new Date('2026-03-04T05:06:07Z'),
      toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
    });
    let asked = 0;
    gateway = new Gateway({
      desired: {
        maxMessageSizeInBytes: { value: 8_192 },
        highPriorityMessageFrequency: { value: 'PT1M' },
        lowPriorityMessageFrequency: { value: 'PT1M' },
        snapshotFrequency: { value: 'PT1H' },
        aggregationEnabledProcessCreate: { value: false },
        aggregationIntervalConnectionCreate: { value: 'PT5M' },
      },
      link: () => {
        asked += 1;
        return link === 'up' && asked % 50 === 0 ? 'deaf' : link;
      },
    });
    link = 'up';
    await gateway.start();
    const faults = [
      [hours(3), 'deaf', hours(3.2)],
      [hours(8), 'down', hours(9)],
    ] as const;
    const switches = faults.flatMap(([from, state, until]) => [
      setTimeout(() => {
        link = state;
      }, from),
      setTimeout(() => {
        link = 'up';
      }, until),
    ]);
    await gateway.live(time, { processesPerHour: 600, connectionsPerHour: 300, sessionsPerDay: 12 });
    gateway.aggregator.flush();
    await time.tickAsync(hours(1));
    for (const each of switches) clearTimeout(each);
  });
  after(async () => {
    await gateway.stop(time);
    time.restore();
  });

  it('is more than 1,000 messages, some of which came twice and some in halves', () => {
    const { messages } = gateway;
    const ids = new Set(messages.map(({ message }) => message.id));
    const events = gateway.envelopes();
    const distinct = new Set(events.map(({ Id }) => Id)).size;
    say(
      `${messages.length} messages, ${messages.length - ids.size} repeats, ${events.length} events, ${distinct} distinct ones`,
    );
    assert.ok(ids.size > 1_000);
    assert.ok(messages.length > ids.size, 'no message came twice');
    assert.ok(events.length - distinct > messages.length - ids.size, 'no event came in different messages');
  });

  for (const [name, recordOf] of [
    ['VaktFromHub', hubRecord],
    ['VaktFromStorage', storageRecord],
  ] as const) {
    it(`has by ${name} the counts of the agent's books, when it drops repeats by device and id`, () => {
      const mapping = mappingNamed(pack, name);
      const rows = receivedFrom(gateway, 'pump-7').map((message) => ingest(pack, mapping, recordOf(message)));
      const distinct = new Map<string, Envelope>();
      let events = 0;
      for (const { DeviceId, Events } of rows) {
        for (const event of Events as Envelope[]) {
          events += 1;
          distinct.set(`${DeviceId} ${event.Id}`, event);
        }
      }
      assert.ok(events > distinct.size);
      for (const [event, { delivered, dropped }] of booksOf(gateway)) {
        const own = [...distinct.values()].filter(({ Name }) => Name === event);
        const elements = own.reduce(
          (all, { Category, Payload }) => all + (Category === 'Periodic' ? 1 : Payload.length),
          0,
        );
        assert.equal(elements, delivered, event);
        assert.deepEqual(dropped, {}, event);
      }
    });
  }

  describe('asked by the functions of the pack', () => {
    let database: FleetDatabase;
    const total = (rows: readonly Row[], column: string) => rows.reduce((all, row) => all + Number(row[column]), 0);

    before(() => {
      const mapping = mappingNamed(pack, 'VaktFromStorage');
      const rows = receivedFrom(gateway, 'pump-7').map((message) => ingest(pack, mapping, storageRecord(message)));
      database = new FleetDatabase(pack, rows, new Date());
    });

    it('VaktEvents has every event once', () => {
      const events = database.ask('VaktEvents(2d)');
      const distinct = new Set(gateway.envelopes().map(({ Id }) => Id));
      assert.equal(events.length, distinct.size);
      assert.deepEqual(new Set(events.map(({ EventId }) => EventId)), distinct);
    });

    it('VaktProcesses and VaktConnections have every occurrence that was collected', () => {
      const books = booksOf(gateway);
      const processes = total(database.ask('VaktProcesses(2d)'), 'Starts');
      const connections = total(database.ask('VaktConnections(2d)'), 'Connections');
      say(`${processes} starts, ${connections} connections`);
      assert.equal(processes, books.get('ProcessCreate')?.collected);
      assert.equal(connections, books.get('ConnectionCreate')?.collected);
      assert.ok((books.get('ConnectionCreate')?.aggregatedAway ?? 0) > 0);
    });

    it('VaktLogins has every login and logout', () => {
      const logins = database.ask('VaktLogins(2d)');
      assert.equal(logins.length, 24);
      assert.deepEqual(new Set(logins.map(({ Operation }) => Operation)), new Set(['Login', 'Logout']));
    });

    it('VaktDevices has the device, as its last snapshots say', () => {
      const [device, ...others] = database.ask('VaktDevices(2d)');
      assert.equal(others.length, 0);
      assert.equal(device?.DeviceId, 'pump-7');
      assert.equal(device?.HostName, 'pump-7');
      assert.deepEqual([device?.RulesFailed, device?.RulesNotJudged, device?.EventsDropped], [1, 1, 0]);
      assert.deepEqual([device?.Alerts, device?.SevereAlerts], [null, null]);
    });

    it('no message is missing in its chain', () => {
      assert.deepEqual(database.ask(pack.queries.get('broken-chains.kql') ?? ''), []);
    });
  });
});
