import { RULE_LISTS } from '../../../core/contract/settings.ts';
import { Refused } from './rule.ts';

/** The available lists: from the module twin, and the addresses from a local file. */
export const LISTS: readonly string[] = [...RULE_LISTS.keys(), 'badAddresses'];

/** @throws {Refused} for an unknown name, because such a list would always be empty */
export function checkList(name: string, path: readonly string[] = []): void {
  if (!LISTS.includes(name)) throw new Refused(`there is no list "${name}"; known: ${LISTS.join(', ')}`, path);
}
