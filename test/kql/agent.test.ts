import assert from 'node:assert/strict';
import { minutes } from '../../src/core/base/duration.ts';
import type { Envelope } from '../../src/core/contract/event.ts';
import { DEVICE, MODULE, STEADY, TestBed } from '../integration/test-bed.ts';
import { FleetDatabase } from './fleet.ts';
import { readPack } from './kusto.ts';
import { ingest, mappingNamed } from './mapping.ts';
import { hubRecord } from './records.ts';

describe('Messages of the agent as a program, in the table of the KQL pack @release', function () {
  this.timeout(minutes(5));
  let bed: TestBed;

  beforeEach(async () => {
    bed = await TestBed.open({ desired: STEADY });
    bed.startWith(STEADY);
  });
  afterEach(() => bed.close());

  it('return the agent’s counts even if an acknowledgement was lost and the agent was killed', async () => {
    const { hub } = bed;
    let agent = bed.startAgent();
    await bed.waitForEvents(() => hub.messages.length >= 3, minutes(2));
    hub.faults.inject({ kind: 'dropAcknowledgements', count: 1 });
    await hub.waitForMessage(({ duplicate }) => duplicate, minutes(3));
    agent.kill('SIGKILL');
    await agent.exited;
    agent = bed.startAgent();
    const before = hub.messages.length;
    await bed.waitForEvents(() => hub.messages.length >= before + 2, minutes(2));
    bed.desire({ snapshotFrequency: { value: 'P1D' } });
    const { $version: version } = hub.twin(DEVICE, MODULE).desired;
    const status = await agent.waitForStatus(
      ({ configuration: { desiredVersion }, delivery: { queued, collected, delivered } }) =>
        desiredVersion === version && queued.highEvents + queued.lowEvents === 0 && collected === delivered,
      minutes(2),
    );
    const pack = readPack();
    const mapping = mappingNamed(pack, 'VaktFromHub');
    const rows = hub.messages.map((message) => ingest(pack, mapping, hubRecord(message)));
    const events = new FleetDatabase(pack, rows, new Date()).ask('VaktEvents(1d)');
    const came = rows.flatMap(({ Events }) => Events as Envelope[]).length;
    assert.ok(came > events.length, 'no event came twice');
    for (const [name, { delivered }] of Object.entries(status.events)) {
      const own = events.filter((event) => event.Name === name);
      const elements = own.reduce(
        (all, { Category, Payload }) => all + (Category === 'Periodic' ? 1 : (Payload as unknown[]).length),
        0,
      );
      assert.equal(elements, delivered, name);
    }
  });
});
