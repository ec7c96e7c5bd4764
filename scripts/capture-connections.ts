import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AuditControl, register } from '../src/agent/linux/audit/control.ts';
import { syscallRules } from '../src/agent/linux/audit/rules.ts';
import { abisOf } from '../src/agent/linux/audit/syscalls.ts';
import { readU16 } from '../src/agent/linux/native/byte-order.ts';
import { HEADER_BYTES } from '../src/agent/linux/native/netlink/message.ts';
import { NETLINK_AUDIT, openNetlink } from '../src/agent/linux/native/netlink/socket.ts';
import { CONNECTION_RULES } from '../src/agent/linux/sockets/connections/socket-calls.ts';
import { systemClock } from '../src/core/base/clock.ts';
import { milliseconds } from '../src/core/base/duration.ts';
import { Connector } from '../test/system/connector.ts';
import { type Call32, elf32 } from '../test/system/elf32.ts';

/* Captures audit records of all kinds of connections, for test/golden. Run it as root, on x86_64 with a C compiler,
 * without an audit daemon:
 *
 *     node dist/scripts/capture-connections.js test/golden/debian13-6.18/audit-connect.txt
 *
 * One record per line: its type, a space, its text. */

const [, , path] = process.argv;
if (path === undefined) throw new Error('Give the path of the file to write.');

const KINDS = [
  'tcp.v4',
  'tcp.v6.accept4',
  'tcp.mapped',
  'tcp.v4.nonblock.twice',
  'tcp.v4.noaddress',
  'udp.v4',
  'udp.v6',
  'refused.v4',
  'unix',
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

const folder = mkdtempSync(join(tmpdir(), 'vakt-capture-'));
const connector = new Connector();
const control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
const socket = openNetlink(NETLINK_AUDIT, { receiveBufferBytes: 8 * 1024 * 1024 });
const found = await control.status();
if (found.pid !== 0) throw new Error(`Process ${found.pid} is the audit daemon.`);
const rules = syscallRules(CONNECTION_RULES, abisOf());
const records: string[] = [];
try {
  register(socket);
  await control.set({ enabled: 1, backlogLimit: 8192, backlogWaitTime: 0 });
  for (const rule of rules) await control.addRule(rule);
  await (await connector.make(1, KINDS)).release();
  writeFileSync(join(folder, 'elf32'), elf32(OLD_CALLS), { mode: 0o755 });
  spawnSync(join(folder, 'elf32'), { stdio: ['ignore', 'ignore', 'ignore'] });
  await systemClock.sleep(milliseconds(300));
} finally {
  const events = new Set<string>();
  for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive()) {
    const type = readU16(datagram, 4);
    const text = datagram.toString('latin1', HEADER_BYTES);
    const serial = /^audit\([\d.]+:(\d+)\)/.exec(text)?.[1];
    if (type < 1300 || type > 1399 || serial === undefined) continue;
    if (/ comm="(?:connections|elf32)" /.test(text)) events.add(serial);
    if (events.has(serial)) records.push(`${type} ${text}\n`);
  }
  for (const rule of rules) await control.deleteRule(rule);
  const { enabled, backlogLimit, backlogWaitTime } = found;
  await control.set({ enabled, backlogLimit, backlogWaitTime });
  await control.set({ pid: 0 });
  connector.remove();
  rmSync(folder, { recursive: true });
}
writeFileSync(path, records.join(''), 'latin1');
