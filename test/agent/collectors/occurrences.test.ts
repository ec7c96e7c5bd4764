import assert from 'node:assert/strict';
import * as v from 'valibot';
import { Occurrences } from '../../../src/agent/collectors/occurrences.ts';
import { Triggers } from '../../../src/agent/pipeline/triggers.ts';
import { MalformedRecordError, triggered } from '../../../src/core/contract/collector.ts';
import type { Occurrence, OccurrenceBatch, OccurrenceConsumer } from '../../../src/core/contract/consumers.ts';
import type { Lookups } from '../../../src/core/contract/lookups.ts';
import type { LoginSeen, ProcessStarted } from '../../../src/core/contract/streams.ts';
import { DECLARED } from '../../harness/declared.ts';
import { liveSettings, MemoryQueues, quietLog } from '../pipeline/memory-queues.ts';
import { look, records } from './samples.ts';

const declared = { ...DECLARED, payload: v.object({ Text: v.string() }) };

/** How often each event was translated. */
let translated: Record<string, number>;
const count = (event: string) => {
  translated[event] = (translated[event] ?? 0) + 1;
};

const commands = triggered({
  ...declared,
  name: 'Commands',
  stream: 'starts',
  translate: ({ commandLine, userId }, lookups) => {
    count('Commands');
    if (commandLine === 'broken') throw new MalformedRecordError('it is broken');
    return { Text: `${lookups.userName(userId)} ${commandLine}` };
  },
});
const roots = triggered({
  ...declared,
  name: 'Roots',
  stream: 'starts',
  translate: ({ commandLine, userId }) => {
    count('Roots');
    return userId === 0 ? { Text: commandLine } : undefined;
  },
});
const users = triggered({
  ...declared,
  name: 'Users',
  stream: 'logins',
  translate: ({ userName = '' }) => {
    count('Users');
    return { Text: userName };
  },
});

const start = (commandLine: string, userId = 1000): ProcessStarted => ({ ...records.starts, commandLine, userId });
const login = (userName: string): LoginSeen => ({ ...records.logins, userName });

/** Keeps what it is offered of some events. */
class Keeper implements OccurrenceConsumer {
  readonly batches: OccurrenceBatch[] = [];
  readonly losses: unknown[] = [];
  readonly events: Set<string>;
  readonly #take: (batch: OccurrenceBatch) => void;

  constructor(events: string[], take: (batch: OccurrenceBatch) => void = (batch) => void batch.occurrences()) {
    this.events = new Set(events);
    this.#take = take;
  }

  wants(event: string): boolean {
    return this.events.has(event);
  }

  accept(batch: OccurrenceBatch): void {
    this.batches.push(batch);
    this.#take(batch);
  }

  lost(...loss: unknown[]): void {
    this.losses.push(loss);
  }

  get texts(): unknown[] {
    return this.batches.flatMap((batch) => batch.occurrences().map(({ payload }) => payload.Text));
  }
}

