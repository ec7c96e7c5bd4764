import assert from 'node:assert/strict';
import { Twin } from '../../src/emulator/twin.ts';
import { twinSize } from '../../src/emulator/twin-limits.ts';

const nested = (depth: number): Record<string, unknown> => (depth === 1 ? { a: 1 } : { a: nested(depth - 1) });

describe('a twin of the hub emulator', () => {
  it('counts a version up with every change, each section its own', () => {
    const twin = new Twin();
    assert.deepEqual(twin.patchDesired({ a: 1 }), { a: 1, $version: 2 });
    assert.deepEqual(twin.patchDesired({}), { $version: 3 });
    assert.equal(twin.patchReported({ b: 1 }), 2);
    assert.deepEqual(twin.document(), { desired: { a: 1, $version: 3 }, reported: { b: 1, $version: 2 } });
  });

  it('hands out copies', () => {
    const twin = new Twin();
    twin.patchReported({ a: { b: 1 } });
    (twin.document().reported.a as { b: number }).b = 2;
    assert.deepEqual(twin.document().reported, { a: { b: 1 }, $version: 2 });
  });

  it('takes in copies', () => {
    const twin = new Twin();
    const patch = { a: { b: 1 } };
    twin.replaceDesired(patch);
    patch.a.b = 2;
    assert.deepEqual(twin.document().desired, { a: { b: 1 }, $version: 2 });
  });

  it('notifies of removals in a patch, but not in a replacement', () => {
    const twin = new Twin();
    twin.patchDesired({ a: 1, b: 2 });
    assert.deepEqual(twin.patchDesired({ a: null }), { a: null, $version: 3 });
    assert.deepEqual(twin.replaceDesired({ c: 3 }), { c: 3, $version: 4 });
  });

  describe('takes', () => {
    for (const [what, patch] of Object.entries<unknown>({
      'ten levels': nested(10),
      'the largest and the smallest integer': { a: 4503599627370495, b: -4503599627370496 },
      'a fraction': { a: 0.5 },
      'a string of 4 KiB': { a: 'x'.repeat(4_096) },
      'a name with a colon': { 'ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration': {} },
    })) {
      it(what, () => assert.equal(new Twin().patchReported(patch), 2));
    }
  });

  describe('refuses', () => {
    for (const [what, [status, patch]] of Object.entries<[number, unknown]>({
      'eleven levels': [400, nested(11)],
      'very many levels': [400, nested(5_000)],
      'an integer too large': [400, { a: 4503599627370496 }],
      'a string longer than 4 KiB in UTF-8': [400, { a: 'å'.repeat(2_049) }],
      'an array': [400, { a: { b: [] } }],
      'a name with a dot': [400, { 'a.b': 1 }],
      'a name with a dollar sign': [400, { $version: 1 }],
      'a name with a space': [400, { 'a b': 1 }],
      'a name with a control character': [400, { 'a\u0085b': 1 }],
      'an empty name': [400, { '': 1 }],
      'a name longer than 1 KiB': [400, { ['x'.repeat(1_025)]: 1 }],
      'no object': [400, 'text'],
      null: [400, null],
      'more than 32 KiB': [413, Object.fromEntries(Array.from({ length: 9 }, (_, n) => [n, 'x'.repeat(4_000)]))],
    })) {
      it(`${what}, changing nothing`, () => {
        const twin = new Twin();
        assert.throws(() => twin.patchReported(patch), { name: 'TwinError', status });
        assert.deepEqual(twin.document().reported, { $version: 1 });
      });
    }
  });

  it('counts bytes as the hub does', () => {
    assert.equal(twinSize({ aå: 'ö\u0001', n: 12345, t: true, z: { x: null } }), 3 + 2 + 1 + 8 + 1 + 4 + 1 + 1);
  });
});
