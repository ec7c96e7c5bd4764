import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { AuditControl, register } from '../src/agent/linux/audit/control.ts';
import { readU16 } from '../src/agent/linux/native/byte-order.ts';
import { HEADER_BYTES } from '../src/agent/linux/native/netlink/message.ts';
import { NETLINK_AUDIT, openNetlink } from '../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../src/core/base/clock.ts';
import { milliseconds, seconds } from '../src/core/base/duration.ts';
import { SshServer } from '../test/system/sshd.ts';
import { atTerminal } from '../test/system/terminal.ts';

/* Captures audit records of all kinds of logins, for test/golden. Run it as root, without an audit daemon:
 *
 *     node dist/scripts/capture-logins.js test/golden/debian13-6.18
 *
 * Writes one file per case, with one record per line: its type, a space, its text. Only records that programs write are
 * kept, and the names of the machine and the account are replaced. It also writes what the same sessions left in wtmp
 * and in the database of wtmpdb(8), and one such database of many pages. A second argument selects one case. */

const [, , folder] = process.argv;
if (folder === undefined) throw new Error('Give the folder to write to.');

/** AUDIT_FIRST_USER_MSG and AUDIT_LAST_USER_MSG of linux/audit.h, as far as libaudit uses them. */
const isUserRecord = (type: number) => type >= 1100 && type < 1200;

const WTMP = '/var/log/wtmp';
const WTMPDB = '/var/lib/wtmpdb/wtmp.db';
const TABLE =
  'CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER, ' +
  'TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT';

const server = await SshServer.start();
const { user, password } = server;
const WRONG = 'wrong';
const master = ['-S', server.path('master')];

const CASES: Readonly<Record<string, () => Promise<unknown>>> = {
  'ssh-terminal': () => server.visit({ terminal: true, input: 'exit\n' }),
  'ssh-command': () => server.visit({ command: ['true'] }),
  'ssh-sftp': () => server.visit({ command: ['-s', 'sftp'] }),
  'ssh-key': () => server.visit({ key: 'right', command: ['true'] }),
  'ssh-key-terminal': () => server.visit({ key: 'right', terminal: true, input: 'exit\n' }),
  'ssh-keyboard-interactive': () => server.visit({ method: 'keyboard-interactive', command: ['true'] }),
  'ssh-two-terminals': () =>
    Promise.all([
      server.visit({ options: ['-M', ...master], command: ['sleep', '3'] }),
      systemClock
        .sleep(seconds(2))
        .then(() => server.visit({ options: master, terminal: true, command: ['true'] }))
        .then(() => server.visit({ options: master, terminal: true, command: ['true'] })),
    ]),
  'ssh-wrong-password': () => server.visit({ passwords: [WRONG] }),
  'ssh-three-wrong-passwords': () => server.visit({ passwords: [WRONG, WRONG, WRONG] }),
  'ssh-wrong-then-right-password': () => server.visit({ passwords: [WRONG, password], command: ['true'] }),
  'ssh-keyboard-interactive-wrong': () =>
    server.visit({ method: 'keyboard-interactive', passwords: [WRONG, WRONG, WRONG] }),
  'ssh-unknown-user': () => server.visit({ user: 'no body', passwords: [WRONG] }),
  'ssh-unknown-user-keyboard-interactive': () =>
    server.visit({ user: 'ghost', method: 'keyboard-interactive', passwords: [WRONG, WRONG] }),
  'ssh-unknown-user-key': () => server.visit({ user: 'ghost', key: 'wrong', method: 'none' }),
  'ssh-wrong-key': () => server.visit({ key: 'wrong', method: 'none' }),
  'ssh-wrong-key-right-password': () => server.visit({ key: 'wrong', command: ['true'] }),
  'ssh-wrong-key-wrong-password': () => server.visit({ key: 'wrong', passwords: [WRONG] }),
  'ssh-expired-account': async () => {
    execFileSync('/usr/bin/chage', ['-E', '0', user]);
    await server.visit({ command: ['true'] });
    await server.visit({ key: 'right', command: ['true'] });
    execFileSync('/usr/bin/chage', ['-E', '-1', user]);
  },
  console: () => atTerminal(['login'], ['login:', user], ['assword:', password], ['$', 'exit']),
  'console-wrong-password': () => atTerminal(['login'], ['login:', user], ['assword:', WRONG]),
  'console-unknown-user': () => atTerminal(['login'], ['login:', 'ghost'], ['assword:', WRONG]),
  su: () => atTerminal(['/usr/sbin/runuser', '-u', user, '--', 'su', '-c', 'true', user], ['assword:', password]),
  'su-login': () => atTerminal(['su', '-l', user, '-c', 'true']),
  sudo: () => atTerminal(['sudo', '-u', user, 'true']),
};

