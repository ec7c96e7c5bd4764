import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { LoginFiles } from '../../src/agent/linux/logins/login-files.ts';
import { utmpLayout } from '../../src/agent/linux/logins/utmp.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import type { LoginSeen, StreamSink, Streams } from '../../src/core/contract/streams.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { require } from '../harness/require.ts';
import { until } from '../harness/until.ts';

const TABLE =
  'CREATE TABLE IF NOT EXISTS wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, ' +
  'Logout INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT;';

const brief = ({ operation, success, userName, terminal, pid }: LoginSeen) =>
  `${operation} ${success ? 'Success' : 'Fail'} ${userName} ${terminal} ${pid}`;

/** Returns a message if `tool` is missing or fails. */
const missing = (tool: string, ...args: string[]): string | undefined =>
  spawnSync(tool, args).error === undefined ? undefined : `there is no ${tool}`;

describe('LoginFiles with files of real programs', () => {
  let root: string;
  let seen: LoginSeen[];
  let files: LoginFiles;
  const [wtmp, btmp] = ['var/log/wtmp', 'var/log/btmp'];
  const database = 'var/lib/wtmpdb/wtmp.db';

  beforeEach(() => {
    root = temporaryFolder();
    seen = [];
    mkdirSync(join(root, 'var/log'), { recursive: true });
    mkdirSync(join(root, 'var/lib/wtmpdb'), { recursive: true });
    for (const path of [wtmp, btmp]) writeFileSync(join(root, path), '');
    const sink: StreamSink = {
      accept: <K extends keyof Streams>(_stream: K, records: readonly Streams[K][]) => {
        seen.push(...(records as readonly LoginSeen[]));
      },
      drop: () => assert.fail('nothing is dropped'),
    };
    files = new LoginFiles({ sink, clock: systemClock, log: pino({ level: 'silent' }), hostRoot: root });
  });
  afterEach(async () => {
    await files.close();
  });

  const sqlite = (sql: string) => {
    const { status, stderr } = spawnSync('/usr/bin/sqlite3', [join(root, database)], { input: sql, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  };
  const insert = (user: string, line: string) =>
    `INSERT INTO wtmp(Type, User, Login, TTY) VALUES(3, '${user}', ${Date.now()}000, '${line}');`;

  /** Waits until this many logins were reported, and checks that no more follow. */
  const reported = async (count: number): Promise<string[]> => {
    await until(
      () => `${count} logins; ${seen.length} were reported`,
      () => seen.length >= count,
    );
    await systemClock.sleep(seconds(1.5));
    return seen.map(brief);
  };

  it("reads the C library's records in the layout of this architecture", async function () {
    const compiler = ['cc', 'gcc', 'clang'].find((name) => missing(name, '--version') === undefined);
    require(this, compiler === undefined ? 'there is no C compiler' : undefined);
    const program = join(root, 'utmp');
    const source = new URL('../../../test/system/native/utmp.c', import.meta.url).pathname;
    assert.equal(spawnSync(compiler ?? '', ['-o', program, source]).status, 0);
    const write = (path: string, type: number, ...rest: string[]) => {
      const { stdout } = spawnSync(program, [join(root, path), String(type), ...rest], { encoding: 'utf8' });
      assert.equal(Number(stdout), utmpLayout().bytes);
    };
    write(wtmp, 7, '4000', 'pts/9', 'before', '', '-');
    files.open();
    write(wtmp, 7, '4711', 'pts/1', 'alice', 'host.example', '2001:db8::7');
    write(btmp, 6, '4712', 'ssh:notty', 'eve', '192.0.2.7', '192.0.2.7');
    write(wtmp, 8, '4711', 'pts/1', '', '', '-');
    write(wtmp, 8, '4000', 'pts/9', '', '', '-');
    assert.deepEqual(await reported(4), [
      'Login Success alice /dev/pts/1 4711',
      'Login Fail eve ssh:notty 4712',
      'Logout Success alice /dev/pts/1 4711',
      'Logout Success before /dev/pts/9 4000',
    ]);
    const [alice, eve] = seen;
    assert.deepEqual([alice?.remote, alice?.remoteHost], [{ address: '2001:db8::7' }, 'host.example']);
    assert.deepEqual([eve?.remote, eve?.remoteHost, eve?.executable], [{ address: '192.0.2.7' }, undefined, 'ssh']);
    assert.ok(seen.every(({ time }) => Math.abs(time.getTime() - Date.now()) < 30_000));
  });

  it('reports rows of wtmpdb after a rotation', async function () {
    require(this, missing('/usr/bin/sqlite3', '--version') ?? missing('/usr/bin/wtmpdb', '--version'));
    sqlite(TABLE + insert('old', 'pts/1'));
    files.open();
    sqlite(insert('alice', 'pts/2'));
    await reported(1);
    const { status, stderr } = spawnSync('/usr/bin/wtmpdb', ['rotate', '-d', '0', '-f', join(root, database)], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
    await reported(1);
    sqlite(insert('bob', 'pts/3'));
    assert.deepEqual(await reported(2), ['Login Success alice /dev/pts/2 0', 'Login Success bob /dev/pts/3 0']);
  });

  it('reports each row of wtmpdb once while rows are written without a pause', async function () {
    require(this, missing('/usr/bin/sqlite3', '--version'));
    sqlite(TABLE);
    files.open();
    const writer = spawn('/usr/bin/sqlite3', [join(root, database)], { stdio: ['pipe', 'ignore', 'inherit'] });
    const ended = once(writer, 'close');
    // One transaction per row. A writer that never syncs leaves hardly a moment without a journal.
    writer.stdin.write('PRAGMA synchronous = OFF;\n');
    const users = Array.from({ length: 2_000 }, (_, index) => `u${index}`);
    for (const user of users)
      writer.stdin.write(`${insert(user, `pts/${user}`)} UPDATE wtmp SET Logout = Login + 1 WHERE User = '${user}';\n`);
    writer.stdin.end();
    await ended;
    await reported(4_000);
    const logins = seen.filter(({ operation }) => operation === 'Login').map(({ userName }) => userName);
    const logouts = seen.filter(({ operation }) => operation === 'Logout').map(({ userName }) => userName);
    assert.deepEqual(logins.sort(), [...users].sort());
    assert.deepEqual(logouts.sort(), [...users].sort());
  });

  it('reads a database in WAL mode once its writer has closed it', async function () {
    require(this, missing('/usr/bin/sqlite3', '--version'));
    sqlite(`PRAGMA journal_mode = WAL; ${TABLE}`);
    files.open();
    sqlite(insert('alice', 'pts/1'));
    assert.deepEqual(await reported(1), ['Login Success alice /dev/pts/1 0']);
  });
});
