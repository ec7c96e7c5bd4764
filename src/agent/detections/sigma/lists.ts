import { Refused } from './rule.ts';

/** The lists that there are: those of the module twin, and the addresses of a local file. */
export const LISTS: readonly string[] = [
  'allowedUsers',
  'allowedProcesses',
  'allowedRemotes',
  'allowedPorts',
  'connectionsMax',
  'failedLocalLoginsMax',
  'badAddresses',
];

/** @throws {Refused} for a name that no list has: such a list would always be empty */
export function checkList(name: string, path: readonly string[] = []): void {
  if (!LISTS.includes(name)) throw new Refused(`there is no list "${name}"; known: ${LISTS.join(', ')}`, path);
}
