import assert from 'node:assert/strict';
import { excludedTypes } from '../../../src/linux/audit/hiding-rules.ts';
import { CWD, EOE, EXECVE } from '../../../src/linux/audit/reassembler.ts';
import { decodeRule } from '../../../src/linux/audit/rules.ts';
import { ALWAYS, EQUAL, EXCLUDE, exclusionOf, foreignRule, MSGTYPE, TASK_NEVER, UID } from './foreign-rule.ts';

const decoded = (rules: readonly Buffer[]) => rules.map(decodeRule).filter((rule) => rule !== undefined);

describe('Rules of others', () => {
  it('exclude what no start needs to have then', () => {
    assert.deepEqual(excludedTypes(decoded([exclusionOf(EOE), TASK_NEVER])), new Set());
    assert.deepEqual(excludedTypes(decoded([foreignRule(EXCLUDE, ALWAYS, [UID, EQUAL, 1_000])])), new Set());
    assert.deepEqual(excludedTypes(decoded([exclusionOf(EOE), exclusionOf(CWD)])), new Set([CWD]));
    const ofOne = foreignRule(EXCLUDE, ALWAYS, [MSGTYPE, EQUAL, EXECVE], [UID, EQUAL, 1_000]);
    assert.deepEqual(excludedTypes(decoded([ofOne])), new Set([EXECVE]));
  });
});
