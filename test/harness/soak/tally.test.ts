import assert from 'node:assert/strict';
import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { MARK, Tally } from './tally.ts';

type Account = LocalStatus['events'][string];

const NUMBER = `${MARK}number-7`;
const COMMAND = `${MARK}command-1`;

describe('Tally', () => {
  let tally: Tally;
  beforeEach(() => {
    tally = new Tally();
  });

  const message = (...events: object[]) => tally.received(JSON.stringify({ Events: events }));
  const start = (id: string, ...elements: (string | [string, number])[]) => ({
    Id: id,
    Name: 'ProcessCreate',
    Category: 'Triggered',
    Payload: elements.map((element) =>
      typeof element === 'string'
        ? { CommandLine: `/bin/cat - ${element}` }
        : { CommandLine: `/bin/cat - ${element[0]}`, ExtraDetails: { HitCount: String(element[1]) } },
    ),
  });
  const account = (changes: Partial<Account> = {}): { events: Record<string, Account> } => ({
    events: { ProcessCreate: { collected: 0, delivered: 0, aggregatedAway: 0, queued: 0, dropped: {}, ...changes } },
  });

  it('Tally reports no fault if every event was reported, singly or counted', () => {
    for (const what of [NUMBER, COMMAND, COMMAND, COMMAND]) tally.made('ProcessCreate', what);
    message(start('a', NUMBER, [COMMAND, 3]));
    assert.equal(tally.missing('ProcessCreate'), 0);
    assert.deepEqual(tally.toldTooOften(), []);
    assert.deepEqual(tally.disagreements(account({ collected: 4, delivered: 2, aggregatedAway: 2 })), []);
  });

  it('Tally ignores a repeated message', () => {
    tally.made('ProcessCreate', NUMBER);
    for (let times = 0; times < 2; times += 1) message(start('a', NUMBER));
    assert.equal(tally.repeats, 1);
    assert.deepEqual(tally.toldTooOften(), []);
  });

  it('Tally detects an event that was reported twice', () => {
    tally.made('ProcessCreate', NUMBER);
    message(start('a', NUMBER), start('b', NUMBER));
    assert.equal(tally.toldTooOften().length, 1);
  });

  it('Tally finds missing events, unless they count as dropped', () => {
    for (const what of [NUMBER, COMMAND]) tally.made('ProcessCreate', what);
    message(start('a', NUMBER));
    assert.equal(tally.missing('ProcessCreate'), 1);
    assert.match(String(tally.disagreements(account({ collected: 1, delivered: 1 }))), /1 of 2 are missing/);
    assert.deepEqual(tally.disagreements(account({ collected: 2, delivered: 1, dropped: { cacheFull: 1 } })), []);
  });

  it('Tally finds occurrences that are missing from a count, unless an element was dropped', () => {
    for (const what of [NUMBER, COMMAND, COMMAND, COMMAND]) tally.made('ProcessCreate', what);
    message(start('a', NUMBER));
    const books = { collected: 4, delivered: 1, aggregatedAway: 2 };
    assert.deepEqual(tally.disagreements(account({ ...books, dropped: { unwritable: 1 } })), []);
    message(start('b', [COMMAND, 2]));
    assert.match(String(tally.disagreements(account({ ...books, delivered: 2 }))), /4 were collected, 0 .* told of 3/);
  });

  it('Tally detects an event that was reported and also counted as dropped', () => {
    for (const what of [NUMBER, COMMAND]) tally.made('ProcessCreate', what);
    message(start('a', NUMBER, COMMAND));
    const books = account({ collected: 2, delivered: 1, dropped: { cacheFull: 1 } });
    assert.match(String(tally.disagreements(books)), /2 were collected, 1 dropped, and the hub was told of 2/);
  });

  it("Tally finds accounts that don't add up, or that the hub doesn't confirm", () => {
    assert.match(String(tally.disagreements(account({ collected: 1 }))), /don't close/);
    assert.match(String(tally.disagreements(account({ collected: 1, delivered: 1 }))), /the hub has 0/);
    tally.made('ProcessCreate', NUMBER);
    message(start('a', NUMBER));
    assert.match(String(tally.disagreements(account({ collected: 1, queued: 1 }))), /the hub has 1/);
  });
});
