/*
 * Another process that uses kernel audit while the agent runs:
 *
 *   take-audit listen    joins the multicast group and exits
 *   take-audit slot      tries to register as the audit daemon for four seconds: the kernel refuses it while the agent is
 *                        registered, which the agent ends after the first attempt
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
