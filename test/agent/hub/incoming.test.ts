import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { MALFORMED, readIncoming } from '../../../src/agent/hub/incoming.ts';

describe('readIncoming', () => {
  const respond = (status: number, body: string | Buffer, rest = '') =>
    readIncoming(`$iothub/twin/res/${status}/?$rid=${randomUUID()}${rest}`, Buffer.from(body));

  it('passes on a twin as it is', () => {
    const body = '{"desired":{"$version":1},"reported":{"$version":2}}';
    assert.deepEqual(respond(200, body), { kind: 'response', status: 200, body });
  });

  it('passes on the empty success of a report, with the new version', () => {
    assert.deepEqual(respond(204, '', '&$version=7'), { kind: 'response', status: 204, version: 7, body: '' });
  });

  for (const [status, body] of [
    [429, ''],
    [500, ''],
    [404, '{"Message":"no errorCode in here"}'],
    [503, 'not JSON'],
    [302, '{}'],
  ] as const) {
    it(`makes an error of ${status} with ${body === '' ? 'an empty body' : body}`, () => {
      const response = respond(status, body);
      assert.ok(response.kind === 'response');
      assert.equal(response.status, status);
      assert.equal(JSON.parse(response.body).errorCode, status);
    });
  }

  for (const [what, body] of [
    ['text that is not JSON', '<html>'],
    ['half a document', '{"desired":{'],
    ['JSON that is no object', '[]'],
    ['null', 'null'],
    ['bytes that are not UTF-8', Buffer.from([0xff, 0xfe])],
    ['a document of a megabyte', `{"a":"${'x'.repeat(1_000_000)}"}`],
    ['a document of many levels', `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`],
  ] as const) {
    it(`makes an error of ${what}`, () => {
      const response = respond(200, body);
      assert.ok(response.kind === 'response');
      assert.equal(response.status, MALFORMED);
      assert.ok(JSON.parse(response.body).errorCode);
    });
  }

  it('does not count brackets within strings as levels', () => {
    const body = JSON.stringify({ a: `${'{['.repeat(1_000)}"\\"{` });
    assert.deepEqual(respond(200, body), { kind: 'response', status: 200, body });
  });

  it('signals a change of desired properties regardless of its body', () => {
    const topic = '$iothub/twin/PATCH/properties/desired/?$version=5';
    for (const body of ['', 'garbage', '{}'])
      assert.deepEqual(readIncoming(topic, Buffer.from(body)), { kind: 'desired' });
  });

  for (const [topic, method, requestId] of [
    ['$iothub/methods/POST/ping/?$rid=1a', 'ping', '1a'],
    [
      '$iothub/methods/POST/ping?$rid=00000000-0000-4000-8000-000000000000',
      'ping',
      '00000000-0000-4000-8000-000000000000',
    ],
    ['$iothub/methods/POST/__proto__/?$rid=2&a=b', '__proto__', '2'],
  ] as const) {
    it(`takes ${topic} for a call`, () => {
      assert.deepEqual(readIncoming(topic, Buffer.from('garbage')), { kind: 'call', method, requestId });
    });
  }

  for (const topic of [
    '$iothub/methods/POST/?$rid=1',
    '$iothub/methods/POST/ping/',
    '$iothub/methods/POST/ping/?$rid=1/2#',
    '$iothub/methods/POST/a/b/?$rid=1',
    '$iothub/methods/res/200/?$rid=1',
    'devices/d/modules/m/inputs/i/%E0%A4%A=x',
    '$iothub/twin/res/200/?$rid=__proto__',
    '$iothub/twin/res/200/?$rid=constructor',
    '$iothub/twin/res/banana/?$rid=00000000-0000-4000-8000-000000000000',
    '',
  ]) {
    it(`keeps "${topic}" from the SDK, which would throw`, () => {
      assert.deepEqual(readIncoming(topic, Buffer.from('{}')), { kind: 'ignore' });
    });
  }

  it('never throws, and gives the SDK nothing but JSON objects and emptiness', () => {
    const topic = fc.oneof(
      fc.string(),
      fc.tuple(fc.nat(999), fc.uuid()).map(([status, rid]) => `$iothub/twin/res/${status}/?$rid=${rid}`),
    );
    fc.assert(
      fc.property(topic, fc.oneof(fc.json(), fc.string()), (at, body) => {
        const incoming = readIncoming(at, Buffer.from(body));
        if (incoming.kind !== 'response' || incoming.body === '') return;
        assert.equal(typeof JSON.parse(incoming.body), 'object');
      }),
    );
  });
});
