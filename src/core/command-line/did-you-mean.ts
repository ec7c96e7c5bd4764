import { nearestName } from '../base/nearest-name.ts';

/** Names shown that begin with the given text. */
const MAX_SHOWN = 3;

/** A suffix for an error about an unknown name, with the names that were most likely meant; empty if there are none. */
export function didYouMean(name: string, known: readonly string[]): string {
  const meant = likely(name, known).map((candidate) => `"${candidate}"`);
  const last = meant.pop();
  if (last === undefined) return '';
  return `; did you mean ${meant.length === 0 ? '' : `${meant.join(', ')} or `}${last}?`;
}

function likely(name: string, known: readonly string[]): string[] {
  const wanted = bare(name);
  if (wanted === '') return [];
  const begun = known.filter((candidate) => bare(candidate).startsWith(wanted));
  if (wanted.length > 1 && begun.length > 0) return begun.slice(0, MAX_SHOWN);
  const nearest = nearestName(
    wanted,
    known.map((candidate) => bare(candidate)),
  );
  return known.filter((candidate) => bare(candidate) === nearest).slice(0, 1);
}

const bare = (name: string): string => name.toLowerCase().replace(/^-+/, '');
