/*
 * What somebody may do to the kernel's audit beside the agent:
 *
 *   take-audit listen    joins its listeners, and ends
 *   take-audit slot      asks for its slot for four seconds: it is refused as long as the agent has it, which gives the slot
 *                        up when it is asked
 */

import { register } from '../../src/agent/linux/audit/control.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/agent/linux/native/netlink/socket.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds } from '../../src/core/base/duration.ts';

if (process.argv[2] === 'listen') openNetlink(NETLINK_AUDIT, { groups: 1 }).close();
else {
  const socket = openNetlink(NETLINK_AUDIT, { own: true });
  for (let tries = 0; tries < 20; tries += 1) {
    register(socket);
    await systemClock.sleep(milliseconds(200));
  }
}
