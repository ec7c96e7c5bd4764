import * as v from 'valibot';
import { count, listOf, mode, relativePath, text, texts } from '../fields.ts';

const check = <const N extends string, E extends v.ObjectEntries>(name: N, entries: E) =>
  v.strictObject({ check: v.literal(name), ...entries });

/** Checks of passwd, group and shadow. */
const entries = [
  check('onlyUid0', { allow: texts }),
  check('primaryGid', { user: text, gid: count }),
  check('onlyGid0Group', { allow: texts }),
  check('onlyGid0', { allow: texts }),
  check('groupExists', { group: text, gid: count }),
  check('groupEmpty', { group: text }),
  check('noEmptyPassword', {}),
  check('allShadowed', {}),
  check('rootPasswordOrLocked', {}),
  check('hashMethods', { allow: texts }),
  check('uniqueUid', {}),
  check('uniqueGid', {}),
  check('uniqueUserName', {}),
  check('uniqueGroupName', {}),
  check('primaryGroupsExist', {}),
  check('noPlusEntries', { file: v.picklist(['passwd', 'shadow', 'group']) }),
  check('systemAccountsNoShell', { except: texts }),
  check('noShellAccountsLocked', { except: texts }),
  check('maxAge', { most: count }),
  check('minAge', { least: count }),
  check('inactive', { most: count }),
  check('lastChangePast', {}),
  check('absentUsers', { users: texts }),
] as const;

/** Checks of the homes of users who can log in. */
const homes = [
  check('homeExists', {}),
  check('homeOwned', {}),
  check('homeMode', { modeMax: mode }),
  check('dotFilesMode', { modeForbid: mode }),
  check('dotFilesOwner', {}),
  check('homeFileAbsent', { name: relativePath }),
  check('homeFileMode', { paths: listOf(relativePath), modeForbid: mode, privateForbid: mode }),
] as const;

export const params = v.variant('check', [...entries, ...homes, check('rootPath', { modeForbid: mode })]);
export type Params = v.InferOutput<typeof params>;
export type EntryParams = v.InferOutput<(typeof entries)[number]>;
export type HomeParams = v.InferOutput<(typeof homes)[number]>;

const HOME_CHECKS: readonly string[] = homes.map((each) => each.entries.check.literal);
export const isOfHomes = (of: EntryParams | HomeParams): of is HomeParams => HOME_CHECKS.includes(of.check);
