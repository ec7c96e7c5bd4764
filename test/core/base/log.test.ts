import assert from 'node:assert/strict';
import { AgentError } from '../../../src/core/base/errors.ts';
import {
  AdjustableLevel,
  createLog,
  LOG_LEVELS,
  type LogLevel,
  type LogLine,
  logError,
  readable,
} from '../../../src/core/base/log.ts';

describe('createLog', () => {
  let written: string[];
  let tapped: LogLine[];

  beforeEach(() => {
    written = [];
    tapped = [];
  });

  const create = (level: LogLevel, tapLevel?: LogLevel) =>
    createLog({
      level,
      destination: { write: (line) => written.push(line) },
      ...(tapLevel === undefined ? {} : { tap: { level: tapLevel, accept: (line) => tapped.push(line) } }),
    });
  const parsed = () => written.map((line) => JSON.parse(line));

  it('the log writes one JSON object per line, with the time in UTC and the name of the level', () => {
    create('info').info({ waitMs: 4_000 }, 'Could not\nreach the hub.');
    assert.match(written[0] ?? '', /^\{[^\n]*\}\n$/);
    const { time, ...line } = parsed()[0];
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(line, { level: 'info', waitMs: 4_000, msg: 'Could not\nreach the hub.' });
  });

  for (const [at, level] of LOG_LEVELS.entries()) {
    it(`the log writes only lines of level ${level} or above if that is its level`, () => {
      const log = create(level);
      for (const name of LOG_LEVELS) if (name !== 'silent') log[name](name);
      assert.deepEqual(
        parsed().map(({ msg }) => msg),
        LOG_LEVELS.slice(at, -1),
      );
    });

    it(`the tap receives only lines of its level ${level} or above, regardless of the log's own level`, () => {
      for (const own of ['trace', 'silent'] as const) {
        tapped = [];
        const log = create(own, level);
        for (const name of LOG_LEVELS) if (name !== 'silent') log[name](name);
        assert.deepEqual(
          tapped.map((line) => line.level),
          LOG_LEVELS.slice(at, -1),
        );
      }
    });
  }

  it('a changed level applies to the log and its children, but not to the tap', () => {
    const level = new AdjustableLevel('warn');
    const log = createLog({
      level,
      destination: { write: (line) => written.push(line) },
      tap: { level: 'error', accept: (line) => tapped.push(line) },
    });
    const part = log.child({ part: 'hub' }).child({ deeper: true });
    const say = () => {
      for (const one of [log, part]) for (const name of ['debug', 'info', 'error'] as const) one[name](name);
      return parsed().map(({ msg }) => msg);
    };
    assert.deepEqual(say(), ['error', 'error']);
    written = [];
    level.change('debug');
    assert.deepEqual(say(), ['debug', 'info', 'error', 'debug', 'info', 'error']);
    written = [];
    level.change('silent');
    assert.deepEqual(say(), []);
    assert.equal(tapped.length, 6);
    level.change('info');
    log.child({}).info('A child that comes later.');
    assert.equal(written.length, 1);
  });

  it('the levels of log and tap are independent', () => {
    const log = create('info', 'error');
    log.warn('Mind this.');
    assert.deepEqual([written.length, tapped.length], [1, 0]);
    const other = create('error', 'info');
    other.warn('Mind this.');
    assert.deepEqual([written.length, tapped.length], [1, 1]);
  });

  for (const field of ['sharedAccessKey', 'connectionString', 'privateKey', 'password']) {
    it(`the log never writes a ${field}`, () => {
      const log = create('info', 'info');
      log.info({ [field]: 'S3CRET' }, 'Here.');
      log.info({ options: { [field]: 'S3CRET' } }, 'There.');
      log.child({ part: 'hub' }).info({ options: { [field]: 'S3CRET' } }, 'Elsewhere.');
      assert.equal(written.length, 3);
      assert.doesNotMatch(written.join(''), /S3CRET/);
    });
  }

  it('the log writes the fields of an AgentError and its cause', () => {
    const cause = new Error('connect ECONNREFUSED');
    const err = new AgentError('HUB_UNREACHABLE', 'cannot reach the hub', 'Check the network.', { cause });
    create('info').warn({ err }, 'Could not connect.');
    const { id, code, reason, remedy, message, cause: why } = parsed()[0].err;
    assert.deepEqual(
      { id, code, reason, remedy, message },
      {
        id: 'HUB_UNREACHABLE',
        code: 'Other',
        reason: 'Other',
        remedy: 'Check the network.',
        message: 'cannot reach the hub',
      },
    );
    assert.equal(why.message, 'connect ECONNREFUSED');
  });

  it('the tap receives the message, the error, its id and its remedy', () => {
    const log = create('silent', 'warn');
    const err = new AgentError('HUB_UNREACHABLE', 'cannot reach the hub', 'Check the network.');
    log.warn({ err }, 'Could not connect.');
    log.warn({ err: new Error('odd') }, 'Could not read.');
    log.warn('Mind this.');
    log.warn({ waitMs: 1 });
    const [first, ...others] = tapped.map(({ time, ...line }) => {
      assert.ok(time instanceof Date && Math.abs(time.getTime() - Date.now()) < 60_000);
      return line;
    });
    assert.deepEqual(first, {
      level: 'warn',
      message: 'Could not connect. (cannot reach the hub)',
      id: 'HUB_UNREACHABLE',
      remedy: 'Check the network.',
    });
    assert.deepEqual(others, [
      { level: 'warn', message: 'Could not read. (odd)' },
      { level: 'warn', message: 'Mind this.' },
      { level: 'warn', message: '' },
    ]);
  });
});

describe('logError', () => {
  it("logError logs the error in the contract's format, with the remedy as a field", () => {
    const written: string[] = [];
    const log = createLog({ level: 'info', destination: { write: (line) => written.push(line) } });
    logError(log, new AgentError('CONFIG_FILE_MISSING', '/x does not exist', 'Create it.'));
    const { time: _, ...line } = JSON.parse(written[0] ?? '');
    assert.deepEqual(line, {
      level: 'error',
      id: 'CONFIG_FILE_MISSING',
      code: 'Local Configuration',
      reason: 'File Not Exist',
      remedy: 'Create it.',
      msg: 'vakt encountered an error! Error in: Local Configuration, reason: File Not Exist, extra details: /x does not exist',
    });
  });
});

describe('readable', () => {
  it('readable formats a line with its time, level, message and fields', () => {
    const line = {
      time: '2024-05-01T12:34:56.789Z',
      level: 'warn',
      part: 'hub',
      waitMs: 4_000,
      list: [1],
      msg: 'Waits.',
    };
    assert.equal(readable(JSON.stringify(line)), '12:34:56 warn  Waits. part=hub waitMs=4000 list=[1]\n');
  });

  it("readable adds the error's message, not its stack", () => {
    const line = {
      time: '2024-05-01T12:34:56.789Z',
      level: 'error',
      err: { message: 'odd', stack: 'long' },
      msg: 'No.',
    };
    assert.equal(readable(JSON.stringify(line)), '12:34:56 error No. err=odd\n');
  });

  it('readable returns no control or invisible characters from any field', () => {
    const hostile = 'a\u001b[2J\u202eb\n';
    const line = {
      time: '2026-05-01T12:34:56.000Z',
      level: 'warn',
      msg: hostile,
      exe: hostile,
      err: { message: hostile },
    };
    assert.doesNotMatch(readable(JSON.stringify(line)).slice(0, -1), /[\p{Cc}\p{Cf}]/u);
  });
});
