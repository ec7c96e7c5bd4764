import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { endianness } from 'node:os';
import { dirname } from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import sinon from 'sinon';
import * as v from 'valibot';
import { login as collector } from '../../../../src/agent/collectors/login.ts';
import { inRoot } from '../../../../src/agent/host/in-root.ts';
import {
  type LoginCheckpoint,
  LoginFiles,
  parseLoginCheckpoint,
} from '../../../../src/agent/linux/logins/login-files.ts';
import { utmpLayout } from '../../../../src/agent/linux/logins/utmp.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import type { LoginSeen, Streams } from '../../../../src/core/contract/streams.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { temporaryFolder } from '../../../harness/folders.ts';
import { look } from '../../collectors/samples.ts';
import { utmpRecord, type WtmpdbRow, wtmpdbFile } from './files.ts';

const START = Date.UTC(2024, 4, 1, 12);
const DEAD = { type: 8, user: '', pid: 4711 };

describe('LoginFiles', () => {
  let root: string;
  let clock: sinon.SinonFakeTimers;
  let reported: LoginSeen[];
  let checkpoint: LoginCheckpoint | undefined;
  let batches: number;
  let files: LoginFiles | undefined;
  let changes: number;

  beforeEach(() => {
    root = temporaryFolder();
    clock = sinon.useFakeTimers({ now: START, toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
    reported = [];
    checkpoint = undefined;
    batches = 0;
    changes = 0;
    for (const path of [WTMP, BTMP]) put(path, Buffer.alloc(0));
  });
  afterEach(async () => {
    await files?.close();
    files = undefined;
    clock.restore();
  });

  const [WTMP, BTMP, WTMPDB] = ['var/log/wtmp', 'var/log/btmp', 'var/lib/wtmpdb/wtmp.db'] as const;
  const at = (path: string) => inRoot(root, path);
  const put = (path: string, bytes: Buffer) => {
    mkdirSync(dirname(at(path)), { recursive: true });
    writeFileSync(at(path), bytes);
  };
  const now = () => clock.now;
  /** Adds to a file of struct utmp what happens now. */
  const write = (fields: Parameters<typeof utmpRecord>[0] = {}, path: string = WTMP) =>
    appendFileSync(at(path), utmpRecord({ time: now(), ...fields }));
  const database = (rows: readonly WtmpdbRow[]) => {
    changes += 1;
    put(WTMPDB, wtmpdbFile(rows, changes));
  };

  const open = (from: LoginCheckpoint | undefined = checkpoint) => {
    files = new LoginFiles({
      sink: {
        accept: <K extends keyof Streams>(stream: K, records: readonly Streams[K][]) => {
          assert.equal(stream, 'logins');
          batches += 1;
          reported.push(...(records as readonly LoginSeen[]));
        },
        drop: () => assert.fail('nothing is dropped'),
      },
      clock: systemClock,
      log: pino({ level: 'silent' }),
      hostRoot: root,
      checkpoint: from,
      moved: (moved) => {
        checkpoint = moved;
      },
    });
    files.open();
  };
  const close = async () => {
    await files?.close();
    files = undefined;
  };
  const turn = (ms = 1_000) => clock.tickAsync(ms);
  const brief = () =>
    reported
      .splice(0)
      .map(
        ({ operation, success, userName, terminal }) => `${operation} ${success ? '' : 'Fail '}${userName} ${terminal}`,
      );

  describe('on the first start', () => {
    it('reports only logins after the start', async () => {
      write({ user: 'old' });
      write({ ...DEAD, line: 'pts/7' });
      write({ user: 'nobody', type: 6 }, BTMP);
      open();
      await turn();
      assert.deepEqual(brief(), []);
      write({ user: 'alice', line: 'pts/1' });
      write({ user: 'root', line: 'ssh:notty', type: 6 }, BTMP);
      await turn();
      write({ ...DEAD, line: 'pts/1' });
      await turn();
      assert.deepEqual(brief(), ['Login alice /dev/pts/1', 'Login Fail root ssh:notty', 'Logout alice /dev/pts/1']);
    });

    it('knows who was already logged in, for the logout', async () => {
      write({ user: 'bob', line: 'tty1' });
      database([{ id: 1, user: 'carol', tty: 'pts/9', login: now() - 5_000 }]);
      open();
      await turn();
      write({ ...DEAD, line: 'tty1' });
      database([{ id: 1, user: 'carol', tty: 'pts/9', login: START - 5_000, logout: now() }]);
      await turn();
      assert.deepEqual(brief().sort(), ['Logout bob /dev/tty1', 'Logout carol /dev/pts/9']);
    });
  });

  describe("on a host with a mounted root, where links lead to the host's own folders", () => {
    beforeEach(() => {
      mkdirSync(at('data/log'), { recursive: true });
      rmSync(at('var/log'), { recursive: true });
      mkdirSync(at('var/lib'));
      symlinkSync('/data/log', at('var/log'));
      symlinkSync('/data/db', at('var/lib/wtmpdb'));
      mkdirSync(at('data/db'));
      for (const path of [WTMP, BTMP]) write({ user: 'old' }, path);
    });

    it("reads the host's files, even after a rotation", async () => {
      open();
      write({ user: 'ann' });
      await turn();
      renameSync(at('data/log/wtmp'), at('data/log/wtmp.1'));
      write({ user: 'bob', line: 'pts/1' });
      await turn();
      assert.deepEqual(brief(), ['Login ann /dev/pts/0', 'Login bob /dev/pts/1']);
      assert.match(String(files?.status().reason), /refused logins are seen where/);
    });

    it("reads the host's files to the end if they were rotated in the meantime", async () => {
      open();
      await turn();
      await close();
      write({ user: 'ann' });
      renameSync(at('data/log/wtmp'), at('data/log/wtmp.1'));
      write({ user: 'bob', line: 'pts/1' });
      open();
      await turn();
      assert.deepEqual(brief(), ['Login ann /dev/pts/0', 'Login bob /dev/pts/1']);
    });

    it("reads the host's database", async () => {
      writeFileSync(at('data/db/wtmp.db'), wtmpdbFile([], 1));
      open();
      await turn();
      writeFileSync(at('data/db/wtmp.db'), wtmpdbFile([{ id: 1, user: 'carol', login: now() }], 2));
      await turn();
      assert.deepEqual(brief(), ['Login carol /dev/pts/0']);
    });
  });

  it('reads records as programs with musl write them, on a system with musl', async () => {
    put('bin/busybox', Buffer.from('\x7fELF … /lib/ld-musl-x86_64.so.1\0'));
    symlinkSync('/bin/busybox', at('bin/sh'));
    open();
    const layout = utmpLayout(process.arch, endianness(), { isMusl: true });
    for (const user of ['ann', 'bob']) appendFileSync(at(WTMP), utmpRecord({ user, line: user, time: now() }, layout));
    await turn();
    assert.deepEqual(
      reported.map(({ userName, time }) => [userName, time.getTime()]),
      [
        ['ann', START],
        ['bob', START],
      ],
    );
  });

  it('reports every known field', async () => {
    open();
    write({ host: 'fe80::1%eth0', address: [0xfe, 0x80, ...Array(13).fill(0), 1], pid: 7 });
    write({ host: 'host.example', address: [192, 0, 2, 7], line: 'pts/1' });
    write({ type: 6, line: 'ssh:notty', user: '', host: '192.0.2.8', pid: 8 }, BTMP);
    await turn();
    const time = new Date(START);
    const common = { time, operation: 'Login', success: true, executable: 'unknown', userName: 'alice' };
    assert.deepEqual(reported, [
      { ...common, pid: 7, remote: { address: 'fe80::1' }, zone: 'eth0', terminal: '/dev/pts/0' },
      { ...common, pid: 4711, remote: { address: '192.0.2.7' }, remoteHost: 'host.example', terminal: '/dev/pts/1' },
      {
        ...common,
        success: false,
        pid: 8,
        executable: 'ssh',
        userName: '?',
        remote: { address: '192.0.2.8' },
        terminal: 'ssh:notty',
      },
    ]);
  });

  it('reports logins from this machine itself', async () => {
    open();
    write({ host: '::1', line: 'pts/1' });
    write({ host: '::ffff:192.0.2.7', line: 'pts/2' });
    await turn();
    assert.deepEqual(
      reported.map(({ remote }) => remote?.address),
      ['::1', '192.0.2.7'],
    );
  });

  it('reports the logout of a long session after any number of short ones', async () => {
    open();
    write({ user: 'root', line: 'tty1' });
    await turn();
    for (let count = 0; count < 300; count += 1) {
      write({ user: 'alice', line: 'pts/1', time: START + 1_000 * count });
      write({ ...DEAD, line: 'pts/1', time: START + 1_000 * count + 500 });
    }
    await turn();
    write({ ...DEAD, line: 'tty1' });
    await turn();
    assert.equal(brief().at(-1), 'Logout root /dev/tty1');
  });

  it('names the program that wrote the record while it runs', async () => {
    symlinkSync('/proc', at('proc'));
    clock.restore();
    const time = Date.now();
    clock = sinon.useFakeTimers({ now: time, toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
    open();
    write({ pid: process.pid, time: time + 10_000 }); // the process is young, and this clock is pushed on
    write({ pid: process.pid, time: time - 86_400_000 * 400, line: 'pts/1' });
    await turn();
    assert.deepEqual(
      reported.map(({ executable }) => executable),
      [realpathSync('/proc/self/exe'), 'unknown'],
      'a process that began later is another one',
    );
  });

  describe('reports no login', () => {
    for (const [what, fields] of Object.entries({
      'for a terminal where nobody had logged in': { ...DEAD, line: 'tty1' },
      'for a getty': { type: 6, user: 'LOGIN', line: 'tty1' },
      'for a boot': { type: 2, user: 'reboot', line: '~' },
      'for a window of a terminal emulator': { host: ':0' },
      'for a window of screen': { host: ':pts/3:S.1' },
      'for a window of tmux': { host: 'tmux(4711).%0' },
      'for what mosh keeps': { host: '192.0.2.7 via mosh [4711]' },
      'for a record of no type': { type: 77 },
    })) {
      it(what, async () => {
        open();
        write(fields);
        await turn();
        assert.deepEqual(brief(), []);
      });
    }

    it('ignores users who were logged in before a restart of the machine', async () => {
      open();
      write();
      write({ type: 2, user: 'reboot', line: '~' });
      write({ ...DEAD, line: 'pts/0' });
      await turn();
      assert.deepEqual(brief(), ['Login alice /dev/pts/0']);
    });

    it('ignores su', async () => {
      database([]);
      open();
      database([
        { id: 1, service: 'su-l', login: now(), logout: now() },
        { id: 2, service: 'systemd-user', login: now() },
        { id: 3, type: 1, user: 'reboot', login: now() },
      ]);
      await turn();
      assert.deepEqual(brief(), []);
    });
  });

  it('reports a session once that is in both files', async () => {
    database([]);
    open();
    write({ line: 'pts/1' });
    write({ line: 'pts/2', user: 'bob' });
    const row = { id: 1, tty: 'pts/1', login: now() };
    database([row]);
    await turn();
    database([
      { ...row, logout: now() },
      { id: 2, tty: 'pts/2', user: 'bob', login: START + 300 },
    ]);
    write({ ...DEAD, line: 'pts/1' });
    await turn();
    write({ ...DEAD, line: 'pts/2' });
    await turn();
    assert.deepEqual(brief(), [
      'Login alice /dev/pts/1',
      'Login bob /dev/pts/2',
      'Logout alice /dev/pts/1',
      'Logout bob /dev/pts/2',
    ]);
  });

  it('reports every one of several sessions in fast succession at one terminal', async () => {
    database([]);
    open();
    const rows = [0, 1, 2].map((id) => ({ id: id + 1, login: now() + 400 * id, logout: now() + 400 * id + 100 }));
    for (const { login } of rows) write({ time: login });
    database(rows);
    await turn();
    assert.deepEqual(
      brief(),
      rows.flatMap(() => ['Login alice /dev/pts/0', 'Logout alice /dev/pts/0']),
    );
  });

  it('reports no old login on the first start even if the clock is not set', async () => {
    write({ user: 'old' });
    write({ user: 'eve', line: 'ssh:notty', type: 6 }, BTMP);
    clock.setSystemTime(new Date('1970-01-01T00:01:00Z'));
    open();
    await turn();
    assert.deepEqual(brief(), []);
    write({ user: 'alice', line: 'pts/1' });
    await turn();
    assert.deepEqual(brief(), ['Login alice /dev/pts/1']);
  });

  describe('after the agent was down', () => {
    it('reports missed logins once', async () => {
      database([{ id: 1, tty: 'pts/5', user: 'carol', login: now() - 1 }]);
      open();
      write({ user: 'before' });
      await turn();
      await close();
      reported = [];
      await turn(60_000);
      write({ user: 'alice', line: 'pts/1' });
      write({ ...DEAD, line: 'pts/0' });
      write({ user: 'eve', line: 'ssh:notty', type: 6 }, BTMP);
      database([
        { id: 1, tty: 'pts/5', user: 'carol', login: START - 1, logout: now() },
        { id: 2, tty: 'pts/6', user: 'dave', login: now() },
      ]);
      await turn(60_000);
      for (const expected of [
        [
          'Login Fail eve ssh:notty',
          'Login alice /dev/pts/1',
          'Login dave /dev/pts/6',
          'Logout before /dev/pts/0',
          'Logout carol /dev/pts/5',
        ],
        [],
      ]) {
        open();
        await turn();
        assert.deepEqual(brief().sort(), expected);
        await close();
      }
    });

    it('does not treat future logins as already reported: the clock was ahead', async () => {
      for (const [today, until] of [
        ['2026-03-01T12:00:00Z', '2026-03-01T12:00:00Z'],
        ['1970-01-01T00:01:00Z', '2036-03-01T12:00:00Z'], // now it is the clock that can't be believed
      ] as const) {
        clock.setSystemTime(new Date(today));
        open({ timeMs: Date.parse('2036-03-01T12:00:00Z') });
        assert.equal(checkpoint?.timeMs, Date.parse(until));
        await close();
      }
    });

    it('uses the position, not the time: the clock may have been set back', async () => {
      open();
      write();
      await turn();
      await close();
      reported = [];
      write({ user: 'bob', time: START - 86_400_000 });
      open();
      await turn();
      assert.deepEqual(brief(), ['Login bob /dev/pts/0']);
    });

    it('uses the time if another source has reported since', async () => {
      open();
      write();
      await turn();
      await close();
      reported = [];
      write({ user: 'audit-reported-it', time: START + 10_000, line: 'pts/1' });
      write({ user: 'alice', time: START + 12_000, line: 'pts/2' });
      database([
        { id: 1, user: 'audit-reported-it-too', login: START + 9_000, logout: START + 9_500, tty: 'pts/3' },
        { id: 2, user: 'bob', login: START + 9_000, logout: START + 13_000, tty: 'pts/4' },
      ]);
      await turn(60_000);
      open({ timeMs: START + 10_000 - 20 });
      await turn();
      assert.deepEqual(brief().sort(), ['Login alice /dev/pts/2', 'Logout bob /dev/pts/4']);
    });

    it('reads the rest of a rotated file', async () => {
      open();
      write();
      await turn();
      await close();
      reported = [];
      write({ user: 'bob' });
      renameSync(at(WTMP), at(`${WTMP}.1`));
      write({ user: 'carol' });
      open();
      await turn();
      assert.deepEqual(brief(), ['Login bob /dev/pts/0', 'Login carol /dev/pts/0']);
    });

    it('reads all files rotated since, in order, regardless of the dates in their names', async () => {
      open();
      write();
      await turn();
      await close();
      reported = [];
      const rotate = (suffix: string) => {
        clock.tick(1_000);
        renameSync(at(WTMP), at(`${WTMP}${suffix}`));
        utimesSync(at(`${WTMP}${suffix}`), now() / 1_000, now() / 1_000);
      };
      write({ user: 'bob' });
      rotate('-20260102');
      write({ user: 'carol' });
      rotate('-20260101-1767225600');
      write({ user: 'dave' });
      for (const other of ['-20251231.gz', '.old', '-', 'x.1'])
        put(`${WTMP}${other}`, utmpRecord({ user: other, time: now() }));
      symlinkSync(at(WTMP), at(`${WTMP}.2`));
      open();
      await turn(3_000);
      assert.deepEqual(brief(), ['Login bob /dev/pts/0', 'Login carol /dev/pts/0', 'Login dave /dev/pts/0']);
    });

    it('reads the files rotated since if its last file was removed', async () => {
      open();
      write();
      await turn();
      await close();
      reported = [];
      renameSync(at(WTMP), at('var/log/compressed')); // so that the inode isn't used again
      clock.tick(1_000);
      write({ user: 'bob' });
      renameSync(at(WTMP), at(`${WTMP}-20260102`));
      utimesSync(at(`${WTMP}-20260102`), now() / 1_000, now() / 1_000);
      write({ user: 'carol' });
      open();
      await turn(2_000);
      assert.deepEqual(brief(), ['Login bob /dev/pts/0', 'Login carol /dev/pts/0']);
    });

    it('uses the time without a checkpoint of a file', async () => {
      write({ user: 'old' });
      write({ user: 'bob', time: START + 5_000 });
      renameSync(at(WTMP), at(`${WTMP}.1`));
      utimesSync(at(`${WTMP}.1`), START / 1_000 + 5, START / 1_000 + 5);
      write({ user: 'carol', time: START + 6_000 });
      open({ timeMs: START });
      await turn();
      assert.deepEqual(brief(), ['Login bob /dev/pts/0', 'Login carol /dev/pts/0']);
    });

    it('uses the time if the file is a different one', async () => {
      open();
      write();
      await turn();
      await close();
      reported = [];
      const old = utmpRecord({ user: 'old', time: START - 1_000 });
      rmSync(at(WTMP));
      put('var/log/other', old); // so that the inode isn't used again
      put(WTMP, Buffer.concat([old, utmpRecord({ user: 'bob', time: START + 1 })]));
      open();
      await turn();
      assert.deepEqual(brief(), ['Login bob /dev/pts/0']);
    });

    it('catches up with many logins in small batches without losing any', async () => {
      open();
      await turn();
      await close();
      const records = Array.from({ length: 5_000 }, (_, index) =>
        utmpRecord({ user: `u${index}`, line: `pts/${index}`, time: START + index }),
      );
      appendFileSync(at(WTMP), Buffer.concat(records));
      open();
      await turn(10_000);
      assert.equal(reported.length, 5_000);
      assert.equal(new Set(reported.map(({ userName }) => userName)).size, 5_000);
      assert.ok(batches >= 10, String(batches));
    });
  });

  describe('when files change', () => {
    it('follows a rotated file', async () => {
      open();
      await turn();
      write({ user: 'alice' });
      renameSync(at(WTMP), at(`${WTMP}.1`));
      write({ user: 'bob' });
      await turn();
      write({ user: 'carol' });
      await turn();
      assert.deepEqual(brief(), ['Login alice /dev/pts/0', 'Login bob /dev/pts/0', 'Login carol /dev/pts/0']);
    });

    it('reads a truncated file from the start', async () => {
      write({ user: 'old' });
      open();
      await turn();
      truncateSync(at(WTMP));
      await turn();
      write({ user: 'alice' });
      await turn();
      assert.deepEqual(brief(), ['Login alice /dev/pts/0']);
    });

    it('reads a file that is created later', async () => {
      rmSync(at(BTMP));
      open();
      await turn();
      assert.match(files?.status().reason ?? '', /refused logins are not seen \(\/var\/log\/btmp: ENOENT\)/);
      write({ type: 6 }, BTMP);
      database([{ id: 1, user: 'bob', login: now() + 1 }]);
      await turn();
      assert.deepEqual(brief(), ['Login Fail alice /dev/pts/0', 'Login bob /dev/pts/0']);
      assert.match(files?.status().reason ?? '', /refused logins are seen/);
    });

    it('reads a record that is written in two parts', async () => {
      open();
      const record = utmpRecord({ time: now() });
      appendFileSync(at(WTMP), record.subarray(0, 100));
      await turn();
      assert.deepEqual(brief(), []);
      appendFileSync(at(WTMP), record.subarray(100));
      await turn();
      assert.deepEqual(brief(), ['Login alice /dev/pts/0']);
    });

    it('reads a database while it is written', async () => {
      database([]);
      open();
      put(`${WTMPDB}-journal`, Buffer.from('d9d505f920a163d700000001', 'hex'));
      database([{ id: 1, login: now() }]);
      await turn();
      assert.deepEqual(brief(), []);
      rmSync(at(`${WTMPDB}-journal`));
      await turn();
      assert.deepEqual(brief(), ['Login alice /dev/pts/0']);
    });

    it('reads a database with a kept, truncated or overwritten journal', async () => {
      database([]);
      open();
      put(`${WTMPDB}-journal`, Buffer.alloc(512));
      database([{ id: 1, login: now() }]);
      await turn();
      assert.deepEqual(brief(), ['Login alice /dev/pts/0']);
    });

    it('reads a database whose rows are rotated away, with restarted ids', async () => {
      database([
        { id: 1, login: now() - 1_000 },
        { id: 2, login: now() - 500 },
      ]);
      open();
      await turn();
      database([]);
      await turn();
      database([{ id: 1, user: 'bob', login: now() }]);
      await turn();
      assert.deepEqual(brief(), ['Login bob /dev/pts/0']);
    });

    it('continues after a file that is not a database', async () => {
      put(WTMPDB, Buffer.from('SQLite format 3'));
      open();
      write();
      await turn();
      assert.deepEqual(brief(), ['Login alice /dev/pts/0']);
      assert.doesNotMatch(files?.status().reason ?? '', /wtmp\.db/);
    });

    it('continues if the path is a directory', async () => {
      rmSync(at(WTMP));
      mkdirSync(at(WTMP));
      open();
      write({ type: 6 }, BTMP);
      await turn();
      assert.deepEqual(brief(), ['Login Fail alice /dev/pts/0']);
    });
  });

  it("reports the source's state, and the missing fields", async () => {
    database([]);
    open();
    assert.deepEqual(files?.status(), {
      state: 'degraded',
      source: 'wtmp',
      reason:
        'Read from /var/log/wtmp, /var/lib/wtmpdb/wtmp.db, /var/log/btmp: sessions without a terminal are not recorded there, ' +
        'and refused logins are seen where programs write them to btmp.',
    });
    await close();
    rmSync(at(WTMP));
    open();
    assert.equal(files?.status().source, 'wtmpdb');
  });

  it('rejects with a remedy if there are no files', () => {
    for (const path of [WTMP, BTMP]) rmSync(at(path));
    assert.throws(() => open(), { name: 'AgentError', id: 'SOURCE_UNREADABLE', message: /ENOENT/, remedy: /utmp/ });
    assert.equal(files?.status().state, 'off');
  });

  it('reports what sshd and login(1) of Debian 13 wrote to both files', async () => {
    open();
    put(WTMPDB, readFileSync('test/golden/debian13-6.18/login-wtmp.db'));
    if (utmpLayout().bytes === 384) put(WTMP, readFileSync('test/golden/debian13-6.18/login-wtmp'));
    await turn();
    assert.deepEqual(
      brief(),
      Array.from({ length: 5 }, () => ['Login alice /dev/pts/1', 'Logout alice /dev/pts/1']).flat(),
    );
  });

  it('reports valid events for any file content', async () => {
    const text = fc.oneof(
      fc.constantFrom('alice', '', ':0', '192.0.2.7', 'fe80::1%e', '__proto__', 'ssh:notty'),
      fc.string(),
    );
    const record = fc.oneof(
      fc
        .record({
          type: fc.constantFrom(2, 6, 7, 7, 8, 99),
          line: text,
          user: text,
          host: text,
          pid: fc.integer({ min: -1, max: 9 }),
          time: fc.nat(),
        })
        .map((fields) => utmpRecord(fields)),
      fc.uint8Array({ minLength: 1, maxLength: 500 }).map((bytes) => Buffer.from(bytes)),
    );
    const records = fc.array(record, { maxLength: 8 }).map((parts) => Buffer.concat(parts));
    const row = fc.record({
      type: fc.constantFrom(3, 3, 1),
      user: text,
      login: fc.nat(),
      logout: fc.option(fc.nat(), { nil: undefined }),
      tty: text,
      host: text,
      service: text,
    });
    const rows = fc.array(row, { maxLength: 8 }).map((all) => wtmpdbFile(all.map((each, id) => ({ id, ...each }))));
    await fc.assert(
      fc.asyncProperty(records, records, rows, async (wtmp, btmp, db) => {
        open({ timeMs: 0 });
        put(WTMP, wtmp);
        put(BTMP, btmp);
        put(WTMPDB, db);
        await turn(20);
        await turn();
        await close();
        for (const each of reported.splice(0)) v.parse(collector.payload, collector.translate(each, look));
      }),
      { numRuns: fuzzRuns(2_000) },
    );
  }).timeout(120_000);
});

describe('parseLoginCheckpoint', () => {
  const whole = { timeMs: 5, places: { wtmp: { inode: 1, at: 384 }, wtmpdb: { inode: 2, at: 7 } } };
  for (const [value, expected] of [
    [whole, whole],
    [{ timeMs: 5 }, { timeMs: 5 }],
    [
      { timeMs: 5, places: { btmp: { inode: -1, at: 'x' }, other: 1 } },
      { timeMs: 5, places: {} },
    ],
    [{ timeMs: '5' }, undefined],
    [{}, undefined],
    [null, undefined],
    ['x', undefined],
    [undefined, undefined],
  ] as const) {
    it(`parses ${JSON.stringify(value)}`, () => assert.deepEqual(parseLoginCheckpoint(value), expected));
  }
});
