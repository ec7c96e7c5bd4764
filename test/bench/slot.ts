import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { missingForAudit } from '../system/missing-for-audit.ts';

const TRIES = 10;

/** Waits a while for whoever has the audit slot. @returns why this process can't be the audit daemon */
export async function auditIsMissing(): Promise<string | undefined> {
  for (let tries = 1; ; tries += 1) {
    const missing = await missingForAudit();
    if (missing?.includes('audit daemon') !== true || tries === TRIES) return missing;
    await systemClock.sleep(seconds(3));
  }
}

/** For a note: where the agent had its process starts from, and why from there. */
export const sourceNote = (source: string | undefined, missing: string | undefined): string =>
  `ProcessCreate comes from ${source}${source === 'auditUnicast' || missing === undefined ? '' : `: ${missing}`}.`;
