import assert from 'node:assert/strict';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { envelope } from '../../../src/agent/pipeline/envelope.ts';
import { printable } from '../../../src/core/base/text.ts';
import { describeEvent, differences } from '../../../src/core/command-line/describe.ts';
import type { Collector } from '../../../src/core/contract/collector.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import { look, records, sources } from '../../agent/collectors/samples.ts';

const TIME = new Date('2024-05-01T12:00:00.000Z');

const describeOf = (name: string, payload: readonly Payload[]) => {
  const [any] = collectors;
  assert.ok(any);
  return describeEvent(envelope({ ...any, name }, payload, TIME));
};

/** What a collector makes of the samples. */
async function payloadOf(collector: Collector): Promise<Payload[]> {
  if (collector.category === 'Periodic') return collector.collect(sources, new AbortController().signal);
  return [collector.translate(records[collector.stream], look) ?? assert.fail()];
}

const process: Payload = {
  Executable: '/usr/bin/ls',
  CommandLine: 'ls -l',
  ProcessId: 7,
  UserId: '0',
  UserName: 'root',
};

describe('describeEvent', () => {
  it('prints a process start in one line', () => {
    assert.deepEqual(describeOf('ProcessCreate', [process]), [
      'ProcessCreate           root ran ls -l  [/usr/bin/ls, pid 7]',
    ]);
  });

  it('prints the count of an aggregated event', () => {
    const counted = { ...process, ProcessId: 0, ExtraDetails: { HitCount: '12' } };
    assert.match(describeOf('ProcessCreate', [counted])[0] ?? '', /\[\/usr\/bin\/ls, 12 times\]$/);
  });

  it('names the user by id when it has no name', () => {
    const { UserName: _, ...nameless } = process;
    assert.match(describeOf('ProcessCreate', [nameless])[0] ?? '', /^ProcessCreate +0 ran ls -l/);
  });

  it('prints that nothing was found', () => {
    assert.deepEqual(describeOf('LocalUsers', []), ['LocalUsers              nothing found']);
  });

  it('shows eight elements under one title, and counts the rest', () => {
    const rows = Array.from({ length: 20 }, (_, n) => ({ ...process, CommandLine: `ls ${n}` }));
    const lines = describeOf('ProcessCreate', rows);
    assert.equal(lines.length, 9);
    assert.match(lines[0] ?? '', /^ProcessCreate +root ran ls 0 /);
    assert.match(lines[7] ?? '', /^ {24}root ran ls 7 /);
    assert.equal(lines[8], `${' '.repeat(24)}… and 12 more`);
  });

  it('prints the number of the part of a snapshot', () => {
    const SnapshotId = '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f';
    const row = {
      UserName: 'eve',
      UserId: '7',
      GroupNames: 'eve',
      ExtraDetails: { Part: '2', Parts: '3', SnapshotId },
    };
    assert.deepEqual(describeOf('LocalUsers', [row]), [
      'LocalUsers              eve (7) in eve',
      `${' '.repeat(24)}part 2 of 3, snapshot ${SnapshotId}`,
    ]);
  });

  it('shows an unlisted event field by field, cut', () => {
    const payload = { A: 1, B: 'x', C: [2], ExtraDetails: { D: 'y' } };
    assert.deepEqual(describeOf('Unknown', [payload]), ['Unknown                 A 1, B x, C [2], D y']);
    assert.ok((describeOf('Unknown', [{ A: 'x'.repeat(1_000) }])[0] ?? '').length < 200);
  });

  it('cuts a long command line', () => {
    const [line = ''] = describeOf('ProcessCreate', [{ ...process, CommandLine: 'x'.repeat(1_000) }]);
    assert.ok(line.length < 200 && line.includes('…'));
  });

  it('lets no command line move the cursor', () => {
    const [line = ''] = describeOf('ProcessCreate', [{ ...process, CommandLine: 'a\u001b[2Jb\r\nc\u009bd' }]);
    assert.match(line, /ran a·\[2Jb··c·d /);
  });

  for (const collector of collectors) {
    it(`has words for ${collector.name}`, async () => {
      const payload = await payloadOf(collector);
      assert.ok(payload.length > 0);
      for (const line of describeEvent(envelope(collector, payload, TIME))) assert.doesNotMatch(line, /[{}]|undefined/);
    });
  }
});

describe('printable', () => {
  it('leaves text in any language alone', () => assert.equal(printable('añ日😀 "x"'), 'añ日😀 "x"'));
  it('shows control characters as dots', () => assert.equal(printable('\u0000\t\u001b\u007f\u0085'), '·····'));
});

describe('differences', () => {
  for (const [what, before, after, expected] of [
    ['nothing', { a: { b: 1 } }, { a: { b: 1 } }, []],
    ['a new leaf', {}, { a: { b: 1, c: 'x' } }, ['a.b = 1', 'a.c = "x"']],
    ['a leaf with another value', { a: { b: 1, c: 2 } }, { a: { b: 1, c: 3 } }, ['a.c = 3']],
    ['a leaf that is gone', { a: { b: 1 }, c: 2 }, { c: 2 }, ['a removed']],
    ['a leaf that became a branch', { a: 1 }, { a: { b: 2 } }, ['a.b = 2']],
    ['a branch that became a leaf', { a: { b: 2 } }, { a: 1 }, ['a = 1']],
    ['everything, from nothing', undefined, { a: 1 }, ['a = 1']],
    ['null', { a: 1 }, { a: null }, ['a = null']],
  ] as const) {
    it(`lists ${what}`, () => assert.deepEqual(differences(before, after), expected));
  }
});
