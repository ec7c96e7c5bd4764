import assert from 'node:assert/strict';
import { type Books, Ledger } from './ledger.ts';
import { MARK, type NumberedEvents } from './numbered-events.ts';

/** Tests of the checker for runs that kill the agent: it must detect every fault. */
describe('the ledger of killed agents', () => {
  let ledger: Ledger;
  let readAgain: boolean;
  let isComplete: boolean;

  beforeEach(() => {
    ledger = new Ledger();
    readAgain = false;
    isComplete = false;
  });

  const events = (appended: number) =>
    ({
      appended,
      isComplete,
      happenedWithin: (number: number, from: number, to: number) => number * 100 >= from && number * 100 <= to,
      wasReadAgain: () => readAgain,
    }) as unknown as NumberedEvents;
  /** The hub receives a message with an event for each number, with the number's id unless `id` is given. */
  const receive = (message: number, numbers: readonly number[], id?: string) => {
    const all = numbers.map((number) => ({
      Name: 'ProcessCreate',
      Id: id ?? `id ${number}`,
      Payload: [{ CommandLine: `/usr/bin/true ${MARK}${number}` }],
    }));
    ledger.received(message, JSON.stringify({ Events: [...all, { Name: 'LocalUsers', Payload: [{}] }] }));
  };
  const books = (changes: Partial<Books> = {}): Books => ({
    collected: 3,
    delivered: 3,
    aggregatedAway: 0,
    queued: 0,
    dropped: {},
    ...changes,
  });
  const violations = (changes?: Partial<Books>, appended = 3) =>
    ledger.compare(events(appended), books(changes)).violations.join('; ');

  it('the ledger finds no fault if each event arrived once', () => {
    receive(1, [0, 1]);
    receive(2, [2]);
    const { delivered, repeated, missing } = ledger.compare(events(3), books());
    assert.deepEqual({ delivered, repeated, missing }, { delivered: 3, repeated: 0, missing: 0 });
    assert.equal(violations(), '');
  });

  it('the ledger finds missing events', () => {
    receive(1, [0, 2]);
    assert.match(violations({ delivered: 2, dropped: { cacheFull: 1 } }), /^$/);
    assert.match(violations({ collected: 2, delivered: 2 }), /3 happened, and 2 were collected; .*1 are missing: 1/);
  });

  it('the ledger accepts the loss of events while no agent listened', () => {
    receive(1, [0, 2]);
    ledger.absent(90, 110);
    assert.equal(ledger.compare(events(3), books({ collected: 2, delivered: 2 })).unheard, 1);
    assert.equal(violations({ collected: 2, delivered: 2 }), '');
  });

  it('the ledger finds a repeated event with another id', () => {
    receive(1, [0, 1, 2]);
    ledger.connected();
    receive(2, [0, 1, 2], 'another');
    assert.match(violations(), /0 came twice, with ids id 0 and another/);
  });

  it('the ledger finds a repeated event that was not in flight', () => {
    receive(1, [0]);
    receive(2, [1, 2]);
    ledger.connected();
    receive(3, [1, 2]);
    assert.equal(violations(), '');
    receive(4, [0]);
    assert.match(violations(), /0 came in messages 1 and 4, and needn't have/);
    readAgain = true;
    assert.equal(violations(), '');
  });

  it('the ledger finds counts that do not add up, or that are too high', () => {
    receive(1, [0, 1, 2]);
    assert.match(violations({ queued: 1 }), /the books don't close/);
    assert.match(violations({ delivered: 2, dropped: { kernel: 1 } }), /1 count as dropped, and 0 are missing/);
    assert.match(violations({ collected: 4, delivered: 4 }), /4 count as delivered, and the hub has 3/);
  });

  it('the ledger finds counted losses that did not happen', () => {
    receive(1, [0, 1, 2]);
    assert.equal(violations({ collected: 4, dropped: { kernel: 1 } }), '');
    isComplete = true;
    assert.match(
      violations({ collected: 4, dropped: { kernel: 1 } }),
      /1 count as lost, and 0 as broken, and none were/,
    );
  });

  it('the ledger accepts an event at the hub that the agent dropped without an acknowledgement', () => {
    receive(1, [0, 1, 2]);
    ledger.connected();
    assert.equal(violations({ delivered: 2, dropped: { cacheFull: 1 } }), '');
  });
});
