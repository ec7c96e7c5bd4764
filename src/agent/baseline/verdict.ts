import type { CheckResult } from '../../core/contract/baseline.ts';
import type { Unreadable } from '../host/host-files.ts';

/** A primitive's result for one rule. Its strings are short, and never quote a line of a file that may hold secrets. */
export interface Verdict {
  readonly result: CheckResult;
  readonly actual?: string;
  readonly where?: string;
  /** Why the rule can't be evaluated, or does not apply. */
  readonly reason?: string;
  /** The agent lacks permission. The scan reports that once for all such rules. */
  readonly denied?: boolean;
}

const found = (result: 'pass' | 'fail', actual: string | undefined, where: string | undefined): Verdict => ({
  result,
  ...(actual === undefined ? {} : { actual: shortened(actual) }),
  ...(where === undefined ? {} : { where: shortened(where) }),
});

export const pass = (actual?: string, where?: string): Verdict => found('pass', actual, where);
export const fail = (actual?: string, where?: string): Verdict => found('fail', actual, where);
export const passIf = (holds: boolean, actual?: string, where?: string): Verdict =>
  found(holds ? 'pass' : 'fail', actual, where);

export const skip = (reason: string): Verdict => ({ result: 'skip', reason });
export const cannotEvaluate = (reason: string, where?: string): Verdict => ({
  result: 'err',
  reason: shortened(reason),
  ...(where === undefined ? {} : { where }),
});

/** For a file that exists but cannot be read. */
export const cannotRead = ({ unreadable, denied }: Unreadable, where: string): Verdict => ({
  ...cannotEvaluate(unreadable, where),
  denied,
});

/** A rule's result if a file does not exist. */
export const IF_MISSING = ['pass', 'fail', 'skip'] as const;
export type IfMissing = (typeof IF_MISSING)[number];

export const missing = (decided: IfMissing, where: string): Verdict =>
  decided === 'skip' ? skip(`${where} does not exist`) : found(decided, 'does not exist', where);

const MAX_LINE_CHARACTERS = 300;

/** As one printable line: names in a hostile tree may be anything. */
function shortened(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '·');
  return line.length <= MAX_LINE_CHARACTERS
    ? line
    : `${line.slice(0, MAX_LINE_CHARACTERS - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

/** The first few of a list, and how many more there are. */
export function listed(items: readonly string[], max = 5): string {
  const shown = items.slice(0, max).join(', ');
  return items.length > max ? `${shown} and ${items.length - max} more` : shown;
}
