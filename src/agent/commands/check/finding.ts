import { toAgentError } from '../../../core/base/errors.ts';

/**
 * `ok`: no problem. `note`: works with a limitation. `warn`: works, but the agent's state is `degraded`. `wrong`: must be
 * fixed.
 */
export interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'note' | 'warn' | 'wrong';
  readonly finding: string;
  /** What to do; always set for `wrong`. */
  readonly remedy?: string;
  /** Set for an event whose source sees nothing, or only a part. */
  readonly sees?: 'nothing' | 'part';
  /** Details, one line each: addresses, certificates. For --verbose and --json. */
  readonly details?: readonly string[];
}

export const ok = (check: string, finding: string): Finding => ({ check, state: 'ok', finding });

export const note = (check: string, finding: string, remedy?: string): Finding => ({
  check,
  state: 'note',
  finding,
  ...(remedy === undefined ? {} : { remedy }),
});

export const warn = (check: string, finding: string, remedy: string): Finding => ({
  check,
  state: 'warn',
  finding,
  remedy,
});

export const wrong = (check: string, finding: string, remedy: string): Finding => ({
  check,
  state: 'wrong',
  finding,
  remedy,
});

/** Turns an error into a finding. */
export function failed(check: string, error: unknown): Finding {
  const { message, remedy, id } = toAgentError(error);
  return wrong(check, `${message} (${id})`, remedy);
}

/** Adds what was seen. It may come from anybody, so it is bounded; it is made printable where it is printed. */
export function seen(finding: Finding, details: readonly string[] = []): Finding {
  if (details.length === 0) return finding;
  const cut = (line: string) =>
    line.length > MAX_DETAIL_CHARACTERS ? `${line.slice(0, MAX_DETAIL_CHARACTERS - 1)}…` : line;
  return { ...finding, details: details.slice(0, MAX_DETAILS).map(cut) };
}

/** In lines and characters: the chain of a certificate has at most four, each with two long names. */
const MAX_DETAILS = 20;
const MAX_DETAIL_CHARACTERS = 600;

/** For a check that would disturb an agent that may be running. */
export const notTried = (check: string, why: string): Finding =>
  note(check, `not tried, since an agent may be running: ${why}`);
