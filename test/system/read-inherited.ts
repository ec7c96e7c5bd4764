import { writeSync } from 'node:fs';
import { systemClock } from '../../src/base/clock.ts';
import { milliseconds } from '../../src/base/duration.ts';
import { openNetlink } from '../../src/linux/native/netlink/socket.ts';

/* Prints the text of every datagram that arrives at a socket which it may inherit; first `ready`. Arguments: family, groups. */

const [, , protocol, groups] = process.argv;
const socket = openNetlink(Number(protocol), { groups: Number(groups) });
writeSync(1, 'ready\n');
for (;;) {
  for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive())
    writeSync(1, `${datagram.toString('latin1', 16).replaceAll('\n', ' ')}\n`);
  await systemClock.sleep(milliseconds(20));
}
