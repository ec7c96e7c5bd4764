import leven from 'leven';
import { nearestName } from '../base/nearest-name.ts';
import { isPlainObject } from '../base/values.ts';
import { EVENTS } from '../contract/events.ts';
import { type SettingId, type SettingRow, settingRows } from '../contract/settings.ts';
import type { Dialect, Stated } from './dialect.ts';

/* The dialect of the published contract (contract §2): one object in the module twin, whose members are
 * `"name": {"value": X}`. */

export const PUBLISHED_OBJECT = 'ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration';

/** @param objectName of the configuration object, in desired and in reported */
export function publishedObject(properties: readonly SettingRow[], objectName: string = PUBLISHED_OBJECT): Dialect {
  const names = properties.map(({ name }) => name);
  const isKnown = new Set(names);
  const unknownIn = (object: object) => Object.keys(object).filter((name) => !isKnown.has(name));
  const objectIn = (desired: Readonly<Record<string, unknown>>) =>
    (Object.hasOwn(desired, objectName) ? desired[objectName] : undefined) ?? null;

  return {
    properties,
    documentIn: objectIn,
    sectionWith: (document) => ({ [objectName]: document }),

    read(document) {
      const object = document ?? {};
      if (!isPlainObject(object)) return { name: '(configuration)', fault: 'must be an object' };
      const stated = new Map<SettingId, Stated>();
      for (const { id, name } of properties) {
        const member = Object.hasOwn(object, name) ? object[name] : undefined;
        if (member !== undefined && member !== null) stated.set(id, statedBy(member));
      }
      return { stated, unknown: unknownIn(object) };
    },

    write(spellings) {
      const members = properties.flatMap(({ id, name }) => {
        const value = spellings.get(id);
        return value === undefined ? [] : [[name, { value }] as const];
      });
      return Object.fromEntries(members);
    },

    unknownNames(desired) {
      const object = objectIn(desired);
      const members = isPlainObject(object) ? unknownIn(object) : [];
      const objects = Object.keys(desired)
        .filter((name) => name !== objectName && isLike(name, objectName))
        .slice(0, MAX_UNKNOWN_NAMES);
      return {
        ...Object.fromEntries(
          objects.map((name) => [shortened(name), didYouMean('is not read by this agent', objectName)]),
        ),
        ...unknownNames(members, names, MAX_UNKNOWN_NAMES - objects.length),
      };
    },
  };
}

/** The dialect of the module twin. @param objectName `twinObjectName` of the local file, by default that setting's default */
export const twinDialect = (objectName?: string): Dialect =>
  publishedObject(settingRows(Object.values(EVENTS)), objectName);

/** Siblings of `value` are ignored. */
function statedBy(member: unknown): Stated {
  const value = isPlainObject(member) && Object.hasOwn(member, 'value') ? member.value : undefined;
  return value === undefined || value === null ? { fault: 'must be an object with a "value"' } : { value };
}

/** Characters by which a misspelt name of the object may differ from it. */
const MAX_TYPOS = 4;

/** Whether an object of the twin was probably meant to be the configuration; other objects are for other readers. */
function isLike(name: string, objectName: string): boolean {
  if (Math.abs(name.length - objectName.length) <= MAX_TYPOS && name.length <= LONGEST_COMPARED) {
    if (leven(lettersOf(name), lettersOf(objectName)) <= MAX_TYPOS) return true;
  }
  return lettersOf(name) === lettersOf(lastPart(objectName));
}

const lastPart = (name: string) => name.split(/[:_]/).at(-1) ?? name;
const lettersOf = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '');

/* Names in the desired properties that have no effect, although their writer may believe that they have one. */

/** A twin can hold thousands of names; this many are reported. */
const MAX_UNKNOWN_NAMES = 32;
/** In characters. A longer name is not a misspelling, and comparing it would be slow. */
const LONGEST_COMPARED = 128;
/** Reported characters of a name at each end: an attacker who writes the twin must not fill the reported section with names. */
const REPORTED = { first: 48, last: 16 } as const;

/** Warnings by name. @param known to find the name that was probably meant */
export function unknownNames(
  names: readonly string[],
  known: readonly string[],
  max: number = MAX_UNKNOWN_NAMES,
): Record<string, string> {
  const warnings = names.slice(0, max).map((name) => {
    const nearest = name.length > LONGEST_COMPARED ? undefined : nearestName(name, known);
    return [shortened(name), didYouMean('is not known to this agent', nearest)] as const;
  });
  return Object.fromEntries(warnings);
}

/** A name as it is reported. */
function shortened(name: string): string {
  const { first, last } = REPORTED;
  return name.length > first + last ? `${name.slice(0, first)}…${name.slice(-last)}` : name;
}

const didYouMean = (warning: string, name: string | undefined): string =>
  name === undefined ? warning : `${warning}; did you mean "${name}"?`;
