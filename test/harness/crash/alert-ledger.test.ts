import assert from 'node:assert/strict';
import type { Books } from '../scenario/ledger.ts';
import type { NumberedEvents } from '../scenario/numbered-events.ts';
import { AlertLedger } from './alert-ledger.ts';

/** Tests of the checker for runs that kill agents with alerts: it must detect every fault. */
describe('the ledger of alerts of killed agents', () => {
  let ledger: AlertLedger;
  let attempts: number;

  const books = (changes: Partial<Books> = {}): Books => ({
    collected: 3,
    delivered: 3,
    aggregatedAway: 0,
    queued: 0,
    dropped: {},
    ...changes,
  });
  const violations = (changes?: Partial<Books>) =>
    ledger.compare({} as NumberedEvents, books(changes)).violations.join('; ');
  /** The hub receives an alert. */
  const receive = (AlertId: string, argument: string, minute = 0) => {
    const FirstSeenUtc = new Date(minute * 60_000).toISOString();
    const Payload = [{ AlertId, CommandLine: `/usr/bin/true ${argument}`, FirstSeenUtc }];
    ledger.received(
      1,
      JSON.stringify({
        Events: [
          { Name: 'SecurityAlert', Payload },
          { Name: 'Login', Payload },
        ],
      }),
    );
  };

  beforeEach(() => {
    attempts = 8;
    ledger = new AlertLedger({
      made: new Set(['a', 'b']),
      keys: new Set(['vakt-key-0-0-']),
      groups: new Map([
        [
          'vakt-group-1-1-',
          {
            get attempts() {
              return attempts;
            },
            saved: 0,
          },
        ],
      ]),
      continued: 0,
    });
    receive('b', 'vakt-group-1-1-');
  });

  it('the alert ledger finds no fault if each alert arrived at least once', () => {
    receive('a', 'vakt-key-0-0-');
    receive('a', 'vakt-key-0-0-', 70);
    const { delivered, repeated, missing } = ledger.compare({} as NumberedEvents, books());
    assert.deepEqual({ delivered, repeated, missing }, { delivered: 2, repeated: 1, missing: 0 });
    assert.equal(violations(), '');
  });

  it('the alert ledger finds a raised alert that did not arrive, unless it counts as dropped', () => {
    assert.match(violations(), /1 alerts that were made are missing: a; nothing was raised by vakt-key-0-0-/);
    assert.equal(violations({ collected: 4, dropped: { cacheFull: 1 } }), '');
  });

  it('the alert ledger finds a key with two ids within an hour, and an id with two keys', () => {
    receive('a', 'vakt-key-0-0-', 10);
    receive('c', 'vakt-key-0-0-', 70);
    assert.equal(violations(), '');
    receive('d', 'vakt-key-0-0-', 75);
    assert.match(violations(), /vakt-key-0-0- has 3 alerts, more than one of the same hour/);
    receive('d', 'vakt-group-1-1-');
    assert.match(violations(), /alert d is about vakt-key-0-0- and about vakt-group-1-1-/);
  });

  it('the alert ledger finds a window that raised an alert too early', () => {
    receive('a', 'vakt-key-0-0-');
    attempts = 7;
    assert.match(violations(), /vakt-group-1-1- raised an alert by 7 attempts/);
  });

  it('the alert ledger finds counts that do not add up', () => {
    receive('a', 'vakt-key-0-0-');
    assert.match(violations({ queued: 1 }), /don't close/);
  });
});
