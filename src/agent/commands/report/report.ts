import type { BaselineReport } from '../../../core/contract/baseline.ts';
import type { Payload } from '../../../core/contract/event.ts';
import type { LocalStatus } from '../../status/schema.ts';
import type { Hardware } from '../hardware/ask.ts';

/** A result, or the reason why it is missing: a missing fact must not look like a good one. */
export type Fallible<T> = T | { readonly problem: string };

export const isProblem = (found: unknown): found is { readonly problem: string } =>
  typeof found === 'object' && found !== null && 'problem' in found;

/** Rows of a snapshot, as in the event of that name. */
export interface Rows {
  readonly rows: readonly Payload[];
  /** Number of rows that are missing because the list has a limit. */
  readonly leftOut: number;
  /** What the source could not see. */
  readonly reason?: string;
}

export interface Software {
  readonly manager: string;
  /** The database of the package manager. */
  readonly where: string;
  readonly packages: readonly { readonly name: string; readonly version: string }[];
}

/** A report of one device or root tree, as `vakt report --json` prints it. */
export interface Report {
  /** A host's name, or the path of a root tree. */
  readonly subject: string;
  /** `system`: this machine as it runs. `tree`: files of a root that does not run. */
  readonly of: 'system' | 'tree';
  readonly at: string;
  /** Who called the command. */
  readonly by: string;
  /** Version of the program that made the report. */
  readonly version: string;
  readonly system: Fallible<Payload>;
  readonly baseline: Fallible<BaselineReport>;
  readonly ports: Fallible<Rows>;
  readonly firewall: Fallible<Rows>;
  readonly accounts: Fallible<Rows>;
  readonly software: Fallible<Software>;
  /** As in messages; secrets in command lines are already replaced. Newest last. */
  readonly alerts: Fallible<readonly unknown[]>;
  readonly agent: Fallible<LocalStatus>;
  readonly hardware?: Hardware;
}