describe('Occurrences', () => {
  let asked: string[];
  let occurrences: Occurrences;

  beforeEach(() => {
    translated = {};
    asked = [];
    const lookups: Lookups = {
      ...look,
      newBatch: () => asked.push('batch'),
      userName: (id) => {
        asked.push('user');
        return look.userName(id);
      },
    };
    occurrences = new Occurrences({ collectors: [commands, roots, users], lookups });
  });

  const offer = (...what: ConstructorParameters<typeof Keeper>) => {
    const keeper = new Keeper(...what);
    occurrences.offerTo(keeper);
    return keeper;
  };

  it('contains the event, its time and its source', () => {
    const keeper = offer(['Commands', 'Users']);
    occurrences.accept('starts', [start('ls')]);
    occurrences.accept('logins', [login('bob')]);
    const all: readonly Occurrence[] = keeper.batches.flatMap((batch) => batch.occurrences());
    const { time, serial } = records.starts;
    assert.deepEqual(all, [
      { event: 'Commands', payload: { Text: 'alice ls' }, time, serial, stream: 'starts' },
      { event: 'Users', payload: { Text: 'bob' }, time: records.logins.time, serial: undefined, stream: 'logins' },
    ]);
  });

  it('contains the exact arguments of a start if the source knows them', () => {
    const keeper = offer(['Commands']);
    occurrences.accept('starts', [
      { ...start('sh'), argv: ['sh', '-c', 'a b'] },
      { ...start('sh'), argv: undefined },
    ]);
    const all: readonly Occurrence[] = keeper.batches.flatMap((batch) => batch.occurrences());
    assert.deepEqual(
      all.map(({ argv }) => argv),
      [['sh', '-c', 'a b'], undefined],
    );
  });

  it('reaches all consumers of the event, in the order of registration', () => {
    const order: string[] = [];
    const first = offer(['Commands'], ({ event }) => order.push(`first ${event}`));
    const second = offer(['Commands', 'Roots'], ({ event }) => order.push(`second ${event}`));
    occurrences.accept('starts', [start('ls'), start('id', 0)]);
    assert.deepEqual(order, ['first Commands', 'second Commands', 'second Roots']);
    assert.deepEqual(first.texts, ['alice ls', 'root id']);
    assert.deepEqual(second.texts, ['alice ls', 'root id', 'id']);
  });

  it('stays valid as long as a consumer uses it', () => {
    offer(['Commands']);
    assert.equal(occurrences.isBehind(), false);
    const slow = Object.assign(offer(['Roots']), { isBehind: (): boolean => true });
    assert.equal(occurrences.isBehind(), true);
    slow.isBehind = () => false;
    assert.equal(occurrences.isBehind(), false);
  });

  it('translates and looks up each record once for any number of consumers', () => {
    offer(['Commands']);
    offer(['Commands']);
    offer(['Commands'], (batch) => void batch.count());
    occurrences.accept('starts', [start('ls'), start('id')]);
    assert.deepEqual([translated, asked], [{ Commands: 2 }, ['batch', 'user', 'user']]);
  });

  it('translates nothing if no consumer requests or reads the event', () => {
    offer(['Users']);
    offer(['Roots'], () => {});
    occurrences.accept('starts', [start('ls'), start('id')]);
    assert.deepEqual([translated, asked], [{}, ['batch']]);
  });

  it("follows changes of the consumers' requests between batches", () => {
    const keeper = offer(['Commands']);
    occurrences.accept('starts', [start('ls')]);
    keeper.events.delete('Commands');
    occurrences.accept('starts', [start('ps')]);
    keeper.events.add('Commands');
    occurrences.accept('starts', [start('id')]);
    assert.deepEqual(keeper.texts, ['alice ls', 'alice id']);
  });

  it('counts records without lookups, which are still available after that', () => {
    let counted: unknown[] = [];
    offer(['Commands', 'Roots'], (batch) => {
      counted.push([batch.event, batch.count(), batch.broken.length]);
    });
    occurrences.accept('starts', [start('ls'), start('broken'), start('id', 0)]);
    assert.deepEqual(counted, [
      ['Commands', 2, 1],
      ['Roots', 1, 0],
    ]);
    assert.deepEqual(asked, ['batch']);
    counted = [];
    const keeper = offer(['Commands']);
    occurrences.accept('starts', [start('ls')]);
    assert.deepEqual(
      [counted, keeper.texts],
      [
        [
          ['Commands', 1, 0],
          ['Roots', 0, 0],
        ],
        ['alice ls'],
      ],
    );
  });

  it('isolates a broken record from the others, and reports the reason', () => {
    const keeper = offer(['Commands']);
    occurrences.accept('starts', [start('ls'), start('broken'), start('id')]);
    assert.deepEqual(keeper.texts, ['alice ls', 'alice id']);
    const [{ broken } = assert.fail()] = keeper.batches;
    assert.ok(broken.length === 1 && broken[0] instanceof MalformedRecordError);
  });

  it('reads exactly the streams of requested events', () => {
    assert.deepEqual([...occurrences.streams()], []);
    const keeper = offer(['Roots']);
    const other = offer([]);
    assert.deepEqual([...occurrences.streams()], ['starts']);
    other.events.add('Users');
    assert.deepEqual([...occurrences.streams()], ['starts', 'logins']);
    keeper.events.clear();
    assert.deepEqual([...occurrences.streams()], ['logins']);
  });

  it('reports losses to every consumer', () => {
    const keepers = [offer(['Commands']), offer([])];
    occurrences.drop('starts', 'unresolved', 2);
    occurrences.drop(['starts', 'exits'], 'kernel', 3);
    for (const { losses } of keepers) {
      assert.deepEqual(losses, [
        [['starts'], 'unresolved', 2],
        [['starts', 'exits'], 'kernel', 3],
      ]);
    }
  });

  it('collects manually even if no consumer requests the event', () => {
    const batches = occurrences.translate('starts', [start('ls', 0)]);
    assert.deepEqual(
      batches.map((batch) => [batch.event, batch.occurrences().map(({ payload }) => payload.Text)]),
      [
        ['Commands', ['root ls']],
        ['Roots', ['ls']],
      ],
    );
  });

  it('reaches consumers before the pipeline drops disabled or paused events', () => {
    const queues = new MemoryQueues();
    let isPaused = false;
    const triggers = new Triggers({
      collectors: [commands, roots, users],
      settings: liveSettings({ priorities: { Commands: 'Low', Roots: 'Off' } }),
      aggregator: { add: () => assert.fail('nothing is aggregated') },
      queues,
      origin: '',
      leavesOut: () => (isPaused ? 'paused' : undefined),
      log: quietLog(),
    });
    occurrences.offerTo(triggers);
    const keeper = offer(['Commands', 'Roots']);
    occurrences.accept('starts', [start('ls', 0)]);
    isPaused = true;
    occurrences.accept('starts', [start('id', 0)]);
    assert.deepEqual(keeper.texts, ['root ls', 'ls', 'root id', 'id']);
    assert.deepEqual(
      queues.envelopes('Low').map(({ Name, Payload }) => [Name, Payload]),
      [['Commands', [{ Text: 'root ls' }]]],
    );
    assert.deepEqual(queues.dropped, [['Low', 'Commands', 'paused', 1]]);
  });
});
