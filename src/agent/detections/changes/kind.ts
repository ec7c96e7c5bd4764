import type { Payload } from '../../../core/contract/event.ts';
import type { Fields, LogSource } from '../subject.ts';
import type { Base, ClassOf, Compared, Rows } from './kept-rows.ts';

/** How snapshots of one event are compared. */
export interface ChangeKind {
  /** The event's name. */
  readonly event: string;
  readonly source: LogSource;
  /**
   * The fields of a row that are compared and stored. `undefined` if the row has nothing to compare.
   *
   * @param lacksDetails whether the row may have lost its ExtraDetails because the message was full
   */
  read(row: Payload, lacksDetails: boolean): Fields | undefined;
  /** Identifies the same row in both snapshots. */
  keyOf(row: Fields): string;
  /** Rows of one class can be complete while those of another are not. Default: one class for all rows. */
  readonly classOf?: ClassOf;
  /** The fields of each difference. `compared` lists rows as removed only if no row of their class is missing. */
  differences(compared: Compared, base: Base, rows: Rows): Fields[];
}
