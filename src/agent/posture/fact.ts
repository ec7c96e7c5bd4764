import { printable } from '../../core/base/text.ts';
import type { Snapshot } from '../../core/contract/consumers.ts';

/** A fact about one aspect of the system, or why it is unknown. */
export type Fact<T> =
  | {
      readonly found: T;
      /** Why more may be there than was found. */
      readonly incomplete?: string;
    }
  | { readonly unknown: string };

/** Length of a reason, in UTF-16 units: the status must stay below 32 KB. */
const LONGEST_REASON = 300;

/** A reason as it is reported: bounded, and safe for a terminal. */
export function reasonOf(text: string): string {
  const line = printable(text.slice(0, 2 * LONGEST_REASON));
  return line.length <= LONGEST_REASON ? line : `${line.slice(0, LONGEST_REASON - 1)}…`;
}

/** A fact from all rows, or from those that could be read. */
export const factOf = <T>(found: T, { source }: Snapshot, isCut: boolean): Fact<T> =>
  isCut ? { found, incomplete: reasonOf(source?.reason ?? 'the snapshot was cut') } : { found };
