import assert from 'node:assert/strict';
import { createLog, type LogLine } from '../../../src/core/base/log.ts';
import { LogTap, RecentLines } from '../../../src/core/base/log-tap.ts';

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

  it('LogTap keeps lines until listen is called, and passes them on once, in order', () => {
    const tap = new LogTap('warn');
    tap.accept(line(1));
    tap.accept(line(2));
    tap.listen(listener);
    assert.deepEqual(heard, ['1', '2']);
    tap.accept(line(3));
    assert.deepEqual(heard, ['1', '2', '3']);
  });

  it('LogTap keeps the first 100 lines', () => {
    const tap = new LogTap('warn');
    for (let n = 0; n < 150; n += 1) tap.accept(line(n, Math.floor(n / 50)));
    tap.listen(listener);
    assert.equal(heard.length, 100);
    assert.equal(heard.at(-1), '99');
  });

  it('LogTap passes on at most 60 lines per minute', () => {
    const tap = new LogTap('warn');
    tap.listen(listener);
    for (let n = 0; n < 1_000; n += 1) tap.accept(line(n));
    assert.equal(heard.length, 60);
    assert.equal(heard.at(-1), '59');
    for (let n = 0; n < 1_000; n += 1) tap.accept(line(n, 1));
    assert.equal(heard.length, 60 + 1 + 60); // one says how many were dropped
  });

  describe('above the limits', () => {
    let lost: number[];
    let tap: LogTap;
    beforeEach(() => {
      lost = [];
      tap = new LogTap('warn');
    });
    const listen = () => tap.listen(listener, (count) => void lost.push(count));
    const many = (count: number, of: (n: number) => LogLine = line) => {
      for (let n = 0; n < count; n += 1) tap.accept(of(n));
    };
    const isSaid = (count: number) => heard.filter((text) => text.startsWith(`Dropped ${count} `)).length === 1;

    it('LogTap counts each dropped line immediately, and reports their number in the next minute', () => {
      listen();
      many(100);
      assert.equal(lost.length, 40);
      assert.equal(heard.length, 60);
      tap.accept(line(100, 1));
      assert.ok(isSaid(40), heard.join());
      assert.equal(heard.at(-1), '100');
      tap.accept(line(101, 2));
      assert.equal(heard.length, 63);
    });

    it('LogTap reports the number of dropped lines when the listener ends', () => {
      const end = listen();
      many(100);
      end();
      assert.ok(isSaid(40), heard.join());
    });

    it('LogTap counts the lines that were dropped before listen was called', () => {
      for (let n = 0; n < 150; n += 1) tap.accept(line(n, Math.floor(n / 50)));
      listen();
      assert.deepEqual(lost, [50]);
      tap.accept(line(150, 3));
      assert.ok(isSaid(50), heard.join());
    });

    it('LogTap limits each level and each known id separately, and ignores lines about alerts', () => {
      listen();
      many(100, (n) => ({ ...line(n), isAlert: true }));
      assert.deepEqual([heard, lost], [[], []]);
      many(100);
      many(100, (n) => ({ ...line(n), id: 'IO_URING_USED' }));
      many(100, (n) => ({ ...line(n), id: `SOMETHING_${n}` })); // unknown ids have no limit of their own
      assert.equal(heard.length, 70);
      tap.accept({ ...line(0), id: 'AUDIT_TAMPERED', message: 'tampered' });
      tap.accept({ ...line(0), level: 'error', message: 'error' });
      assert.deepEqual(heard.slice(70), ['tampered', 'error']);
    });
  });

  it('LogTap also limits lines that its own listener logs', () => {
    const tap = new LogTap('warn');
    tap.listen((heardLine) => {
      listener(heardLine);
      tap.accept(line(7));
    });
    tap.accept(line(7));
    assert.equal(heard.length, 60);
  });
});

describe('RecentLines', () => {
  const recent = () => {
    const lines = new RecentLines();
    return { lines, log: createLog({ level: 'silent', tap: lines }) };
  };

  it('RecentLines keeps warnings and errors with their messages, ids and remedies', () => {
    const { lines, log } = recent();
    log.info('Connected.');
    log.warn({ err: new Error('ENOENT') }, 'Could not look.');
    log.error({ id: 'TWIN_INVALID', remedy: 'Correct it.' }, 'Refused.');
    assert.deepEqual(
      lines.all().map(({ level, message, id, remedy }) => [level, message, id, remedy]),
      [
        ['warn', 'Could not look. (ENOENT)', undefined, undefined],
        ['error', 'Refused.', 'TWIN_INVALID', 'Correct it.'],
      ],
    );
  });

  it('RecentLines keeps the last 50 lines, each truncated', () => {
    const { lines, log } = recent();
    for (let number = 1; number <= 60; number += 1)
      log.warn({ remedy: 'y'.repeat(600) }, `${number} ${'x'.repeat(600)}`);
    assert.deepEqual([lines.all().length, lines.all()[0]?.message.slice(0, 3)], [50, '11 ']);
    for (const { message, remedy } of lines.all()) assert.deepEqual([message.length, remedy?.length], [500, 500]);
  });
});
