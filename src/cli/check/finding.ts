import { toAgentError } from '../../base/errors.ts';

/** `ok`: as it should be. `note`: works, but worth knowing. `wrong`: must be mended. */
export interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'note' | 'wrong';
  readonly finding: string;
  /** What to do; there is one wherever something must be done. */
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

/** An error says itself what is wrong and what to do. */
export function failed(check: string, error: unknown): Finding {
  const { message, remedy, id } = toAgentError(error);
  return wrong(check, `${message} (${id})`, remedy);
}

/** Left alone for the sake of an agent that may run. */
export const untried = (check: string, why: string): Finding =>
  note(check, `not tried, since an agent may run: ${why}`);
