import { errnoOf } from '../../../core/base/errors.ts';
import type { AuditControl } from './control.ts';
import { type KernelRule, memoIn } from './rules.ts';
import { isAlive } from './slot-watch.ts';
import { parseSettings, restore, type Settings } from './status.ts';

/** The original settings, as stored in a rule by an agent that was killed. */
export const previousSettings = (rules: readonly KernelRule[]): Settings | undefined => {
  for (const rule of rules) {
    const memo = memoIn(rule);
    const settings = memo === undefined ? undefined : parseSettings(memo);
    if (settings !== undefined) return settings;
  }
  return undefined;
};

/**
 * Removes what a killed agent left in the kernel's audit: its rules, and its settings, unless another daemon uses audit now.
 * Not to be called while an agent runs.
 *
 * @returns how many rules were removed, including the one that stores the settings
 * @throws errno errors: EPERM without CAP_AUDIT_CONTROL, or when audit is locked until the next boot
 */
export async function removeLeftovers(control: AuditControl): Promise<number> {
  const ours = (await control.rules()).filter((rule) => rule.ours);
  if (ours.length === 0) return 0;
  const status = await control.status();
  const found = previousSettings(ours);
  const change = found === undefined || (status.pid !== 0 && isAlive(status.pid)) ? {} : restore(found, status);
  if (Object.keys(change).length > 0) await control.set(change);
  for (const { data } of ours) await control.deleteRule(data);
  return ours.length;
}

/** Whether an error means that this kernel has no audit. */
export const isWithoutAudit = (error: unknown): boolean =>
  ['EPROTONOSUPPORT', 'ECONNREFUSED'].includes(errnoOf((error as { cause?: unknown }).cause ?? error) ?? '');
