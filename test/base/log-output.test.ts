import assert from 'node:assert/strict';
import { LogOutput } from '../../src/base/log-output.ts';

describe('LogOutput', () => {
  let written: string;
  /** Bytes that still fit; then `errno` is thrown. */
  let room: number;
  let errno: string;
  let tries: number;
  let output: LogOutput;

  beforeEach(() => {
    written = '';
    room = Number.POSITIVE_INFINITY;
    errno = 'ENOSPC';
    tries = 0;
    output = new LogOutput(undefined, (bytes) => {
      tries += 1;
      if (room === 0) throw Object.assign(new Error('no'), { code: errno });
      const part = bytes.subarray(0, room);
      written += Buffer.from(part).toString();
      room -= part.length;
      return part.length;
    });
  });

  const lines = () => written.split('\n').slice(0, -1);

  it('writes line by line', () => {
    output.write('a\n');
    output.write('b\n');
    assert.deepEqual(lines(), ['a', 'b']);
  });

  it('drops what cannot be written, and says how much that was as soon as it can', () => {
    room = 0;
    output.write('a\n');
    output.write('b\n');
    room = Number.POSITIVE_INFINITY;
    output.write('c\n');
    output.write('d\n');
    const [loss = '', ...others] = lines();
    const { time, ...record } = JSON.parse(loss);
    assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
    assert.deepEqual(record, {
      level: 'warn',
      lines: 2,
      reason: 'ENOSPC',
      msg: 'Lost lines of the log: they could not be written.',
    });
    assert.deepEqual(others, ['c', 'd']);
  });

  it('finishes a line that was cut, before any other', () => {
    room = 3;
    output.write('first\n');
    output.write('second\n');
    room = Number.POSITIVE_INFINITY;
    output.write('third\n');
    const [first, loss = '', third] = lines();
    assert.deepEqual([first, JSON.parse(loss).lines, third], ['first', 1, 'third']);
  });

  it('counts right when the line about the loss is cut itself', () => {
    room = 0;
    output.write('a\n');
    room = 10;
    output.write('b\n');
    room = Number.POSITIVE_INFINITY;
    output.write('c\n');
    const [first = '', second = '', third] = lines();
    assert.deepEqual([JSON.parse(first).lines, JSON.parse(second).lines, third], [1, 1, 'c']);
  });

  it('waits a moment for a reader that is behind, then no more until it reads again', () => {
    room = 0;
    errno = 'EAGAIN';
    const began = performance.now();
    output.write('a\n');
    const waited = performance.now() - began;
    assert.ok(waited >= 150 && waited < 2_000, `${waited} ms`);
    assert.ok(tries > 1 && tries < 50, `${tries} tries`);
    tries = 0;
    for (let i = 0; i < 10; i++) output.write('b\n');
    assert.equal(tries, 10);
    room = Number.POSITIVE_INFINITY;
    output.write('c\n');
    const [loss = '', last] = lines();
    assert.deepEqual([JSON.parse(loss).lines, JSON.parse(loss).reason, last], [11, 'EAGAIN', 'c']);
  });

  it('writes everything as its format says, also what it says itself', () => {
    const seen: string[] = [];
    let full = true;
    const shouting = new LogOutput(
      (line) => line.toUpperCase(),
      (bytes) => {
        if (full) throw new Error('full');
        seen.push(Buffer.from(bytes).toString());
        return bytes.length;
      },
    );
    shouting.write('a\n');
    full = false;
    shouting.write('b\n');
    assert.match(seen[0] ?? '', /"LINES":1,"REASON":"ERROR: FULL"/);
    assert.equal(seen[1], 'B\n');
  });
});
