import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { isJournal, journalLine } from '../../../src/core/base/journal.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { temporaryFolder } from '../../harness/folders.ts';

describe('journalLine', () => {
  const say = (level: string, fields: object = {}) =>
    journalLine(`${JSON.stringify({ level, time: '2024-05-01T12:34:56.789Z', ...fields, msg: 'Waits.' })}\n`);

  for (const [level, priority] of [
    ['fatal', 2],
    ['error', 3],
    ['warn', 4],
    ['info', 6],
    ['debug', 7],
    ['trace', 7],
  ] as const) {
    it(`journalLine starts a line of level ${level} with <${priority}>`, () => {
      assert.equal(say(level), `<${priority}>Waits.\n`);
    });
  }

  it('journalLine puts the message first, then the fields as one JSON object', () => {
    const line = say('warn', { part: 'hub', waitMs: 4_000 });
    assert.equal(line, '<4>Waits. {"part":"hub","waitMs":4000}\n');
  });

  it('journalLine returns one line with one priority even if the record contains line breaks', () => {
    const record = { level: 'error', reason: 'a\n<0>b\u009b31m\u2028', msg: 'No.\n<0>Forged\u007f' };
    const line = journalLine(`${JSON.stringify(record)}\n`);
    assert.match(line, /^<3>No\.·<0>Forged· \{"reason":"a\\n<0>b/);
    assert.doesNotMatch(line.slice(0, -1), /\p{Cc}/u);
  });

  it('journalLine formats the lines of the log', () => {
    const written: string[] = [];
    const log = createLog({ level: 'trace', destination: { write: (line) => written.push(journalLine(line)) } });
    log.child({ part: 'hub' }).warn({ err: new Error('odd') }, 'Could not connect.');
    assert.match(written[0] ?? '', /^<4>Could not connect\. \{"part":"hub","err":\{"type":"Error","message":"odd"/);
  });
});

describe('isJournal', () => {
  let folder: string;
  let fd: number;

  beforeEach(() => {
    folder = temporaryFolder();
    fd = openSync(join(folder, 'output'), 'w');
  });

  const stream = () => {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return `${dev}:${ino}`;
  };

  it('isJournal returns true only for the descriptor that JOURNAL_STREAM names', () => {
    assert.equal(isJournal(fd, { JOURNAL_STREAM: stream() }), true);
    const other = openSync(join(folder, 'other'), 'w');
    assert.equal(isJournal(other, { JOURNAL_STREAM: stream() }), false);
    closeSync(other);
    closeSync(fd);
  });

  it('isJournal returns false without a valid JOURNAL_STREAM, and for a closed descriptor', () => {
    assert.equal(isJournal(fd, {}), false);
    assert.equal(isJournal(fd, { JOURNAL_STREAM: '1:2:3' }), false);
    const named = stream();
    closeSync(fd);
    assert.equal(isJournal(fd, { JOURNAL_STREAM: named }), false);
  });
});
