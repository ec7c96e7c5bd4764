import assert from 'node:assert/strict';
import fc from 'fast-check';
import { printable } from '../../../src/core/base/text.ts';
import { applyPatch } from '../../../src/core/twin/sections.ts';
import type { ReceivedMessage } from '../../../src/emulator/message-log.ts';
import { patchBetween } from '../../../src/emulator/page/routes.ts';
import { alertsOf, eventNamesOf, rowOf } from '../../../src/emulator/page/rows.ts';
import { Tally } from '../../../src/emulator/page/tally.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { alert, event, start } from './client.ts';

const message = (body: unknown, changes: Partial<ReceivedMessage> = {}): ReceivedMessage => ({
  sequence: 1,
  enqueuedAt: new Date('2026-03-04T20:06:07.089Z'),
  deviceId: 'dev1',
  moduleId: 'azureiotsecurity',
  body: typeof body === 'string' ? body : JSON.stringify(body),
  systemProperties: {},
  applicationProperties: {},
  sizeBytes: 5_000,
  duplicate: false,
  ...changes,
});

/** Every text in a value, at any depth. */
const textsIn = (value: unknown): string[] =>
  typeof value === 'string'
    ? [value]
    : typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([name, inner]) => [name, ...textsIn(inner)])
      : [];

describe('rows of the page', () => {
  it('describes an event in the same words as the demo', () => {
    const row = rowOf(message({ Events: [start('ls -l')] }));
    assert.deepEqual(row.events, [
      {
        name: 'ProcessCreate',
        time: '2026-03-04T20:06:07.089Z',
        lines: ['root ran ls -l  [/bin/x, pid 7]'],
        notes: [],
      },
    ]);
    assert.equal(row.units, 2);
  });

  it('shows a message of another format as it is', () => {
    for (const body of ['hello', '[1]', '{"Events":5}', '"x"', ''])
      assert.match(rowOf(message(body)).events[0]?.notes[0] ?? '', /not in the agent's format/);
  });

  it('shows an event of another form as JSON', () => {
    const [first] = rowOf(message({ Events: [{ Name: 'ProcessCreate', Payload: [null] }] })).events;
    assert.deepEqual(first?.lines, ['{"Name":"ProcessCreate","Payload":[null]}']);
  });

  it('limits the events of a message, and counts the rest', () => {
    const row = rowOf(message({ Events: Array.from({ length: 250 }, () => start('x')) }));
    assert.equal(row.events.length, 200);
    assert.equal(row.left, 50);
  });

  it('takes an alert of a severity that does not exist for the most severe', () => {
    const severityOf = (Severity: unknown) => alertsOf(message({ Events: [alert({ Severity })] }))[0]?.severity;
    assert.equal(severityOf('Low'), 'Low');
    for (const other of ['none', '', 7, null, 'toString', undefined]) assert.equal(severityOf(other), 'Critical');
  });

  it('lets no control or invisible character through, and never throws, whatever a message has', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('\u202e', '\u001b[2J', '</script>', '\u0000', '\u2066x'),
    );
    const payload = fc.dictionary(
      fc.oneof(text, fc.constantFrom('CommandLine', 'UserName', 'ExtraDetails', 'Severity', 'RuleTitle', 'AlertId')),
      fc.oneof(text, fc.jsonValue()),
    );
    const anyEvent = fc.record({
      Name: fc.oneof(text, fc.constantFrom('ProcessCreate', 'SecurityAlert', 'LocalUsers', '__proto__', 'toString')),
      Payload: fc.oneof(fc.array(payload), fc.jsonValue()),
      IsEmpty: fc.oneof(fc.boolean(), fc.jsonValue()),
      TimestampUTC: fc.oneof(text, fc.jsonValue()),
    });
    fc.assert(
      fc.property(fc.oneof(fc.array(fc.oneof(anyEvent, fc.jsonValue())), fc.jsonValue()), (Events) => {
        const received = message({ Events });
        const row = rowOf(received);
        for (const shown of textsIn([row, alertsOf(received), eventNamesOf(received)])) {
          assert.equal(shown, printable(shown));
          assert.ok(shown.length < 20_000);
        }
        for (const { lines } of row.events) assert.ok(lines.length <= 8);
      }),
      { numRuns: fuzzRuns(5_000) },
    );
  });
});

describe('counts of the page', () => {
  const at = (minute: number) => ({ enqueuedAt: new Date(minute * 60_000) });

  it('counts events by name, bytes and blocks for each minute', () => {
    const tally = new Tally();
    tally.add(message({ Events: [start('a'), start('b'), alert()] }, at(10)));
    tally.add(message('no JSON', at(11)));
    const events = { ProcessCreate: 2, SecurityAlert: 1 };
    const first = { minute: 10, messages: 1, bytes: 5_000, units: 2, events };
    assert.deepEqual(tally.minutes, [first, { ...first, minute: 11, events: {} }]);
    assert.deepEqual(tally.totals, { messages: 2, bytes: 10_000, units: 4, events: 3 });
    assert.equal(tally.takeChanged().minutes.length, 2);
    tally.add(message({ Events: [start('c')] }, at(10)));
    const changed = tally.takeChanged();
    assert.deepEqual(
      changed.minutes.map(({ minute, messages }) => [minute, messages]),
      [[10, 2]],
    );
    assert.deepEqual(changed.alerts, []);
  });

  it('has an alert once, in its latest state', () => {
    const tally = new Tally();
    tally.add(message({ Events: [alert()] }));
    tally.add(message({ Events: [alert({ Count: 5 })] }));
    tally.add(message({ Events: [alert()] }, { deviceId: 'dev2' }));
    assert.deepEqual(
      tally.alerts.map(({ module, count }) => [module, count]),
      [
        ['dev1/azureiotsecurity', 5],
        ['dev2/azureiotsecurity', 1],
      ],
    );
  });

  it('stays bounded for any input', () => {
    const tally = new Tally();
    for (let number = 0; number < 500; number++) {
      const Events = [event(`Name${number}`), event(`Other${number}`), alert({ AlertId: `alert ${number}` })];
      tally.add(message({ Events }, at(number)));
      tally.add(message({ Events: Array.from({ length: 50 }, (_, name) => event(`Name${name}`)) }, at(number)));
    }
    assert.equal(tally.minutes.length, 60);
    assert.equal(tally.alerts.length, 100);
    assert.equal(tally.takeChanged().alerts.length, 100);
    for (const { events } of tally.minutes) assert.ok(Object.keys(events).length <= 33);
    assert.equal(tally.totals.messages, 1_000);
  });
});

describe('the patch that the page sends', () => {
  it('makes the new desired properties of the old ones, for whatever a twin can contain', () => {
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean());
    const { section } = fc.letrec<{ section: Record<string, unknown> }>((tie) => ({
      section: fc.dictionary(
        fc.oneof(fc.constantFrom('a', 'b', '__proto__'), fc.string()),
        fc.oneof(leaf, tie('section')),
        {
          maxKeys: 5,
        },
      ),
    }));
    fc.assert(
      fc.property(section, section, (before, after) => {
        assert.deepEqual(sorted(applyPatch(before, patchBetween(before, after))), sorted(after));
        assert.deepEqual(patchBetween(after, after), {});
      }),
    );
  });
});

/** JSON text, which is independent of prototypes and the order of members. */
const sorted = (value: unknown): unknown =>
  typeof value === 'object' && value !== null
    ? Object.entries(value)
        .map(([name, inner]) => [name, sorted(inner)])
        .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1))
    : value;
