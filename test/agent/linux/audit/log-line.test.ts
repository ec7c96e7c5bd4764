import assert from 'node:assert/strict';
import fc from 'fast-check';
import { findRecord } from '../../../../src/agent/linux/audit/log-line.ts';
import { fuzzRuns } from '../../../fuzz.ts';

const find = (line: string) => {
  const buffer = Buffer.from(`before\n${line}\nbehind`, 'latin1');
  const start = 'before\n'.length;
  const record = findRecord(buffer, start, start + line.length);
  return record === undefined ? undefined : [record.type, buffer.toString('latin1', record.from, record.to)];
};

describe('findRecord', () => {
  const cases: Record<string, [string, [number, string] | undefined]> = {
    'a raw line': [
      'type=CWD msg=audit(1795546164.720:28): cwd="/root"',
      [1307, 'audit(1795546164.720:28): cwd="/root"'],
    ],
    'an enriched one': [
      'type=SYSCALL msg=audit(1.000:2): arch=c000003e key="vakt"\x1dARCH=x86_64 SYSCALL=execve',
      [1300, 'audit(1.000:2): arch=c000003e key="vakt"'],
    ],
    'one with the name of its machine': [
      'node=pump-7 type=USER_LOGIN msg=audit(1.000:2): x',
      [1112, 'audit(1.000:2): x'],
    ],
    'a type that auditd has no name for': ['type=UNKNOWN[1805] msg=audit(1.000:2): x', [1805, 'audit(1.000:2): x']],
    'a type that nobody reads': ['type=BPF msg=audit(1.000:2): x', [0, 'audit(1.000:2): x']],
    'no record': ['Nov 24 18:00:00 something else', undefined],
    'a type without a message': ['type=SYSCALL', undefined],
    'a name of another field': ['subtype=SYSCALL msg=audit(1.000:2): x', undefined],
    'an endless name': [`type=${'X'.repeat(1_000)} msg=audit(1.000:2): x`, undefined],
    nothing: ['', undefined],
  };
  for (const [what, [line, expected]] of Object.entries(cases)) {
    it(`parses ${what}`, () => assert.deepEqual(find(line), expected));
  }

  it('stays within the line for any input', () => {
    const piece = fc.constantFrom('type=', ' msg=', 'audit(1.2:3): ', 'SYSCALL', 'UNKNOWN[', ']', '\x1d', ' ', 'node=');
    const lines = fc
      .array(fc.oneof(piece, fc.string({ maxLength: 8 })), { maxLength: 12 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(lines, (line) => {
        const buffer = Buffer.from(`type=CWD msg=audit(1.0:1):${line}type=CWD msg=audit(1.0:1):`, 'utf8');
        const [start, end] = [26, buffer.length - 26];
        const record = findRecord(buffer, start, end);
        if (record === undefined) return;
        assert.ok(record.from >= start && record.from <= record.to && record.to <= end);
        assert.ok(Number.isInteger(record.type) && record.type >= 0);
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});
