import assert from 'node:assert/strict';
import fc from 'fast-check';
import { applyPatch, type Members, patchTo } from '../../../src/core/twin/sections.ts';

/** The examples of RFC 7396, appendix A, in which target and patch are objects. */
const RFC_7396: readonly (readonly [string, string, string])[] = [
  ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
  ['{"a":"b"}', '{"a":null}', '{}'],
  ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
  ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
  ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
  ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
  ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
  ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
];

describe('merge patches', () => {
  for (const [target, patch, result] of RFC_7396) {
    it(`applyPatch makes ${result} of ${target} and ${patch}`, () => {
      assert.deepEqual(applyPatch(JSON.parse(target), JSON.parse(patch)), JSON.parse(result));
    });
  }

  it('applyPatch handles "__proto__" like any other property', () => {
    const merged = applyPatch({}, JSON.parse('{"__proto__":{"polluted":true}}'));
    assert.deepEqual(Object.keys(merged), ['__proto__']);
    assert.equal(Object.getPrototypeOf(merged), Object.prototype);
    assert.equal('polluted' in {}, false);
  });

  for (const [wanted, current, patch] of [
    [{ a: 1 }, { a: 1, b: 2 }, {}],
    [{ a: { x: 1, y: 2 } }, { a: { x: 1, y: 3, z: 4 } }, { a: { y: 2, z: null } }],
    [{ a: { x: { deep: true } } }, { a: { x: 1 } }, { a: { x: { deep: true } } }],
    [{ a: { x: null } }, { a: { x: 1 } }, { a: { x: null } }],
    [{ a: undefined }, { a: { x: 1 } }, { a: null }],
    [{ a: { x: null } }, {}, { a: {} }],
    [{ a: {} }, { a: {} }, {}],
  ] as const) {
    it(`needs ${JSON.stringify(patch)} to make ${JSON.stringify(current)} hold ${JSON.stringify(wanted)}`, () => {
      assert.deepEqual(patchTo(wanted, current), patch);
    });
  }

  const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean());
  const name = fc.oneof(fc.constantFrom('a', 'b', 'c', '__proto__', 'constructor', 'toString'), fc.string());
  const { members } = fc.letrec<{ members: Members; value: unknown }>((tie) => ({
    members: fc.array(fc.tuple(name, tie('value')), { maxLength: 5 }).map((entries) => Object.fromEntries(entries)),
    value: fc.oneof({ maxDepth: 4 }, leaf, tie('members')),
  }));

  it('always lead to what is wanted, and leave other names alone', () => {
    fc.assert(
      fc.property(members, members, (wanted, current) => {
        const after = applyPatch(current, patchTo(wanted, current));
        for (const key of Object.keys(wanted)) assert.deepEqual(after[key], wanted[key]);
        for (const key of Object.keys(current)) {
          if (!Object.hasOwn(wanted, key)) assert.deepEqual(after[key], current[key]);
        }
      }),
    );
  });

  it('a patch between equal documents is empty, and no patch touches the prototype', () => {
    fc.assert(
      fc.property(members, members, (wanted, current) => {
        assert.deepEqual(patchTo(wanted, applyPatch(current, patchTo(wanted, current))), {});
        assert.equal(Object.getPrototypeOf({}), Object.prototype);
      }),
    );
  });
});
