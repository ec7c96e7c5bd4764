import assert from 'node:assert/strict';
import type { LogLine } from '../../src/base/log.ts';
import { LogTap } from '../../src/base/log-tap.ts';

const line = (n: number, minute = 0): LogLine => ({
  time: new Date(Date.UTC(2024, 4, 1, 12, minute)),
  level: 'warn',
  message: String(n),
});

describe('LogTap', () => {
  let heard: string[];
  const listener = ({ message }: LogLine) => void heard.push(message);

  beforeEach(() => {
    heard = [];
  });

  it('keeps lines until someone listens, and passes them on once, in order', () => {
    const tap = new LogTap('warn');
    tap.accept(line(1));
    tap.accept(line(2));
    tap.listen(listener);
    assert.deepEqual(heard, ['1', '2']);
    tap.accept(line(3));
    assert.deepEqual(heard, ['1', '2', '3']);
  });

  it('keeps the first hundred', () => {
    const tap = new LogTap('warn');
    for (let n = 0; n < 150; n += 1) tap.accept(line(n, Math.floor(n / 50)));
    tap.listen(listener);
    assert.equal(heard.length, 100);
    assert.equal(heard.at(-1), '99');
  });

  it('passes sixty lines a minute on, and no more', () => {
    const tap = new LogTap('warn');
    tap.listen(listener);
    for (let n = 0; n < 1_000; n += 1) tap.accept(line(n));
    assert.equal(heard.length, 60);
    assert.equal(heard.at(-1), '59');
    for (let n = 0; n < 1_000; n += 1) tap.accept(line(n, 1));
    assert.equal(heard.length, 120);
  });

  it('is not caught by a listener that logs', () => {
    const tap = new LogTap('warn');
    tap.listen((heardLine) => {
      listener(heardLine);
      tap.accept(line(7));
    });
    tap.accept(line(7));
    assert.equal(heard.length, 60);
  });
});
