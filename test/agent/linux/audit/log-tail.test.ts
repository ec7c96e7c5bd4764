import assert from 'node:assert/strict';
import { appendFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { LogTail } from '../../../../src/agent/linux/audit/log-tail.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

describe('LogTail', () => {
  let folder: string;
  let log: string;
  let tail: LogTail;

  beforeEach(() => {
    folder = temporaryFolder();
    log = join(folder, 'audit.log');
    writeFileSync(log, 'old\n');
    tail = new LogTail(log);
  });
  afterEach(() => {
    tail.close();
  });

  /** All new lines. */
  const lines = (from = tail): string[] => {
    const all: string[] = [];
    while (from.read((buffer, start, end) => all.push(buffer.toString('utf8', start, end))));
    return all;
  };
  const add = (text: string) => appendFileSync(log, text);
  /** As auditd does it. */
  const rotate = (keep = 3) => {
    for (let number = keep - 1; number > 0; number -= 1) {
      try {
        renameSync(`${log}.${number}`, `${log}.${number + 1}`);
      } catch {}
    }
    renameSync(log, `${log}.1`);
    writeFileSync(log, '');
  };

  it('starts at the end of the file', () => {
    tail.open({});
    add('new\n');
    assert.deepEqual(lines(), ['new']);
    assert.deepEqual(lines(), []);
  });

  it('waits for the end of a line', () => {
    tail.open({});
    add('ha');
    assert.deepEqual(lines(), []);
    add('lf\nnext');
    assert.deepEqual(lines(), ['half']);
  });

  it('continues at the stored position', () => {
    tail.open({});
    add('one\n');
    lines();
    const { position } = tail;
    tail.close();
    add('two\n');
    const next = new LogTail(log);
    next.open({ position });
    assert.deepEqual(lines(next), ['two']);
    next.close();
  });

  for (const times of [1, 2]) {
    it(`follows ${times === 1 ? 'a rotation' : 'two rotations'} between two reads without losing a line`, () => {
      tail.open({});
      for (let time = 1; time <= times; time += 1) {
        add(`before ${time}\n`);
        rotate();
      }
      add('after\n');
      assert.deepEqual(lines(), [...Array.from({ length: times }, (_, time) => `before ${time + 1}`), 'after']);
    });

    it(`continues at the stored position after ${times === 1 ? 'a rotation' : 'two rotations'}`, () => {
      tail.open({});
      const { position } = tail;
      add('missed\n');
      for (let time = 1; time <= times; time += 1) rotate();
      add('after\n');
      const next = new LogTail(log);
      next.open({ position });
      assert.deepEqual(lines(next), ['missed', 'after']);
      next.close();
    });
  }

  it('continues with the oldest file if its own was deleted', () => {
    tail.open({});
    const { position } = tail;
    rotate();
    add('first\n');
    rotate();
    add('second\n');
    rmSync(`${log}.2`);
    const next = new LogTail(log);
    next.open({ position, since: statSync(`${log}.1`).mtimeMs });
    assert.deepEqual(lines(next), ['first', 'second']);
    next.close();
    assert.deepEqual(lines(), ['first', 'second']);
  });

  it('starts with the lines written since a given time', () => {
    tail.open({ since: 0 });
    assert.deepEqual(lines(), ['old']);
  });

  it('starts again at the beginning of a truncated file', () => {
    tail.open({});
    truncateSync(log, 0);
    add('n\n');
    assert.deepEqual(lines(), ['n']);
  });

  it('skips only a line that is too long', () => {
    tail.open({});
    add(`a\n${'x'.repeat(200_000)}\nb\n${'y'.repeat(40_000)}\nc\n`);
    assert.deepEqual(lines(), ['a', 'b', 'c']);
  });

  it('does not block on a missing file', () => {
    rmSync(log);
    assert.throws(() => tail.open({}), /ENOENT/);
    assert.deepEqual(lines(), []);
  });

  it('returns every line once, regardless of how it was written', () => {
    const step = fc.oneof(
      fc.constant('rotate' as const),
      fc.constant('read' as const),
      fc.string({ unit: fc.constantFrom('a', 'é', '\n', ' '), maxLength: 20 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        for (const number of ['', '.1', '.2', '.3']) rmSync(`${log}${number}`, { force: true });
        writeFileSync(log, '');
        const from = new LogTail(log);
        from.open({});
        const seen: string[] = [];
        let file = '';
        const expected: string[] = [];
        let rotations = 0;
        const close = () => {
          expected.push(...file.split('\n').slice(0, -1));
          file = '';
        };
        try {
          for (const one of steps) {
            if (one === 'read') {
              seen.push(...lines(from));
              rotations = 0;
            } else if (one === 'rotate') {
              if (rotations === 2) continue; // of three files kept, the one that is read may not fall out
              rotations += 1;
              close();
              rotate();
            } else {
              file += one;
              add(one);
            }
          }
          close();
          seen.push(...lines(from));
          assert.deepEqual(seen, expected);
        } finally {
          from.close();
        }
      }),
      { numRuns: fuzzRuns(2_000) },
    );
  });
});
