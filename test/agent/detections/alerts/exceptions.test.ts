import assert from 'node:assert/strict';
import { Exceptions } from '../../../../src/agent/detections/alerts/exceptions.ts';
import { keyOf } from '../../../../src/agent/detections/alerts/hit-fields.ts';
import { days } from '../../../../src/core/base/duration.ts';
import type { AlertException } from '../../../../src/core/contract/setting-kinds.ts';
import { hit } from './samples.ts';

const NOW = new Date('2026-05-01T12:00:00.000Z');
const later = (span: number) => new Date(NOW.getTime() + span);

const matches = (exception: Partial<AlertException>, of = hit(), now = NOW) =>
  new Exceptions().match(of, { id: { rule: 'IoT_CryptoMiner', field: 'Image', ...exception } }, now) === 'id';

describe('Exceptions', () => {
  it('supports four comparisons', () => {
    assert.deepEqual(
      [
        { equals: '/tmp/xmrig' },
        { startsWith: '/tmp/' },
        { endsWith: '/xmrig' },
        { equals: '/tmp/XMRIG' },
        { equals: 'xmrig' },
        { startsWith: 'xmrig' },
        { endsWith: '/tmp' },
        {},
      ].map((one) => matches(one)),
      [true, true, true, false, false, false, false, false],
    );
  });

  it('compares addresses with networks', () => {
    const at = (address: string, cidr: string) =>
      matches({ field: 'DestinationIp', cidr }, hit({ fields: { DestinationIp: address } }));
    assert.deepEqual(
      [at('192.0.2.7', '192.0.2.0/24'), at('192.0.2.7', '192.0.2.7'), at('2001:db8::1', '2001:db8::/32')],
      [true, true, true],
    );
    assert.deepEqual(
      [at('192.0.3.7', '192.0.2.0/24'), at('::1', '192.0.2.0/24'), at('name', '0.0.0.0/0'), at('192.0.2.7', 'x')],
      [false, false, false, false],
    );
  });

  it('finds fields by their names in rules, in payloads, and in the matching view', () => {
    const of = hit({
      payload: { ExtraDetails: { ContainerId: 'c1' } },
      view: { Image: '/bin/inner', CommandLine: 'inner' },
    });
    assert.ok(matches({ field: 'Executable', equals: '/tmp/xmrig' }, of));
    assert.ok(matches({ field: 'ContainerId', equals: 'c1' }, of));
    assert.ok(matches({ field: 'ProcessId', equals: '7' }, of));
    assert.ok(matches({ field: 'Image', equals: '/bin/inner' }, of));
    assert.ok(matches({ field: 'Image', equals: '/tmp/xmrig' }, of));
    const script = { Image: '/bin/sh', CommandLine: 'sh /tmp/x.sh' };
    assert.ok(matches({ field: 'RunTarget', endsWith: '/x.sh' }, hit({ view: script })));
    assert.ok(matches({ field: 'a1', equals: '/tmp/x.sh' }, hit({ view: script })));
    assert.notEqual(
      keyOf(hit({ rule: { key: ['RunTarget'] }, view: script })),
      keyOf(hit({ rule: { key: ['RunTarget'] }, view: { ...script, CommandLine: 'sh /tmp/y.sh' } })),
    );
    for (const field of ['constructor', '__proto__', 'toString', 'None'])
      assert.ok(!matches({ field, startsWith: '' }, of));
  });

  it('applies to one rule, by its id or its alert type', () => {
    assert.ok(matches({ rule: hit().rule.id, startsWith: '/' }));
    assert.ok(!matches({ rule: 'IoT_Other', startsWith: '/' }));
  });

  it('expires at its end, and immediately while the clock is not set', () => {
    const until = { startsWith: '/', until: '2026-05-02T12:00:00Z' };
    assert.ok(matches(until));
    assert.ok(!matches(until, hit(), later(days(1))));
    assert.ok(!matches(until, hit(), new Date(0)));
    assert.ok(matches({ startsWith: '/' }, hit(), new Date(0)));
    assert.ok(!matches({ startsWith: '/', until: 'soon' }));
  });

  it('counts matches across restarts by its content, and reports unused exceptions', () => {
    const of = (value: string) => ({ a: { rule: 'IoT_CryptoMiner', field: 'Image', startsWith: value } });
    const exceptions = new Exceptions();
    exceptions.match(hit(), of('/tmp'), NOW);
    const next = new Exceptions();
    next.restore(JSON.parse(JSON.stringify(exceptions.toJson())));
    next.match(hit(), of('/tmp'), later(days(30)));
    assert.deepEqual(next.counts(of('/tmp')), { a: 2 });
    assert.deepEqual(next.unused(of('/tmp'), later(days(119))), []);
    assert.deepEqual(next.unused(of('/tmp'), later(days(120))), ['a']);
    next.match(hit(), of('/opt'), later(days(120)));
    assert.deepEqual(next.counts(of('/opt')), { a: 0 });
    assert.deepEqual(next.unused(of('/opt'), later(days(120))), []);
    for (const damaged of [null, 5, { a: 5 }, { a: { text: 'x' } }]) next.restore(damaged);
    assert.deepEqual(next.counts(of('/opt')), { a: 0 });
  });

  it('needs saving when an exception is new or has matched', () => {
    let changes = 0;
    const exceptions = new Exceptions(() => {
      changes += 1;
    });
    const all = { a: { rule: 'IoT_CryptoMiner', field: 'Image', startsWith: '/tmp' } };
    const more = { ...all, b: { rule: 'IoT_Other', field: 'Image', startsWith: '/tmp' } };
    const seen = [() => exceptions.unused(all, NOW), () => exceptions.unused(more, NOW)].map((look) => {
      look();
      look();
      return changes;
    });
    assert.deepEqual(seen, [1, 2]);
    exceptions.match(hit(), more, NOW);
    assert.equal(changes, 3);
  });

  it('does not grow with former exceptions of the module twin', () => {
    const exceptions = new Exceptions();
    for (let n = 0; n < 1_000; n += 1) {
      exceptions.match(
        hit(),
        { [`e${n}`]: { rule: 'IoT_CryptoMiner', field: 'User', cidr: `10.0.${n % 256}.0/24` } },
        NOW,
      );
    }
    assert.ok(Object.keys(exceptions.toJson() as object).length <= 256);
  });
});
