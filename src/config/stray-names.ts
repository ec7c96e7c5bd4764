import leven from 'leven';
import { nearestName } from './nearest-name.ts';
import { isPlainObject, type TwinProperty } from './twin.ts';

/* Names in the desired properties that the agent does not obey, although somebody may believe that it does. */

/** A twin can hold thousands of names; so many are told. */
const MOST_TOLD = 32;
/** Longer ones are not compared: they are no slips of the pen, and it would take long. */
const LONGEST_COMPARED = 128;
/** Letters that may differ in the name of the configuration object. */
const SLIPS = 4;

/**
 * What is said of each name that the agent does not know: of all in the configuration object, and of those beside it
 * that look like its name misspelt. Other objects of the twin are for other readers.
 *
 * @param desired the whole section; hostile input
 */
export function strayNames(
  desired: Readonly<Record<string, unknown>>,
  objectName: string,
  properties: readonly TwinProperty[],
): Record<string, string> {
  const known = properties.map(({ name }) => name);
  const isKnown = new Set(known);
  const object = Object.hasOwn(desired, objectName) ? desired[objectName] : undefined;
  const members = isPlainObject(object) ? Object.keys(object).filter((name) => !isKnown.has(name)) : [];
  const objects = Object.keys(desired).filter((name) => name !== objectName && isLike(name, objectName));
  return Object.fromEntries([
    ...objects.slice(0, MOST_TOLD).map((name) => [name, meant('is not read by this agent', objectName)]),
    ...members
      .slice(0, MOST_TOLD - Math.min(objects.length, MOST_TOLD))
      .map((name) => [name, meant('is not known to this agent', nearest(name, known))]),
  ]);
}

const meant = (what: string, name: string | undefined) =>
  name === undefined ? what : `${what}; did you mean "${name}"?`;

const nearest = (name: string, known: readonly string[]) =>
  name.length > LONGEST_COMPARED ? undefined : nearestName(name, known);

/** `…SecurityAgentConfigurations`, `securityAgentConfiguration`, `ms_iotn_urn_azureiot_…`. */
function isLike(name: string, objectName: string): boolean {
  if (Math.abs(name.length - objectName.length) <= SLIPS && name.length <= LONGEST_COMPARED) {
    if (leven(bare(name), bare(objectName)) <= SLIPS) return true;
  }
  return bare(name) === bare(lastPart(objectName));
}

const lastPart = (name: string) => name.split(/[:_]/).at(-1) ?? name;
const bare = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '');
