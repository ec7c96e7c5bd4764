import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { nextTurn } from '../../src/core/base/waiting.ts';
import { parseQuery } from '../../src/emulator/query/parse.ts';
import { among, conditionsOf, listsOf, literal, source } from '../../src/fleet/choice.ts';
import { KeyDirectory } from '../../src/fleet/key-directory.ts';
import { forEachLimited } from '../../src/fleet/pace.ts';
import { temporaryFolder } from '../harness/folders.ts';

describe('Choosing devices', () => {
  it('quotes every id so that a query has it as it is', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 128 }), (id) => {
        const { where } = parseQuery(`SELECT * FROM devices WHERE deviceId = ${literal(id)}`);
        assert.deepEqual(where?.kind === 'binary' && where.right, { kind: 'constant', value: id });
      }),
    );
  });

  it('splits long lists into queries that a hub takes', () => {
    const ids = Array.from({ length: 1_000 }, (_, n) => `${String(n).padStart(4, '0')}${"'".repeat(n % 124)}`);
    const lists = [...listsOf(ids)];
    assert.deepEqual(lists.flat(), ids);
    for (const list of lists) parseQuery(`SELECT deviceId FROM ${source('devices.modules', ['a = 1', among(list)])}`);
    assert.ok(lists.length < 40, String(lists.length));
    assert.equal([...conditionsOf({ kind: 'devices', ids })].length, lists.length);
  });

  it('keeps conditions apart by parentheses', () => {
    assert.equal(
      source('devices', ['a = 1 OR b = 2', undefined, 'c = 3']),
      'devices WHERE (a = 1 OR b = 2) AND (c = 3)',
    );
    assert.equal(source('devices', [undefined]), 'devices');
  });
});

describe('forEachLimited', () => {
  it('does all, some at once', async () => {
    const done: number[] = [];
    await forEachLimited([1, 2, 3, 4, 5, 6, 7], 3, async (n) => void done.push(n));
    assert.deepEqual(done, [1, 2, 3, 4, 5, 6, 7]);
  });

  it('begins no more after an error, and waits for what has begun', async () => {
    const begun: number[] = [];
    let ended = 0;
    const work = async (n: number) => {
      begun.push(n);
      if (n === 2) throw new Error('two');
      await nextTurn();
      ended += 1;
    };
    await assert.rejects(forEachLimited([1, 2, 3, 4, 5, 6], 2, work), /two/);
    assert.deepEqual([begun, ended], [[1, 2], 1]);
  });
});

describe('The directory of keys', () => {
  it('has a file for each id that a hub allows, and none outside of it', () => {
    const folder = temporaryFolder();
    const keys = new KeyDirectory(join(folder, 'a/keys'));
    for (const id of ['dev1', '..', '-rf', "it's", 'x'.repeat(128)]) {
      keys.write(id, 'a2V5');
      assert.ok(keys.has(id));
    }
    assert.equal(readdirSync(join(folder, 'a/keys')).length, 5);
    for (const id of ['../x', 'a/b', '', 'x'.repeat(129)])
      assert.throws(() => keys.write(id, 'a2V5'), /invalid device id/);
    assert.deepEqual(readdirSync(folder), ['a']);
    assert.equal(existsSync(join(folder, 'x.key')), false);
  });
});
