import { type Duration, milliseconds } from '../../../core/base/duration.ts';
import { readU32 } from './byte-order.ts';
import { optionalSystemCalls } from './system-calls.ts';

/** From linux/time.h. */
const CLOCK_BOOTTIME = 7;
/** Size of the longest `struct timespec`: two numbers of 64 bits. */
const TIMESPEC_BYTES = 16;

/**
 * The time since boot, with the time in which the machine was suspended; `undefined` when koffi has no binary for this
 * platform. os.uptime() is of no use: it reads /proc/uptime, which is a file of lxcfs in containers of LXC and Incus. That
 * can block or fail, and then os.uptime() returns the time since the boot of the host instead of the container's.
 */
export function sinceBoot(): Duration | undefined {
  const time = Buffer.alloc(TIMESPEC_BYTES);
  if (optionalSystemCalls()?.clockGettime(CLOCK_BOOTTIME, time) !== 0) return undefined;
  // The nanoseconds are in the second word on 32-bit platforms whose time has 32 bits, elsewhere in the third; the other is 0.
  const nanoseconds = readU32(time, 4) + readU32(time, 8);
  return milliseconds(readU32(time, 0) * 1_000 + nanoseconds / 1e6);
}
