import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { AuditControl, register } from '../src/agent/linux/audit/control.ts';
import { syscallRules } from '../src/agent/linux/audit/rules.ts';
import { abisOf } from '../src/agent/linux/audit/syscalls.ts';
import { readU16 } from '../src/agent/linux/native/byte-order.ts';
import { HEADER_BYTES } from '../src/agent/linux/native/netlink/message.ts';
import { NETLINK_AUDIT, openNetlink } from '../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../src/core/base/clock.ts';
import { milliseconds } from '../src/core/base/duration.ts';

/* Captures audit records of unusual program starts, for test/golden. Run it as root, without an audit daemon:
 *
 *     node dist/scripts/capture-audit.js test/golden/debian13-6.18/audit-exec.txt
 *
 * One record per line: its type, a space, its text. */

const [, , path] = process.argv;
if (path === undefined) throw new Error('Give the path of the file to write.');

const clock = systemClock;
const control = new AuditControl(openNetlink(NETLINK_AUDIT), clock);
const socket = openNetlink(NETLINK_AUDIT, { receiveBufferBytes: 8 * 1024 * 1024 });
const found = await control.status();
if (found.pid !== 0) throw new Error(`Process ${found.pid} is the audit daemon.`);
const rules = syscallRules([{ syscalls: ['execve', 'execveat'] }], abisOf());
const records: string[] = [];
/** This process and its descendants; program starts of other processes are ignored. */
const family = new Set([String(process.pid)]);
const events = new Set<string>();
try {
  register(socket);
  await control.set({ enabled: 1, backlogLimit: 8192, backlogWaitTime: 0 });
  for (const rule of rules) await control.addRule(rule);

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
  await clock.sleep(milliseconds(300));
} finally {
  for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive()) {
    const type = readU16(datagram, 4);
    const text = datagram.toString('latin1', HEADER_BYTES);
    const serial = /^audit\([\d.]+:(\d+)\)/.exec(text)?.[1];
    if (type < 1100 || serial === undefined) continue;
    const [, parent, pid] = / ppid=(\d+) pid=(\d+) /.exec(text) ?? [];
    if (pid !== undefined && parent !== undefined && (family.has(parent) || family.has(pid))) {
      family.add(pid);
      events.add(serial);
    }
    if (events.has(serial) || type < 1300 || type > 1399) records.push(`${type} ${text}\n`);
  }
  for (const rule of rules) await control.deleteRule(rule);
  const { enabled, backlogLimit, backlogWaitTime } = found;
  await control.set({ enabled, backlogLimit, backlogWaitTime });
  await control.set({ pid: 0 });
}
writeFileSync(path, records.join(''), 'latin1');
