import assert from 'node:assert/strict';
import * as v from 'valibot';
import { Occurrences } from '../../../src/agent/collectors/occurrences.ts';
import { Triggers } from '../../../src/agent/pipeline/triggers.ts';
import { MalformedRecordError, triggered } from '../../../src/core/contract/collector.ts';
import type { Lookups } from '../../../src/core/contract/lookups.ts';
import type { Occurrence, OccurrenceBatch, OccurrenceConsumer } from '../../../src/core/contract/occurrence.ts';
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

  it('say what happened, when, and where that is known from', () => {
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

  it('have the arguments of a start with their bounds, if its source knows them', () => {
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

  it('are offered to each consumer that wants the event, in the order in which they were added', () => {
    const order: string[] = [];
    const first = offer(['Commands'], ({ event }) => order.push(`first ${event}`));
    const second = offer(['Commands', 'Roots'], ({ event }) => order.push(`second ${event}`));
    occurrences.accept('starts', [start('ls'), start('id', 0)]);
    assert.deepEqual(order, ['first Commands', 'second Commands', 'second Roots']);
    assert.deepEqual(first.texts, ['alice ls', 'root id']);
    assert.deepEqual(second.texts, ['alice ls', 'root id', 'id']);
  });

  it('are worked on as long as a consumer works on them', () => {
    offer(['Commands']);
    assert.equal(occurrences.isBehind(), false);
    const slow = Object.assign(offer(['Roots']), { isBehind: (): boolean => true });
    assert.equal(occurrences.isBehind(), true);
    slow.isBehind = () => false;
    assert.equal(occurrences.isBehind(), false);
  });

  it('are translated and looked up once, however many want them', () => {
    offer(['Commands']);
    offer(['Commands']);
    offer(['Commands'], (batch) => void batch.count());
    occurrences.accept('starts', [start('ls'), start('id')]);
    assert.deepEqual([translated, asked], [{ Commands: 2 }, ['batch', 'user', 'user']]);
  });

  it('are not translated when no consumer wants or reads their event', () => {
    offer(['Users']);
    offer(['Roots'], () => {});
    occurrences.accept('starts', [start('ls'), start('id')]);
    assert.deepEqual([translated, asked], [{}, ['batch']]);
  });

  it('follow what is wanted from one batch to the next', () => {
    const keeper = offer(['Commands']);
    occurrences.accept('starts', [start('ls')]);
    keeper.events.delete('Commands');
    occurrences.accept('starts', [start('ps')]);
    keeper.events.add('Commands');
    occurrences.accept('starts', [start('id')]);
    assert.deepEqual(keeper.texts, ['alice ls', 'alice id']);
  });

  it('are counted without looking anything up, and can be had after that', () => {
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

  it('of a broken record cost no other one, and say why', () => {
    const keeper = offer(['Commands']);
    occurrences.accept('starts', [start('ls'), start('broken'), start('id')]);
    assert.deepEqual(keeper.texts, ['alice ls', 'alice id']);
    const [{ broken } = assert.fail()] = keeper.batches;
    assert.ok(broken.length === 1 && broken[0] instanceof MalformedRecordError);
  });

  it('tell which streams to read: those of the events that a consumer wants', () => {
    assert.deepEqual([...occurrences.streams()], []);
    const keeper = offer(['Roots']);
    const other = offer([]);
    assert.deepEqual([...occurrences.streams()], ['starts']);
    other.events.add('Users');
    assert.deepEqual([...occurrences.streams()], ['starts', 'logins']);
    keeper.events.clear();
    assert.deepEqual([...occurrences.streams()], ['logins']);
  });

  it('that were lost are reported to every consumer', () => {
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

  it('can be had by hand, wanted or not', () => {
    const batches = occurrences.translate('starts', [start('ls', 0)]);
    assert.deepEqual(
      batches.map((batch) => [batch.event, batch.occurrences().map(({ payload }) => payload.Text)]),
      [
        ['Commands', ['root ls']],
        ['Roots', ['ls']],
      ],
    );
  });

  it('are shown before another consumer leaves out what is off, or paused: the pipeline alone does', () => {
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
