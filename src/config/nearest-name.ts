import leven from 'leven';

/** The name that was most likely meant: at most a third of its letters off, rounded up. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const [nearest] = known
    .map((candidate) => ({ candidate, distance: leven(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= Math.ceil(candidate.length / 3))
    .sort((a, b) => a.distance - b.distance);
  return nearest?.candidate;
}

/** What is said of a name that is no setting. */
export function notASetting(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known);
  return `is not a setting${nearest === undefined ? '' : `; did you mean "${nearest}"?`}`;
}
