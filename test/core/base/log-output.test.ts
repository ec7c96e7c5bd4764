import assert from 'node:assert/strict';
import sinon from 'sinon';
import { LogOutput } from '../../../src/core/base/log-output.ts';

describe('LogOutput', () => {
  let written: string;
  /** Bytes that still fit; then `errno` is thrown. */
  let room: number;
  let errno: string;
  let tries: number;
  let output: LogOutput;
  let time: sinon.SinonFakeTimers;

  beforeEach(() => {
    written = '';
    room = Number.POSITIVE_INFINITY;
    errno = 'ENOSPC';
    tries = 0;
    time = sinon.useFakeTimers();
    output = new LogOutput({
      send: (bytes) => {
        tries += 1;
        if (room === 0) throw Object.assign(new Error('no'), { code: errno });
        const part = bytes.subarray(0, room);
        written += Buffer.from(part).toString();
        room -= part.length;
        return part.length;
      },
    });
  });
  afterEach(() => time.restore());

  const lines = () => written.split('\n').slice(0, -1);

  it('LogOutput writes line by line', () => {
    output.write('a\n');
    output.write('b\n');
    assert.deepEqual(lines(), ['a', 'b']);
  });

  it('LogOutput drops lines that cannot be written, and reports their number as soon as it can', () => {
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
      msg: '2 log lines were dropped because they could not be written.',
    });
    assert.deepEqual(others, ['c', 'd']);
  });

  it('LogOutput reports the full loss even if its first report was dropped and no line follows', async () => {
    room = 0;
    for (let index = 0; index < 20; index += 1) output.write('a\n');
    await time.tickAsync(30_000);
    room = Number.POSITIVE_INFINITY;
    await time.tickAsync(5_000);
    assert.deepEqual(
      lines().map((line) => JSON.parse(line).lines),
      [20],
    );
  });

  it('LogOutput completes a partly written line before any other', () => {
    room = 3;
    output.write('first\n');
    output.write('second\n');
    room = Number.POSITIVE_INFINITY;
    output.write('third\n');
    assert.deepEqual(lines(), ['first', 'second', 'third']);
  });

  it('LogOutput counts correctly if the line about the loss is written in part', () => {
    room = 0;
    output.write('a\n');
    room = 10;
    output.write('b\n');
    room = Number.POSITIVE_INFINITY;
    output.write('c\n');
    const [loss = '', ...others] = lines();
    assert.deepEqual([JSON.parse(loss).lines, ...others], [1, 'b', 'c']);
  });

  it('LogOutput holds lines for a slow reader without blocking, and writes them when it reads again', async () => {
    room = 0;
    errno = 'EAGAIN';
    for (const line of ['a\n', 'b\n', 'c\n']) output.write(line);
    assert.equal(written, '');
    room = 3;
    await time.tickAsync(100);
    assert.equal(written, 'a\nb');
    room = Number.POSITIVE_INFINITY;
    await time.tickAsync(5_000);
    assert.deepEqual(lines(), ['a', 'b', 'c']);
    const before = tries;
    await time.tickAsync(60_000);
    assert.equal(tries, before, 'nothing is left to write');
  });

  it('LogOutput holds 64 KiB of lines, and reports the number of lost lines even if no line follows', async () => {
    room = 0;
    errno = 'EAGAIN';
    const line = `${'x'.repeat(1_023)}\n`;
    for (let index = 0; index < 100; index += 1) output.write(line);
    room = Number.POSITIVE_INFINITY;
    await time.tickAsync(5_000);
    assert.equal(lines().length, 65);
    const { msg, lines: lost } = JSON.parse(lines().at(-1) ?? '');
    assert.equal(lost, 36);
    assert.equal(msg, '36 log lines were dropped because nobody read standard output.');
  });

  it('LogOutput retries a reader that never reads again at most every two seconds', async () => {
    room = 0;
    errno = 'EAGAIN';
    output.write('a\n');
    await time.tickAsync(10_000);
    tries = 0;
    await time.tickAsync(60_000);
    assert.ok(tries <= 30, `${tries} tries`);
  });

  it('LogOutput gives up flushing after one second', async () => {
    room = 0;
    errno = 'EAGAIN';
    output.write('a\n');
    let isOver = false;
    void output.flush().then(() => {
      isOver = true;
    });
    await time.tickAsync(900);
    assert.equal(isOver, false);
    await time.tickAsync(200);
    assert.equal(isOver, true);
  });

  it('LogOutput applies its format to all lines, including its own reports', () => {
    const seen: string[] = [];
    let full = true;
    const shouting = new LogOutput({
      format: (line) => line.toUpperCase(),
      send: (bytes) => {
        if (full) throw new Error('full');
        seen.push(Buffer.from(bytes).toString());
        return bytes.length;
      },
    });
    shouting.write('a\n');
    full = false;
    shouting.write('b\n');
    assert.match(seen[0] ?? '', /"LINES":1,"REASON":"ERROR: FULL"/);
    assert.equal(seen[1], 'B\n');
  });
});
