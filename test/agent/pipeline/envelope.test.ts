import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import sinon from 'sinon';
import { listeningPorts } from '../../../src/agent/collectors/listening-ports.ts';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import { envelope, localTime, occurrenceEvent, snapshotEvent } from '../../../src/agent/pipeline/envelope.ts';

const TIME = new Date('2024-05-01T12:00:00.123Z');
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** What localTime says in another zone; a zone holds for a whole process. */
function inZone(zone: string, instant: string): string {
  const module = new URL('../../../src/agent/pipeline/envelope.js', import.meta.url).href;
  const say = `const { localTime } = await import('${module}'); console.log(localTime(new Date('${instant}')));`;
  const environment = { ...process.env, TZ: zone };
  return execFileSync(process.execPath, ['--input-type=module', '--eval', say], {
    env: environment,
    encoding: 'utf8',
  }).trim();
}

describe('localTime', () => {
  for (const [zone, instant, expected] of [
    ['UTC', '2024-05-01T12:00:00.123Z', '2024-05-01T12:00:00.123+00:00'],
    ['Europe/Stockholm', '2024-05-01T12:00:00.123Z', '2024-05-01T14:00:00.123+02:00'],
    ['Europe/Stockholm', '2024-12-31T23:30:00.000Z', '2025-01-01T00:30:00.000+01:00'],
    ['America/St_Johns', '2024-01-01T00:00:00.000Z', '2023-12-31T20:30:00.000-03:30'],
    ['America/Los_Angeles', '2024-02-29T07:59:59.999Z', '2024-02-28T23:59:59.999-08:00'],
    ['Asia/Kathmandu', '2024-05-01T12:00:00.000Z', '2024-05-01T17:45:00.000+05:45'],
    ['Pacific/Kiritimati', '2024-05-01T12:00:00.000Z', '2024-05-02T02:00:00.000+14:00'],
  ] as const) {
    it(`prints ${expected} in ${zone}`, () => assert.equal(inZone(zone, instant), expected));
  }

  it('is the same instant in any zone', () => {
    const instants = fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true });
    fc.assert(
      fc.property(instants, fc.integer({ min: -14 * 60, max: 14 * 60 }), (time, offset) => {
        sinon.stub(time, 'getTimezoneOffset').returns(offset);
        const text = localTime(time);
        assert.match(text, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:[0-5]\d$/);
        assert.equal(Date.parse(text), time.getTime());
      }),
    );
  });
});

describe('envelope', () => {
  it('contains the kind and time of the event', () => {
    const { Id, TimestampLocal, ...rest } = envelope(processCreate, [{ Executable: '/bin/ls' }], TIME);
    assert.match(Id, UUID);
    assert.equal(Date.parse(TimestampLocal), TIME.getTime());
    assert.deepEqual(rest, {
      TimestampUTC: '2024-05-01T12:00:00.123Z',
      Category: 'Triggered',
      Name: 'ProcessCreate',
      EventType: 'Security',
      IsEmpty: false,
      PayloadSchemaVersion: '1.0',
      Payload: [{ Executable: '/bin/ls' }],
    });
  });

  it('has an id of its own every time', () => {
    assert.notEqual(envelope(processCreate, [], TIME).Id, envelope(processCreate, [], TIME).Id);
  });
});

describe('snapshotEvent', () => {
  it('counts as one, however many rows it has', () => {
    const { json, ...tally } = snapshotEvent(listeningPorts, [{ LocalPort: '22' }, { LocalPort: '80' }], TIME);
    assert.deepEqual(tally, { name: 'ListeningPorts', elements: 1, occurrences: 1 });
    assert.equal(JSON.parse(json).Payload.length, 2);
  });

  it('an empty payload is marked as empty', () => {
    const { json, ...tally } = snapshotEvent(listeningPorts, [], TIME);
    assert.deepEqual(tally, { name: 'ListeningPorts', elements: 1, occurrences: 1 });
    const { IsEmpty, Payload } = JSON.parse(json);
    assert.deepEqual([IsEmpty, Payload], [true, []]);
  });
});

describe('occurrenceEvent', () => {
  it('carries its own time', () => {
    const { json, ...tally } = occurrenceEvent(processCreate, { Executable: '/bin/ls' }, TIME);
    assert.deepEqual(tally, { name: 'ProcessCreate', elements: 1, occurrences: 1 });
    assert.equal(JSON.parse(json).TimestampUTC, '2024-05-01T12:00:00.123Z');
  });
});
