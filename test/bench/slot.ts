import { systemClock } from '../../src/core/base/clock.ts';
import { seconds } from '../../src/core/base/duration.ts';
import { missingForAudit } from '../system/missing-for-audit.ts';

const TRIES = 10;

/** Waits for another audit daemon to exit. @returns why this process can't be the audit daemon */
export async function auditIsMissing(): Promise<string | undefined> {
  for (let tries = 1; ; tries += 1) {
    const missing = await missingForAudit();
    if (missing?.includes('audit daemon') !== true || tries === TRIES) return missing;
    await systemClock.sleep(seconds(3));
  }
}

/** Returns a note with the agent's source of process starts and its reason. */
export const sourceNote = (source: string | undefined, missing: string | undefined): string =>
  `ProcessCreate comes from ${source}${source === 'auditUnicast' || missing === undefined ? '' : `: ${missing}`}.`;
