import assert from 'node:assert/strict';
import * as v from 'valibot';
import type { Primitive } from '../../../../src/agent/baseline/primitive.ts';
import { defaultRules } from '../../../../src/agent/baseline/rule-set.ts';
import type { SystemParts } from '../../../../src/agent/baseline/system.ts';
import type { CheckResult } from '../../../../src/core/contract/baseline.ts';
import { skip } from '../../../harness/require.ts';
import { type Entries, withTree } from '../tree.ts';

/** A rule's parameters, the tree to evaluate, and the expected result. */
export interface Case {
  readonly params: unknown;
  readonly tree: Entries;
  readonly result: CheckResult;
  readonly actual?: string | RegExp;
  readonly where?: string | RegExp;
  readonly reason?: string | RegExp;
  /** The tree has files of other users, which only root can create. */
  readonly asRoot?: boolean;
  readonly parts?: Partial<SystemParts>;
}

const isRoot = process.getuid?.() === 0;

/** One test per case, named after its condition. Each of the four results must occur. */
export function describePrimitive<P>(primitive: Primitive<P>, cases: Readonly<Record<string, Case>>): void {
  describe(`baseline: ${primitive.name}`, () => {
    for (const [what, { params, tree, parts, asRoot, result, ...said }] of Object.entries(cases)) {
      it(`returns ${result}: ${what}`, async function () {
        if (asRoot && !isRoot) skip(this, 'needs root, to make files of others');
        const checked = v.parse(primitive.params, params);
        const verdict = await withTree(tree, (made) => primitive.evaluate(checked, made.system(parts)));
        assert.equal(verdict.result, result, JSON.stringify(verdict));
        for (const key of ['actual', 'where', 'reason'] as const) {
          const wanted = said[key];
          if (typeof wanted === 'string') assert.equal(verdict[key], wanted);
          else if (wanted !== undefined) assert.match(verdict[key] ?? '', wanted);
        }
        assert.notEqual(primitive.expected(checked), '');
        assert.match(primitive.remedy(checked), /\w/);
      });
    }

    it('has cases that pass, fail, err and skip', () => {
      const shown = new Set(Object.values(cases).map(({ result }) => result));
      assert.deepEqual([...shown].sort(), ['err', 'fail', 'pass', 'skip']);
    });
  });
}

/** The parameters of a default rule. */
export const paramsOf = (id: string): object => {
  const params = defaultRules().checks.find(({ rule }) => rule.id === id)?.rule.params;
  assert.ok(params !== undefined && params !== null && typeof params === 'object', id);
  return params;
};

/** Longer than any file that is read. */
export const TOO_LONG = 'x'.repeat(1024 * 1024 + 1);
