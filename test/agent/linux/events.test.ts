import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sinon from 'sinon';
import { LinuxEvents } from '../../../src/agent/linux/events.ts';
import type { SourceDeclaration, SourceHost } from '../../../src/agent/linux/streams/event-source.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes } from '../../../src/core/base/duration.ts';
import type { StreamName, StreamSink } from '../../../src/core/contract/streams.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { quietLog } from '../pipeline/memory-queues.ts';

describe('LinuxEvents, with sources that need no feed', () => {
  let time: sinon.SinonFakeTimers;
  let folder: string;
  let wanted: Set<StreamName>;
  let calls: string[];
  let reported: unknown[];
  let hosts: SourceHost[];
  let events: LinuxEvents;
  let changed: sinon.SinonSpy;

  const sink = {
    accept: (stream, records) => reported.push([stream, ...records]),
    drop: (...loss) => reported.push(loss),
  } as StreamSink;

  /** Says what it is asked to do. */
  const declare = (...streams: StreamName[]): SourceDeclaration => ({
    streams,
    feeds: [],
    auditRules: [],
    make(host) {
      hosts.push(host);
      const name = streams.join('+');
      return {
        prepare: (isWanted) => void calls.push(`${name} prepare ${isWanted}`),
        follow: async (isWanted, feed) => void calls.push(`${name} follow ${isWanted} ${feed}`),
        status: () => ({ state: 'degraded', source: name }),
        close: async () => void calls.push(`${name} close`),
      };
    },
  });

  const create = () =>
    new LinuxEvents(
      {
        streams: () => wanted,
        sink,
        clock: systemClock,
        log: quietLog(),
        hostRoot: '/',
        loopback: true,
        stateDirectory: folder,
        changed,
      },
      [declare('exits'), declare('starts', 'connections')],
    );

  /** More calls are allowed, since the state of the feeds may change as well. */
  const once = (all: readonly string[]) => [...new Set(all)];

  beforeEach(() => {
    time = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
    folder = temporaryFolder();
    wanted = new Set();
    calls = [];
    reported = [];
    hosts = [];
    changed = sinon.spy();
    events = create();
  });
  afterEach(async () => {
    const stopped = events.stop();
    await time.tickAsync(minutes(1));
    await stopped;
    time.restore();
  });

  it('prepares each source, then follows the requested streams', async () => {
    wanted.add('connections');
    await events.start();
    assert.deepEqual(once(calls), [
      'exits prepare false',
      'starts+connections prepare true',
      'exits follow false undefined',
      'starts+connections follow true undefined',
    ]);
    assert.ok(changed.called);
  });

  it('follows a change of the requested streams, and retries every minute', async () => {
    await events.start();
    calls.length = 0;
    wanted.add('exits');
    await events.refresh();
    assert.deepEqual(once(calls), [
      'exits prepare true',
      'starts+connections prepare false',
      'exits follow true undefined',
      'starts+connections follow false undefined',
    ]);
    calls.length = 0;
    await time.tickAsync(minutes(1));
    assert.deepEqual(calls, ['exits follow true undefined', 'starts+connections follow false undefined']);
  });

  it('closes each source once, in order, and then follows no changes', async () => {
    wanted.add('exits');
    await events.start();
    calls.length = 0;
    const stopped = events.stop();
    await time.tickAsync(minutes(1));
    await stopped;
    await events.refresh();
    assert.deepEqual(calls, ['exits close', 'starts+connections close']);
  });

  it("reports the status of each stream's source, and others as on", () => {
    assert.deepEqual(events.status('exits'), { state: 'degraded', source: 'exits' });
    assert.deepEqual(events.status('connections'), { state: 'degraded', source: 'starts+connections' });
    assert.deepEqual(events.status('starts'), { state: 'degraded', source: 'starts+connections' });
    assert.deepEqual(events.status('log'), { state: 'on' });
  });

  it('counts the records that a source held when the agent was killed', async () => {
    writeFileSync(join(folder, 'held-connections.json'), JSON.stringify({ held: 3 }));
    writeFileSync(join(folder, 'held-processes.json'), JSON.stringify({ held: 2 }));
    hosts[1]?.held('connections', 10);
    await events.start();
    assert.deepEqual(reported, [
      ['starts', 'killed', 2],
      ['connections', 'killed', 3],
    ]);
  });
});
