import assert from 'node:assert/strict';
import * as v from 'valibot';
import { listeningPorts } from '../../../src/agent/collectors/listening-ports.ts';
import { Occurrences } from '../../../src/agent/collectors/occurrences.ts';
import type { LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import { Triggers } from '../../../src/agent/pipeline/triggers.ts';
import type { LogLine as Line, LogLine } from '../../../src/core/base/log.ts';
import {
  type Collector,
  type LeavesOut,
  MalformedRecordError,
  triggered,
} from '../../../src/core/contract/collector.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import type { ProcessStarted } from '../../../src/core/contract/streams.ts';
import { DECLARED } from '../../harness/declared.ts';
import { look } from '../collectors/samples.ts';
import { aggregating, liveSettings, MemoryQueues, quietLog } from './memory-queues.ts';

const TIME = new Date('2024-05-01T12:00:00.123Z');
const schema = v.object({ Text: v.string() });
const declared = { ...DECLARED, payload: schema };

/** Reports the command line. `broken` is malformed, `defect` triggers an internal error, and `other` is ignored. */
const commands = triggered({
  ...declared,
  name: 'Commands',
  aggregate: { by: ['Text'], blank: {} },
  stream: 'starts',
  translate: ({ commandLine: text }, look) => {
    if (text === 'broken') throw new MalformedRecordError('pid is missing');
    if (text === 'defect') throw new TypeError('x is undefined');
    return text === 'other' ? undefined : { Text: `${look.userName(0)} ${text}` };
  },
});
const calls = triggered({
  ...declared,
  name: 'Calls',
  stream: 'starts',
  translate: ({ executable }) => (executable === 'connect' ? { Text: 'connect' } : undefined),
});
const lines = triggered({
  ...declared,
  name: 'Lines',
  stream: 'log',
  translate: ({ message }: Line) => ({ Text: message }),
});

const start = (text: string, executable = 'sh'): ProcessStarted => ({
  time: TIME,
  serial: 1,
  pid: 7,
  parentPid: 1,
  userId: 0,
  executable,
  commandLine: text,
});

describe('Triggers', () => {
  let queues: MemoryQueues;
  let settings: LiveSettings;
  let added: unknown[][];
  let refused: string | undefined;
  let leavesOut: LeavesOut;
  let logged: LogLine[];
  let lookedUp: string[];
  let triggers: Triggers;

  beforeEach(() => {
    queues = new MemoryQueues();
    settings = liveSettings({ priorities: { Commands: 'Low', Calls: 'High', Lines: 'Low' } });
    added = [];
    refused = undefined;
    leavesOut = () => undefined;
    logged = [];
    lookedUp = [];
  });

  /** What the pipeline is offered; `triggers` is its only consumer. */
  const create = (
    collectors: readonly Collector[] = [commands, calls, lines, listeningPorts],
    origin = 'agent boot',
  ) => {
    triggers = new Triggers({
      collectors,
      settings,
      aggregator: {
        add: (collector, queue, payload, time) => {
          assert.notEqual(payload.Text, refused);
          added.push([collector.name, queue, payload, time]);
        },
      },
      queues,
      origin,
      leavesOut: (...what) => leavesOut(...what),
      log: quietLog(logged),
    });
    const userName = () => {
      lookedUp.push('user');
      return 'root';
    };
    const occurrences = new Occurrences({ collectors, lookups: { ...look, userName } });
    occurrences.offerTo(triggers);
    return occurrences;
  };
  const change = (priorities: Record<string, 'Off' | 'Low' | 'High'>, aggregated = false) =>
    settings.replace({
      ...settings.current(),
      priorities: { ...settings.current().priorities, ...priorities },
      ...aggregating(['Commands'], settings.current().snapshotFrequency, aggregated),
    });
  const texts = (queue: 'High' | 'Low') => queues.envelopes(queue).map(({ Payload: [payload] }) => payload.Text);

  it('shows each record to every collector of its stream, and queues by priority', () => {
    const occurrences = create();
    occurrences.accept('starts', [start('ls'), start('curl', 'connect'), start('other')]);
    assert.deepEqual(texts('Low'), ['root ls', 'root curl']);
    assert.deepEqual(texts('High'), ['connect']);
    occurrences.accept('log', [{ time: TIME, level: 'warn', message: 'Mind this.' }]);
    assert.deepEqual(texts('Low'), ['root ls', 'root curl', 'Mind this.']);
    assert.deepEqual(queues.dropped, []);
  });

  it("gives each occurrence an event and the record's own time", () => {
    create().accept('starts', [start('ls'), start('ls')]);
    assert.deepEqual(
      queues.envelopes('Low').map(({ TimestampUTC, Payload: payload }) => [TimestampUTC, payload.length]),
      [
        ['2024-05-01T12:00:00.123Z', 1],
        ['2024-05-01T12:00:00.123Z', 1],
      ],
    );
  });

  it('counts what is left out during a pause as such, by what it would have been, aggregated or not', () => {
    leavesOut = ({ type }) => (type === 'Security' ? 'paused' : undefined);
    for (const aggregated of [false, true]) {
      change({}, aggregated);
      queues = new MemoryQueues();
      create().accept('starts', [start('ls'), start('curl', 'connect'), start('other'), start('broken')]);
      assert.deepEqual(queues.dropped, [
        ['Low', 'Commands', 'paused', 2],
        ['Low', 'Commands', 'malformed', 1],
        ['High', 'Calls', 'paused', 1],
      ]);
      assert.deepEqual([texts('Low'), texts('High'), added, lookedUp], [[], [], [], []]);
    }
  });

  describe('ids of repeated events', () => {
    const idsOf = (records: readonly ProcessStarted[], origin?: string) => {
      queues = new MemoryQueues();
      create(undefined, origin).accept('starts', records);
      return queues.envelopes('Low').map(({ Id }) => Id);
    };
    let first: string;
    beforeEach(() => {
      [first = ''] = idsOf([start('ls')]);
      queues = new MemoryQueues();
    });

    it('an event read again keeps its id even if its lookups changed', () =>
      assert.deepEqual(idsOf([start('ls --anew')]), [first]));
    for (const [what, record] of Object.entries({
      serial: { ...start('ls'), serial: 2 },
      time: { ...start('ls'), time: new Date(TIME.getTime() + 1) },
    })) {
      it(`an event with another ${what} gets another id`, () => assert.notDeepEqual(idsOf([record]), [first]));
    }
    it('an event of another boot gets another id', () =>
      assert.notDeepEqual(idsOf([start('ls')], 'agent another'), [first]));
    it('another event of the same record gets another id', () => {
      create().accept('starts', [start('curl', 'connect')]);
      assert.notEqual(queues.envelopes('Low')[0]?.Id, queues.envelopes('High')[0]?.Id);
    });
    it('an event keeps its id only if the source has serials', () => {
      const line = { time: TIME, level: 'warn', message: 'Mind this.' } as const;
      create().accept('log', [line, line]);
      const [one, other] = queues.envelopes('Low').map(({ Id }) => Id);
      assert.notEqual(one, other);
    });
  });

  it('announces even what is off, or left out, as High', () => {
    settings = liveSettings({ priorities: { Lines: 'Off' } });
    leavesOut = () => 'memory';
    const line = { time: TIME, level: 'info', message: 'Configuration changed' } as const;
    for (const batch of create().translate('log', [line])) triggers.announce(batch);
    assert.deepEqual(
      queues.envelopes('High').map(({ Name, TimestampUTC, Payload }) => [Name, TimestampUTC, Payload]),
      [['Lines', TIME.toISOString(), [{ Text: 'Configuration changed' }]]],
    );
    assert.deepEqual(queues.dropped, []);
  });

  it('leaves those alone that are off, from the moment they are', () => {
    const occurrences = create();
    occurrences.accept('starts', [start('ls')]);
    change({ Commands: 'Off' });
    occurrences.accept('starts', [start('ps'), start('broken'), start('x', 'connect')]);
    assert.deepEqual([texts('Low'), texts('High'), queues.dropped], [['root ls'], ['connect'], []]);
    change({ Commands: 'High' });
    occurrences.accept('starts', [start('top')]);
    assert.deepEqual(texts('High'), ['connect', 'root top']);
  });

  it('has what can be aggregated counted, while that is enabled', () => {
    const occurrences = create();
    change({}, true);
    occurrences.accept('starts', [start('ls', 'connect')]);
    assert.deepEqual(added, [['Commands', 'Low', { Text: 'root ls' }, TIME]]);
    assert.deepEqual([texts('Low'), texts('High')], [[], ['connect']]);
    change({}, false);
    occurrences.accept('starts', [start('ls')]);
    assert.deepEqual([added.length, texts('Low')], [1, ['root ls']]);
  });

  it('counts a broken record, and lets its neighbours live', () => {
    create().accept('starts', [start('ls'), start('broken', 'connect'), start('ps')]);
    assert.deepEqual(texts('Low'), ['root ls', 'root ps']);
    assert.deepEqual(texts('High'), ['connect']);
    assert.deepEqual(queues.dropped, [['Low', 'Commands', 'malformed', 1]]);
    assert.deepEqual(
      logged.map(({ level }) => level),
      ['debug'],
    );
  });

  it('does the same after an internal error, and logs it', () => {
    create().accept('starts', [start('defect'), start('ps')]);
    assert.deepEqual(texts('Low'), ['root ps']);
    assert.deepEqual(queues.dropped, [['Low', 'Commands', 'malformed', 1]]);
    assert.deepEqual(
      logged.map(({ level }) => level),
      ['error'],
    );
  });

  it('logs the first of each kind and event, and counts them all', () => {
    const occurrences = create();
    const many = Array.from({ length: 100 }, () => [start('broken'), start('defect')]).flat();
    occurrences.accept('starts', many);
    occurrences.accept('starts', many);
    assert.equal(queues.dropped.length, 400);
    assert.deepEqual(
      logged.map(({ level }) => level),
      ['debug', 'error'],
    );
  });

  it('loses only the record that has no valid time', () => {
    create().accept('starts', [start('ls'), { ...start('ps'), time: new Date(Number.NaN) }, start('top')]);
    assert.deepEqual(texts('Low'), ['root ls', 'root top']);
    assert.deepEqual(queues.dropped, [['Low', 'Commands', 'malformed', 1]]);
  });

  it('loses only the record that cannot be counted', () => {
    change({}, true);
    refused = 'root ps';
    create().accept('starts', [start('ls'), start('ps'), start('top', 'connect')]);
    assert.deepEqual(
      added.map(([, , payload]) => payload),
      [{ Text: 'root ls' }, { Text: 'root top' }],
    );
    assert.deepEqual(texts('High'), ['connect']);
    assert.deepEqual(queues.dropped, [['Low', 'Commands', 'malformed', 1]]);
  });

  it('shows followers every payload, whatever becomes of it, until they leave', () => {
    const occurrences = create();
    const seen: [string, Payload][] = [];
    const leave = triggers.follow((name, payload) => seen.push([name, payload]));
    occurrences.accept('starts', [start('ls')]);
    change({}, true);
    occurrences.accept('starts', [start('ls'), start('broken'), start('other')]);
    leave();
    occurrences.accept('starts', [start('ls')]);
    assert.deepEqual(seen, [
      ['Commands', { Text: 'root ls' }],
      ['Commands', { Text: 'root ls' }],
    ]);
  });

  it('wants the streams of those that are on', () => {
    const occurrences = create();
    assert.deepEqual([...occurrences.streams()].sort(), ['log', 'starts']);
    change({ Calls: 'Off' });
    assert.deepEqual([...occurrences.streams()].sort(), ['log', 'starts']);
    change({ Commands: 'Off' });
    assert.deepEqual([...occurrences.streams()], ['log']);
    change({ Lines: 'Off' });
    assert.deepEqual([...occurrences.streams()], []);
  });

  it('counts kernel losses in the queue of the most urgent possible event', () => {
    const occurrences = create();
    occurrences.drop(['starts', 'exits'], 'kernel', 5);
    change({ Calls: 'Off', Lines: 'High' });
    occurrences.drop(['starts', 'exits'], 'kernel', 3);
    assert.deepEqual(queues.dropped, [
      ['High', 'Unidentified', 'kernel', 5],
      ['Low', 'Unidentified', 'kernel', 3],
    ]);
  });

  it('counts what a stream lost for its one event, when that is on', () => {
    const occurrences = create();
    occurrences.drop('starts', 'unresolved', 1); // of Commands or Calls
    change({ Calls: 'Off' });
    occurrences.drop('starts', 'malformed', 2);
    occurrences.drop(['starts'], 'killed', 3);
    change({ Commands: 'Off' });
    occurrences.drop('starts', 'kernel', 4); // read for other consumers: no event of it is wanted
    assert.deepEqual(queues.dropped, [
      ['High', 'Unidentified', 'unresolved', 1],
      ['Low', 'Commands', 'malformed', 2],
      ['Low', 'Commands', 'killed', 3],
    ]);
  });
});
