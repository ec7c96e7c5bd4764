import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { readU32 } from '../src/agent/linux/native/byte-order.ts';
import { HEADER_BYTES } from '../src/agent/linux/native/netlink/message.ts';
import { NETLINK_CONNECTOR, openNetlink } from '../src/agent/linux/native/netlink/socket.ts';
import {
  encodeRequest,
  GROUPS,
  IGNORE,
  LISTEN,
  MESSAGE_TYPE,
  NONE,
} from '../src/agent/linux/processes/connector/messages.ts';
import { systemClock } from '../src/core/base/clock.ts';
import { milliseconds } from '../src/core/base/duration.ts';

/* Captures messages of the kernel's process connector, for test/golden. Run it as root:
 *
 *     node dist/scripts/capture-process-connector.js test/golden/debian13-6.18/process-connector.txt
 *
 * One datagram per line, in hexadecimal. */

const [, , path] = process.argv;
if (path === undefined) throw new Error('Give the path of the file to write.');

const FORK = 1;
/** Fields of struct proc_event: the kind of event, and the first two words of its details. */
const WHAT = HEADER_BYTES + 20;
const DETAILS = WHAT + 16;

const socket = openNetlink(NETLINK_CONNECTOR, { groups: GROUPS, receiveBufferBytes: 8 * 1024 * 1024 });
const datagrams: string[] = [];
/** This process and its descendants; other processes are ignored. */
const family = new Set([process.pid]);
try {
  socket.send(MESSAGE_TYPE, 0, encodeRequest(LISTEN, 4711));

  spawnSync('/bin/true');
  spawnSync('/bin/sh', ['-c', 'exit 7']);
  spawnSync('/bin/sh', ['-c', 'kill -KILL $$']);
  spawnSync('/bin/sh', ['-c', 'ulimit -c 0; kill -SEGV $$']);
  spawnSync('/bin/sh', ['-c', 'kill -40 $$']);
  spawnSync('/bin/sh', ['-c', '(exit 3) & wait; exit 4']);
  spawnSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', 'setsid', '/bin/true']);
  spawnSync(process.execPath, ['-e', "new (require('node:worker_threads').Worker)('process.exit()', { eval: true })"]);
  await systemClock.sleep(milliseconds(100));
} finally {
  for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive()) {
    const kind = readU32(datagram, WHAT);
    const [first, second, third, fourth] = [0, 4, 8, 12].map((at) => readU32(datagram, DETAILS + at)) as [
      number,
      number,
      number,
      number,
    ];
    const isIncluded = kind === NONE || family.has(kind === FORK ? second : first) || family.has(second);
    if (kind === FORK && isIncluded) family.add(third).add(fourth);
    if (isIncluded) datagrams.push(datagram.toString('hex'));
  }
  socket.send(MESSAGE_TYPE, 0, encodeRequest(IGNORE, 4712));
  socket.close();
}
writeFileSync(path, `${datagrams.join('\n')}\n`);
