/**
 * Fields that say whose doing an event is, the first that it has. A program with the rights of another user counts for the one
 * who logged in. All users of a container count as one: its root can be any of them.
 */
const OWNERS = ['LoginUserId', 'ContainerId', 'UserId'] as const;

/**
 * Whom limits of one user count an event for. The name of the field is in it, so that no value of one is taken for one of
 * another.
 *
 * @param others fields for events that have none of these; `undefined` without any
 */
export function ownerOf(
  valueIn: (field: string) => string | undefined,
  others: readonly string[] = [],
): string | undefined {
  for (const field of [...OWNERS, ...others]) {
    const value = valueIn(field);
    if (value !== undefined) return `${field} ${value}`;
  }
  return undefined;
}
