import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { AuditControl, register } from '../src/agent/linux/audit/control.ts';
import { syscallRules } from '../src/agent/linux/audit/rules.ts';
import { abisOf } from '../src/agent/linux/audit/syscalls.ts';
import { KINDS as HARDWARE_KINDS } from '../src/agent/linux/machine/hardware/kinds.ts';
import { readU16, readU32 } from '../src/agent/linux/native/byte-order.ts';
import { HEADER_BYTES } from '../src/agent/linux/native/netlink/message.ts';
import {
  NETLINK_AUDIT,
  NETLINK_CONNECTOR,
  type NetlinkSocket,
  openNetlink,
} from '../src/agent/linux/native/netlink/socket.ts';
import {
  encodeRequest,
  GROUPS,
  IGNORE,
  LISTEN,
  MESSAGE_TYPE,
  NONE,
} from '../src/agent/linux/processes/connector/messages.ts';
import { CONNECTION_RULES } from '../src/agent/linux/sockets/connections/socket-calls.ts';
import { readBytes } from '../src/core/base/bounded-file.ts';
import { systemClock } from '../src/core/base/clock.ts';
import { milliseconds, seconds } from '../src/core/base/duration.ts';
import { suiteFolder } from '../test/harness/folders.ts';
import { readArguments, wrongUsage } from '../test/harness/options.ts';
import { Connector } from '../test/system/connector.ts';
import { type Call32, elf32 } from '../test/system/elf32.ts';
import { missingForAudit } from '../test/system/missing-for-audit.ts';
import { SshServer } from '../test/system/sshd.ts';
import { atTerminal } from '../test/system/terminal.ts';
import { captureFirewall } from './capture/firewall.ts';

/*
 * npm run capture: writes data from this machine's kernel and tools, as in test/golden. Only hardware can be captured
 * without root. Audit records can't be captured while an audit daemon runs; connections also need x86_64 and a C
 * compiler. Audit records are written one per line, as type, space and text.
 *
 * Read a listing of hardware before you commit it: it contains serial numbers. The listings in debian13-6.12 are from
 * Debian's kernels in QEMU: hardware-pc.txt from a q35 with UEFI and all that can be plugged into it, and with a stick
 * made by the kernel's own USB gadgets (dummy_hcd, configfs) under a hostile name; hardware-raspberry-pi-3.txt from a
 * raspi3b, copied there with BusyBox and captured from the copy.
 */

interface Target {
  readonly folder: string;
  /** The root directory of the machine whose hardware is captured. */
  readonly root: string;
  /** The logins to capture; all if empty. */
  readonly cases: readonly string[];
  readonly write: (file: string, contents: string | Buffer) => void;
}

// Audit records

interface AuditRecord {
  readonly type: number;
  /** The number of the event. */
  readonly serial: string;
  readonly text: string;
}

/** @param scrub is applied to the text of each record */
const linesOf = (records: readonly AuditRecord[], scrub = (text: string): string => text): Buffer =>
  Buffer.from(records.map(({ type, text }) => `${type} ${scrub(text)}\n`).join(''), 'latin1');

/**
 * Runs `work` as the audit daemon, and restores audit's settings afterwards. `work` can drain the records that have arrived
 * since the last call.
 */
async function withAudit(
  calls: Parameters<typeof syscallRules>[0],
  work: (drain: () => AuditRecord[]) => Promise<void>,
): Promise<void> {
  const missing = await missingForAudit();
  if (missing !== undefined) throw new Error(missing);
  const control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
  const socket = openNetlink(NETLINK_AUDIT, { receiveBufferBytes: 8 * 1024 * 1024 });
  const { enabled, backlogLimit, backlogWaitTime } = await control.status();
  const rules = syscallRules(calls, abisOf());
  try {
    register(socket);
    await control.set({ enabled: 1, backlogLimit: 8192, backlogWaitTime: 0 });
    for (const rule of rules) await control.addRule(rule);
    await work(() => datagramsOf(socket).flatMap(auditRecordsIn));
  } finally {
    for (const rule of rules) await control.deleteRule(rule);
    await control.set({ enabled, backlogLimit, backlogWaitTime });
    await control.set({ pid: 0 });
    socket.close();
    control.close();
  }
}

