import leven from 'leven';

/** The known name that was probably meant: at most a third of its characters differ, rounded up. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const [nearest] = known
    .map((candidate) => ({ candidate, distance: leven(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= Math.ceil(candidate.length / 3))
    .sort((a, b) => a.distance - b.distance);
  return nearest?.candidate;
}

/** The end of a message that begins with a name that is not a setting. */
export function notASetting(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known);
  return `is not a setting${nearest === undefined ? '' : `; did you mean "${nearest}"?`}`;
}
