import type { Context } from 'mocha';
import { systemClock } from '../../src/base/clock.ts';
import { AuditControl } from '../../src/linux/audit/control.ts';
import { isAlive } from '../../src/linux/audit/slot-watch.ts';
import { NETLINK_AUDIT, openNetlink } from '../../src/linux/native/netlink/socket.ts';

/**
 * Skips the tests of a machine that can't run them, and says why. With VAKT_REQUIRE_ALL=1, as in CI, they fail instead.
 *
 * @param missing what isn't there, or `undefined` when all is
 */
export function require(context: Context, missing: string | undefined): void {
  if (missing === undefined) return;
  if (process.env.VAKT_REQUIRE_ALL === '1') throw new Error(`VAKT_REQUIRE_ALL is set, but ${missing}`);
  process.stderr.write(`    skipped: ${missing}\n`);
  context.skip();
}

/** What keeps this process from being the kernel's audit daemon. */
export async function missingForAudit(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'this is not root';
  let control: AuditControl | undefined;
  try {
    control = new AuditControl(openNetlink(NETLINK_AUDIT), systemClock);
    const { pid, enabled } = await control.status();
    if (pid !== 0 && isAlive(pid)) return `process ${pid} is the audit daemon`;
    if (enabled === 2) return 'audit is locked until the next boot';
    return undefined;
  } catch (error) {
    return `the kernel's audit is not available: ${(error as Error).message}`;
  } finally {
    control?.close();
  }
}
