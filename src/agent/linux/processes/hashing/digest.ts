import type { HashOmitted } from '../../../../core/contract/lookups.ts';

/** A program's digest, or why it is left out. */
export type Digest =
  | { readonly sha256: string; readonly omitted: undefined }
  | { readonly sha256: undefined; readonly omitted: HashOmitted };

const omitted = (reason: HashOmitted): Digest => ({ sha256: undefined, omitted: reason });

const unreadable = omitted('unreadable');

/** By reason, and by what the lookup of a file came to. One shared object per reason, to avoid allocations. */
export const OMITTED = {
  size: omitted('size'),
  budget: omitted('budget'),
  unreadable,
  absent: unreadable,
  uncached: unreadable,
  mount: omitted('mount'),
} as const;

export const digestOf = (sha256: string): Digest => ({ sha256, omitted: undefined });