function datagramsOf(socket: NetlinkSocket): Buffer[] {
  const datagrams: Buffer[] = [];
  for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive()) {
    datagrams.push(Buffer.from(datagram));
  }
  return datagrams;
}

/** The record in a datagram; an acknowledgement has none. */
function auditRecordsIn(datagram: Buffer): AuditRecord[] {
  const text = datagram.toString('latin1', HEADER_BYTES);
  const serial = /^audit\([\d.]+:(\d+)\)/.exec(text)?.[1];
  return serial === undefined ? [] : [{ type: readU16(datagram, 4), serial, text }];
}

/** All records of the events with a record that `isOwn` accepts, from that record on. */
function ofOwnEvents(records: readonly AuditRecord[], isOwn: (record: AuditRecord) => boolean): AuditRecord[] {
  const events = new Set<string>();
  return records.filter((record) => {
    if (isOwn(record)) events.add(record.serial);
    return events.has(record.serial);
  });
}

/** Whether it belongs to an event of the kernel about a system call. */
const isKernelRecord = ({ type }: AuditRecord) => type >= 1300 && type < 1400;

/** Unusual program starts. */
async function captureStarts({ write }: Target): Promise<void> {
  await withAudit([{ syscalls: ['execve', 'execveat'] }], async (drain) => {
    spawnSync('/bin/true', ['plain', 'a b', '"quoted"', 'line\nend', 'å', '', '(null)', '2F62'], { cwd: '/tmp' });
    spawnSync('/bin/sh', [
      '-c',
      'cd "/tmp" && mkdir -p "a dir" && cd "a dir" && exec /bin/true "$(printf "\\377\\376x")"',
    ]);
    spawnSync('/bin/true', ['x'.repeat(20_000), 'end', `${'z'.repeat(3_990)} ${'å'.repeat(2_000)}`]);
    spawnSync('/bin/true', ['last', 'y'.repeat(7_400)]);
    spawnSync(
      '/bin/true',
      Array.from({ length: 1_000 }, (_, index) => `argument-${index}`),
    );
    spawnSync('/nonexistent/program', ['x']);
    spawnSync('/etc/passwd', ['not executable']);
    spawnSync('/bin/sh', ['-c', 'kill -SEGV $$']);
    await systemClock.sleep(milliseconds(300));
    // This process and its descendants; program starts of other processes are ignored.
    const family = new Set([String(process.pid)]);
    const isOwn = (record: AuditRecord) => {
      if (!isKernelRecord(record)) return true;
      const [, parent = '', pid = ''] = / ppid=(\d+) pid=(\d+) /.exec(record.text) ?? [];
      if (!family.has(parent) && !family.has(pid)) return false;
      family.add(pid);
      return true;
    };
    write('audit-exec.txt', linesOf(ofOwnEvents(drain(), isOwn)));
  });
}

const CONNECTION_KINDS = [
  ...['tcp.v4', 'tcp.v6.accept4', 'tcp.mapped', 'tcp.v4.nonblock.twice', 'tcp.v4.noaddress'],
  ...['udp.v4', 'udp.v6', 'refused.v4', 'unix'],
];
/** To 192.0.2.1 (RFC 5737, TEST-NET-1), port 9, without waiting: by socketcall(2), and by connect(2). */
const NOWHERE = Buffer.from(`02000009c0000201${'00'.repeat(8)}`, 'hex');
const SOCK_STREAM_NONBLOCK = 0o4001;
const OLD_CALLS: readonly Call32[] = [
  [102, 1, [2, SOCK_STREAM_NONBLOCK, 0]],
  [102, 3, [3, NOWHERE, 16]],
  [359, 2, SOCK_STREAM_NONBLOCK, 0],
  [362, 4, NOWHERE, 16],
  [1, 0],
];