/** wtmp's records from `start` on; the account's name padded to what it was. */
function captureWtmp(to: string, start: number): void {
  const records = readFileSync(WTMP).subarray(start);
  const name = Buffer.from(user);
  for (let at = records.indexOf(name); at !== -1; at = records.indexOf(name))
    records.write('alice'.padEnd(name.length, '\0'), at);
  writeFileSync(to, records);
}

function captureWtmpdb(to: string): void {
  copyFileSync(WTMPDB, to);
  sqlite(to, `DELETE FROM wtmp WHERE User <> '${user}'; UPDATE wtmp SET User = 'alice'; VACUUM;`);
}

/** Pages of 512 bytes, for a tree of three levels; long host names, for overflow pages. */
function captureManyPages(to: string): void {
  const numbers = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)';
  const host = `CASE WHEN i % 40 = 0 THEN printf('%.*c', 20 * i, 'h') ELSE '192.0.2.' || (i % 256) END`;
  const row = `3, 'user' || i, 1700000000000000 + i * 1000000, CASE WHEN i % 7 THEN 1700000500000000 + i END, 'pts/' || i, ${host}, 'login'`;
  writeFileSync(to, '');
  sqlite(
    to,
    `PRAGMA page_size = 512; ${TABLE}; ${numbers} INSERT INTO wtmp(Type, User, Login, Logout, TTY, RemoteHost, Service) ` +
      `SELECT ${row} FROM n; DELETE FROM wtmp WHERE ID BETWEEN 100 AND 149;`,
  );
}

const sqlite = (path: string, sql: string) => execFileSync('/usr/bin/sqlite3', [path, sql]);

const only = process.argv.slice(3);
const control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
const socket = openNetlink(NETLINK_AUDIT, { receiveBufferBytes: 8 * 1024 * 1024 });
const found = await control.status();

function drain(): string[] {
  const records: string[] = [];
  for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive()) {
    const type = readU16(datagram, 4);
    if (isUserRecord(type)) records.push(`${type} ${datagram.toString('latin1', HEADER_BYTES)}\n`);
  }
  return records;
}

const scrubbed = (text: string): string =>
  text.replaceAll(user, 'alice').replaceAll(`hostname=${hostname()} `, 'hostname=device ');

try {
  if (found.pid !== 0) throw new Error(`Process ${found.pid} is the audit daemon.`);
  register(socket);
  await control.set({ enabled: 1, backlogLimit: 8192, backlogWaitTime: 0 });
  const start = statSync(WTMP).size;
  for (const [name, run] of Object.entries(CASES)) {
    if (only.length > 0 && !only.includes(name)) continue;
    drain();
    console.error(name, JSON.stringify(await run()));
    await systemClock.sleep(milliseconds(700));
    writeFileSync(join(folder, `login-${name}.txt`), scrubbed(drain().join('')), 'latin1');
  }
  if (only.length === 0) {
    captureWtmp(join(folder, 'login-wtmp'), start);
    captureWtmpdb(join(folder, 'login-wtmp.db'));
    captureManyPages(join(folder, 'login-wtmp-many-pages.db'));
  }
} finally {
  drain();
  if (found.pid === 0) {
    const { enabled, backlogLimit, backlogWaitTime } = found;
    await control.set({ enabled, backlogLimit, backlogWaitTime });
    await control.set({ pid: 0 });
  }
  await server.stop();
}
