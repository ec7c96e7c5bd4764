import { defined, isPlainObject } from '../../../core/base/values.ts';
import { ALERT_LEVELS } from '../../../core/contract/event.ts';
import { RULE_LISTS } from '../../../core/contract/settings.ts';
import { ACTOR_KINDS, type ActorKind } from '../actors/trusted-actors.ts';
import type { Rule } from '../subject.ts';
import { textsOf } from './correlation.ts';
import { type Document, Refused } from './rule.ts';

/** The available lists: from the module twin, and the addresses from a local file. */
export const LISTS: readonly string[] = [...RULE_LISTS.keys(), 'badAddresses'];

/** @throws {Refused} for an unknown name, because such a list would always be empty */
export function checkList(name: string, path: readonly string[] = []): void {
  if (!LISTS.includes(name)) throw new Refused(`there is no list "${name}"; known: ${LISTS.join(', ')}`, path);
}

type Facts = Omit<Rule, 'sources' | 'alerts'>;

const VAKT_KEYS = ['alert', 'remediation', 'key', 'requires', 'limit', 'selections', 'lowered'];
const STATES = ['stable', 'test', 'experimental', 'deprecated', 'unsupported'];
/** Length limit of a string or list in a rule; alerts contain them. */
const MAX_VALUE_CHARACTERS = 20_000;

/** Metadata of the rule in a document. @throws {Refused} */
export function readFacts(
  { file, origin }: Document,
  value: Readonly<Record<string, unknown>>,
): Facts & { limit?: string } {
  const text = (key: string): string | undefined => {
    const given = value[key];
    if (given === undefined || given === null) return undefined;
    if (typeof given !== 'string' || given === '') throw new Refused(`"${key}" is not a string`, [key]);
    if (given.length > MAX_VALUE_CHARACTERS)
      throw new Refused(`"${key}" is longer than ${MAX_VALUE_CHARACTERS} characters`, [key]);
    return given;
  };
  const list = (key: string): readonly string[] => {
    const given = value[key];
    return given === undefined || given === null ? [] : textsOf(given, key);
  };
  const title = text('title');
  if (title === undefined) throw new Refused('"title" is missing');
  const { level = 'medium' } = value;
  const known = ALERT_LEVELS.find((each) => each === level);
  if (known === undefined)
    throw new Refused(`the level "${level}" is not one of ${ALERT_LEVELS.join(', ')}`, ['level']);
  const status = text('status');
  if (status !== undefined && !STATES.includes(status))
    throw new Refused(`the status "${status}" is not one of ${STATES.join(', ')}`, ['status']);
  const taxonomy = text('taxonomy');
  if (taxonomy !== undefined && taxonomy !== 'sigma')
    throw new Refused(`the taxonomy "${taxonomy}" is not known`, ['taxonomy']);
  const name = text('name');
  return {
    id: text('id') ?? name ?? title,
    title,
    level: known,
    tags: list('tags'),
    falsePositives: list('falsepositives'),
    references: list('references'),
    origin,
    file,
    ...defined({
      name,
      status,
      description: text('description'),
      author: text('author'),
      license: text('license'),
    }),
    ...ownFacts(value.vakt, value.detection),
  };
}

function ownFacts(value: unknown, detection: unknown) {
  if (value === undefined) return { requires: [] };
  if (!isPlainObject(value)) throw new Refused('"vakt" is not a map', ['vakt']);
  for (const key of Object.keys(value)) {
    if (!VAKT_KEYS.includes(key)) throw new Refused(`"${key}" is not known in "vakt"`, ['vakt', key]);
  }
  const { alert, remediation, limit } = value;
  if (alert !== undefined && (typeof alert !== 'string' || !/^[A-Za-z]\w{0,99}$/.test(alert)))
    throw new Refused('"alert" is a name of letters, digits and _', ['vakt', 'alert']);
  for (const [key, text] of Object.entries({ remediation, limit })) {
    if (text !== undefined && typeof text !== 'string') throw new Refused(`"${key}" is not a string`, ['vakt', key]);
  }
  const requires = value.requires === undefined ? [] : textsOf(value.requires, 'requires');
  for (const name of requires) checkList(name, ['vakt', 'requires']);
  if (typeof limit === 'string') checkList(limit, ['vakt', 'limit']);
  return {
    requires,
    ...defined({
      alert: alert as string | undefined,
      remediation: remediation as string | undefined,
      limit: limit as string | undefined,
    }),
    ...(value.key === undefined ? {} : { key: textsOf(value.key, 'key') }),
    ...(value.lowered === undefined ? {} : { lowered: kindsOf(value.lowered) }),
    ...(value.selections === undefined ? {} : { selectionTags: selectionTags(value.selections, detection) }),
  };
}

const ATTACK_TAG = /^attack\.[a-z0-9.-]{1,64}$/;

/** Tags of MITRE ATT&CK, keyed by the name of a selection. */
function selectionTags(value: unknown, detection: unknown): Readonly<Record<string, readonly string[]>> {
  const path = ['vakt', 'selections'];
  if (!isPlainObject(value)) throw new Refused('"selections" is not a map', path);
  const tags = Object.entries(value).map(([name, given]) => {
    if (!isPlainObject(detection) || name === 'condition' || !Object.hasOwn(detection, name))
      throw new Refused(`the rule has no selection "${name}"`, [...path, name]);
    const all = textsOf(given, name);
    const other = all.find((tag) => !ATTACK_TAG.test(tag));
    if (other !== undefined) throw new Refused(`"${other}" is not a tag of MITRE ATT&CK`, [...path, name]);
    return [name, all] as const;
  });
  return Object.fromEntries(tags);
}

function kindsOf(value: unknown): readonly ActorKind[] {
  return textsOf(value, 'lowered').map((name) => {
    const kind = ACTOR_KINDS.find((each) => each === name);
    if (kind !== undefined) return kind;
    throw new Refused(`"${name}" in "lowered" is not one of ${ACTOR_KINDS.join(', ')}`, ['vakt', 'lowered']);
  });
}