/** All kinds of connections. */
async function captureConnections({ write }: Target): Promise<void> {
  const connector = new Connector();
  const program = join(suiteFolder(), 'elf32');
  writeFileSync(program, elf32(OLD_CALLS), { mode: 0o755 });
  await withAudit(CONNECTION_RULES, async (drain) => {
    await (await connector.make(1, CONNECTION_KINDS)).release();
    spawnSync(program, { stdio: 'ignore' });
    await systemClock.sleep(milliseconds(300));
    const isOwn = ({ text }: AuditRecord) => / comm="(?:connections|elf32)" /.test(text);
    write('audit-connect.txt', linesOf(ofOwnEvents(drain().filter(isKernelRecord), isOwn)));
  }).finally(() => connector.remove());
}

// Logins

/** AUDIT_FIRST_USER_MSG and AUDIT_LAST_USER_MSG of linux/audit.h, as far as libaudit uses them. */
const isUserRecord = ({ type }: AuditRecord) => type >= 1100 && type < 1200;

const WTMP = '/var/log/wtmp';
const WTMPDB = '/var/lib/wtmpdb/wtmp.db';
const WTMPDB_TABLE =
  'CREATE TABLE wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER, ' +
  'TTY TEXT, RemoteHost TEXT, Service TEXT) STRICT';
const WRONG = 'wrong';

function loginsTo(server: SshServer): Readonly<Record<string, () => Promise<unknown>>> {
  const { user, password } = server;
  const master = ['-S', server.path('master')];
  return {
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
}

/**
 * All kinds of logins, with a file for each. Only records that programs write are captured, and the names of the machine
 * and the account are replaced. If all cases are captured, also writes the records of the sessions in wtmp and in the
 * database of wtmpdb(8), and one such database of many pages.
 */
async function captureLogins({ folder, cases, write }: Target): Promise<void> {
  const server = await SshServer.start();
  const { user } = server;
  const scrub = (text: string): string =>
    text.replaceAll(user, 'alice').replaceAll(`hostname=${hostname()} `, 'hostname=device ');
  const start = statSync(WTMP).size;
  await withAudit([], async (drain) => {
    for (const [name, logIn] of Object.entries(loginsTo(server))) {
      if (cases.length > 0 && !cases.includes(name)) continue;
      drain();
      console.error(name, JSON.stringify(await logIn()));
      await systemClock.sleep(milliseconds(700));
      write(`login-${name}.txt`, linesOf(drain().filter(isUserRecord), scrub));
    }
    if (cases.length > 0) return;
    captureWtmp(join(folder, 'login-wtmp'), start, user);
    captureWtmpdb(join(folder, 'login-wtmp.db'), user);
    createManyPages(join(folder, 'login-wtmp-many-pages.db'));
  }).finally(() => server.stop());
}

/** wtmp's records from `start` on; the account's name is padded to its former length. */
function captureWtmp(to: string, start: number, user: string): void {
  const records = readFileSync(WTMP).subarray(start);
  const name = Buffer.from(user);
  for (let at = records.indexOf(name); at !== -1; at = records.indexOf(name))
    records.write('alice'.padEnd(name.length, '\0'), at);
  writeFileSync(to, records);
}

function captureWtmpdb(to: string, user: string): void {
  copyFileSync(WTMPDB, to);
  sqlite(to, `DELETE FROM wtmp WHERE User <> '${user}'; UPDATE wtmp SET User = 'alice'; VACUUM;`);
}

/** Pages of 512 bytes, for a tree of three levels; long host names, for overflow pages. */
function createManyPages(to: string): void {
  const numbers = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)';
  const host = `CASE WHEN i % 40 = 0 THEN printf('%.*c', 20 * i, 'h') ELSE '192.0.2.' || (i % 256) END`;
  const row = `3, 'user' || i, 1700000000000000 + i * 1000000, CASE WHEN i % 7 THEN 1700000500000000 + i END, 'pts/' || i, ${host}, 'login'`;
  writeFileSync(to, '');
  sqlite(
    to,
    `PRAGMA page_size = 512; ${WTMPDB_TABLE}; ${numbers} INSERT INTO wtmp(Type, User, Login, Logout, TTY, RemoteHost, Service) ` +
      `SELECT ${row} FROM n; DELETE FROM wtmp WHERE ID BETWEEN 100 AND 149;`,
  );
}

