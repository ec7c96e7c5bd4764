import { writeSync } from 'node:fs';
import { openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';

/* Prints `ready`, then the text of every datagram that an inherited socket receives. Arguments: family, groups. */

const [, , protocol, groups] = process.argv;
const socket = openNetlink(Number(protocol), { groups: Number(groups) });
writeSync(1, 'ready\n');
for (;;) {
  for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive())
    writeSync(1, `${datagram.toString('latin1', 16).replaceAll('\n', ' ')}\n`);
  await systemClock.sleep(milliseconds(20));
}
