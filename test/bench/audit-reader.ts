import { writeSync } from 'node:fs';
import { register } from '../../src/agent/linux/audit/control.ts';
import { readU16 } from '../../src/agent/linux/native/byte-order.ts';
import { errnoIn, HEADER_BYTES, NLMSG_ERROR } from '../../src/agent/linux/native/netlink/message.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';

/* A process that does the least that Node must do to read the kernel's audit records. It registers as the audit daemon, and reads
 * only the type of each record, on the agent's timer. Its output is that of native/reader.c. */

const EXECVE = 1309;

const socket = openNetlink(NETLINK_AUDIT, { receiveBufferBytes: 8 * 1024 * 1024 });
const buffer = Buffer.allocUnsafeSlow(16 * 1024);
let records = 0;
let starts = 0;
process.on('SIGTERM', () => {
  writeSync(1, `${records} ${starts} ${socket.overruns}\n`);
  process.exit(0);
});
register(socket);
for (;;) {
  const before = records;
  for (let length = socket.read(buffer); length !== undefined; length = socket.read(buffer)) {
    const type = readU16(buffer, 4);
    if (type === NLMSG_ERROR) {
      if (errnoIn(buffer.subarray(HEADER_BYTES, length)) !== 0) process.exit(1);
      writeSync(1, 'open\n');
      continue;
    }
    records += 1;
    if (type === EXECVE) starts += 1;
  }
  await systemClock.sleep(milliseconds(records - before > 1_500 ? 50 : 250));
}