const sqlite = (path: string, sql: string) => execFileSync('/usr/bin/sqlite3', [path, sql]);

// The process connector

const FORK = 1;
/** Fields of struct proc_event: the kind of event, and the first words of its details. */
const WHAT = HEADER_BYTES + 20;
const DETAILS = WHAT + 16;

/** Messages of the kernel's process connector: one datagram per line, in hexadecimal. */
async function captureProcessConnector({ write }: Target): Promise<void> {
  const socket = openNetlink(NETLINK_CONNECTOR, { groups: GROUPS, receiveBufferBytes: 8 * 1024 * 1024 });
  socket.send(MESSAGE_TYPE, 0, encodeRequest(LISTEN, 4711));
  try {
    spawnSync('/bin/true');
    spawnSync('/bin/sh', ['-c', 'exit 7']);
    spawnSync('/bin/sh', ['-c', 'kill -KILL $$']);
    spawnSync('/bin/sh', ['-c', 'ulimit -c 0; kill -SEGV $$']);
    spawnSync('/bin/sh', ['-c', 'kill -40 $$']);
    spawnSync('/bin/sh', ['-c', '(exit 3) & wait; exit 4']);
    spawnSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', 'setsid', '/bin/true']);
    spawnSync(process.execPath, [
      '-e',
      "new (require('node:worker_threads').Worker)('process.exit()', { eval: true })",
    ]);
    await systemClock.sleep(milliseconds(100));
    // This process and its descendants; other processes are ignored.
    const family = new Set([process.pid]);
    const own = datagramsOf(socket).filter((datagram) => {
      const kind = readU32(datagram, WHAT);
      const detail = (index: number) => readU32(datagram, DETAILS + 4 * index);
      const isOwn = kind === NONE || family.has(detail(kind === FORK ? 1 : 0)) || family.has(detail(1));
      if (kind === FORK && isOwn) family.add(detail(2)).add(detail(3));
      return isOwn;
    });
    write('process-connector.txt', own.map((datagram) => `${datagram.toString('hex')}\n`).join(''));
  } finally {
    socket.send(MESSAGE_TYPE, 0, encodeRequest(IGNORE, 4712));
    socket.close();
  }
}

// Hardware

/** Files that are read of a device, or of its parent. */
const ATTRIBUTES = [
  ...['uevent', 'name', 'type', 'index', 'id', 'status', 'edid', 'modalias', 'removable', 'hidden', 'queue/rotational'],
  ...['idVendor', 'idProduct', 'manufacturer', 'product', 'serial', 'vendor', 'device', 'model', 'vpd_pg80'],
  ...['manfid', 'oemid', 'device_name', 'vendor_name', 'unique_id', 'authorized', 'phys', 'uniq', 'properties'],
  ...['bustype', 'vendor', 'product'].map((name) => `id/${name}`),
  ...['ev', 'key', 'rel', 'abs'].map((name) => `capabilities/${name}`),
];
const LINKS = ['subsystem', 'driver', 'device'];
/** Subfolders of a device that are read. */
const PARTS = /^(?:[\d.-]+:\d+\.\d+|pcmC\d+D\d+[pc])$/;
const FACTS = [
  ...['product_name', 'product_version', 'sys_vendor', 'board_vendor', 'bios_vendor', 'bios_version'].map(
    (name) => `/sys/class/dmi/id/${name}`,
  ),
  ...['model', 'compatible', 'chosen/u-boot,version', 'chosen/bootloader/version', 'hypervisor/compatible'].map(
    (name) => `/sys/firmware/devicetree/base/${name}`,
  ),
  '/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c',
  '/sys/hypervisor/type',
  '/sys/devices/system/clocksource/clocksource0/available_clocksource',
  '/proc/asound/cards',
];
const FACT_FOLDERS = ['/sys/firmware/efi', '/sys/firmware/devicetree/base'];

