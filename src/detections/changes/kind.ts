import type { Payload } from '../../contract/event.ts';
import type { Fields, LogSource } from '../subject.ts';
import type { Base, Compared, Rows } from './kept-rows.ts';

/** How snapshots of one event are compared. */
export interface ChangeKind {
  /** The event's name. */
  readonly event: string;
  readonly source: LogSource;
  /**
   * The fields of a row that are compared and kept. `undefined`: the row says nothing that can be compared.
   *
   * @param lacksDetails whether the row may have lost its ExtraDetails, for which the message had no space
   */
  read(row: Payload, lacksDetails: boolean): Fields | undefined;
  /** What makes a row the same thing in both snapshots. */
  keyOf(row: Fields): string;
  /** The fields of each difference. Rows that are only in `base` are differences only if the snapshot is complete. */
  differences(compared: Compared, isComplete: boolean, base: Base, rows: Rows): Fields[];
}
