import assert from 'node:assert/strict';
import type { write } from 'node:fs';
import sinon from 'sinon';
import { LogOutput } from '../../../src/core/base/log-output.ts';
import { byThread } from '../../../src/core/base/output-descriptor.ts';

describe('What a thread writes', () => {
  let written: string;
  /** Bytes that still fit; then ENOSPC. */
  let room: number;
  let output: LogOutput;
  let time: sinon.SinonFakeTimers;

  beforeEach(() => {
    written = '';
    room = Number.POSITIVE_INFINITY;
    time = sinon.useFakeTimers();
    const later = (_: number, bytes: Uint8Array, done: (error: Error | null, written: number) => void) =>
      setTimeout(() => {
        if (room === 0) return done(Object.assign(new Error('full'), { code: 'ENOSPC' }), 0);
        const part = bytes.subarray(0, room);
        written += Buffer.from(part).toString();
        room -= part.length;
        done(null, part.length);
      }, 1);
    output = new LogOutput({ send: byThread(1, later as unknown as typeof write) });
  });
  afterEach(() => time.restore());

  const lines = () => written.split('\n').slice(0, -1);
  const told = () => lines().flatMap((line) => (line.startsWith('{') ? [JSON.parse(line).lines as number] : []));
  const burst = async (count: number) => {
    for (let index = 0; index < count; index += 1) output.write(`line ${index}\n`);
    await time.tickAsync(5_000);
  };

  it('the writing thread writes all lines in order', async () => {
    await burst(3);
    assert.deepEqual(lines(), ['line 0', 'line 1', 'line 2']);
  });

  it('the writing thread counts lines whose write fails, including a failed report of the loss', async () => {
    room = 0;
    await burst(20);
    await burst(1);
    room = Number.POSITIVE_INFINITY;
    await burst(1);
    await burst(1);
    assert.equal(
      told().reduce((all, count) => all + count, 0) + lines().filter((line) => /^line/.test(line)).length,
      23,
    );
  });

  it('the writing thread completes a partly written line, and counts only the lines after it', async () => {
    room = 3;
    await burst(20);
    room = Number.POSITIVE_INFINITY;
    await burst(1);
    await burst(1);
    assert.equal(lines()[0], 'line 0');
    assert.equal(
      told().reduce((all, count) => all + count, 0) + lines().filter((line) => /^line/.test(line)).length,
      22,
    );
  });
});