/**
 * A listing of the parts of sysfs about hardware and firmware, one entry per line: `path -> target` for a link,
 * `path = "bytes"` for a file (JSON, one character per byte), `path/` for an empty folder.
 * test/agent/linux/machine/hardware/tree.ts makes a tree of it again.
 */
function captureHardware({ root, write }: Target): void {
  const lines = new Set<string>();
  const seen = new Set<string>();
  const entriesOf = (path: string) => attempt(() => readdirSync(join(root, path)));
  const captureFile = (path: string): void => {
    const bytes = attempt(() => readBytes(join(root, path), 64 * 1024));
    if (bytes !== undefined) lines.add(`${path} = ${JSON.stringify(bytes.toString('latin1'))}`);
  };
  const captureLink = (path: string): string | undefined => {
    const target = attempt(() => readlinkSync(join(root, path)));
    if (target === undefined) return undefined;
    lines.add(`${path} -> ${target}`);
    return posix.resolve(dirname(path), target);
  };
  const captureDevice = (path: string): void => {
    if (seen.has(path) || !path.startsWith('/sys/devices/')) return;
    seen.add(path);
    for (const name of ATTRIBUTES) captureFile(`${path}/${name}`);
    for (const name of LINKS) {
      const target = captureLink(`${path}/${name}`);
      if (name === 'device' && target !== undefined) captureDevice(target);
    }
    for (const name of (entriesOf(path) ?? []).filter((entry) => PARTS.test(entry))) {
      if (lstatSync(join(root, path, name)).isDirectory()) lines.add(`${path}/${name}/`);
      captureDevice(`${path}/${name}`);
    }
    captureDevice(dirname(path));
  };
  for (const folder of new Set(HARDWARE_KINDS.map((kind) => `/sys/${kind.folder}`))) {
    for (const entry of entriesOf(folder) ?? []) {
      // Dozens of identical consoles would be most of the listing.
      if (/^tty(?:[1-9]\d|[a-z]\w)$/.test(entry)) continue;
      const path = captureLink(`${folder}/${entry}`);
      if (path !== undefined) captureDevice(path);
    }
  }
  for (const path of FACTS) captureFile(path);
  for (const path of FACT_FOLDERS) if (entriesOf(path) !== undefined) lines.add(`${path}/`);
  write('hardware.txt', `${[...lines].sort().join('\n')}\n`);
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

// The command

const KINDS: Readonly<Record<string, (target: Target) => Promise<void> | void>> = {
  audit: captureStarts,
  connections: captureConnections,
  firewall: captureFirewall,
  hardware: captureHardware,
  logins: captureLogins,
  'process-connector': captureProcessConnector,
};
const USAGE =
  'usage: npm run capture -- KIND… --to FOLDER [--root ROOT] [--case CASE …]\n' +
  `KIND: ${Object.keys(KINDS).join(', ')}\n` +
  '--to: where the files are written, such as test/golden/debian13-6.18\n' +
  '--root: the root directory of the machine whose hardware is captured, by default /\n' +
  '--case: the logins that are captured, such as ssh-key, by default all\n';

const { values, positionals: kinds } = readArguments(
  {
    to: { type: 'string' },
    root: { type: 'string', default: '/' },
    case: { type: 'string', multiple: true, default: [] },
  },
  USAGE,
);
const { to: folder, root, case: cases } = values;
if (folder === undefined || kinds.length === 0 || kinds.some((kind) => !(kind in KINDS))) wrongUsage(USAGE);
mkdirSync(folder, { recursive: true });
const write: Target['write'] = (file, contents) => writeFileSync(join(folder, file), contents);
for (const kind of kinds) await KINDS[kind]?.({ folder, root, cases, write });
