import { toAgentError } from '../../base/errors.ts';

/** `ok`: no problem. `note`: works with a limitation. `wrong`: must be fixed. */
export interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'note' | 'wrong';
  readonly finding: string;
  /** What to do; always set for `wrong`. */
  readonly remedy?: string;
}

export const ok = (check: string, finding: string): Finding => ({ check, state: 'ok', finding });

export const note = (check: string, finding: string, remedy?: string): Finding => ({
  check,
  state: 'note',
  finding,
  ...(remedy === undefined ? {} : { remedy }),
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

/** For a check that would disturb an agent that may be running. */
export const notTried = (check: string, why: string): Finding =>
  note(check, `not tried, since an agent may be running: ${why}`);
