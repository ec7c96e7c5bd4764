import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import * as v from 'valibot';
import type { Severity } from '../../core/contract/baseline.ts';
import { type Check, checkOf, type Rule, ruleSchema, sourcesOf } from './rule.ts';

/** The path and message of a value that a schema rejected: `rules[3].params.modeMax: is not a mode …`. */
export function firstProblem(issues: readonly v.BaseIssue<unknown>[]): string {
  const [issue] = issues;
  if (issue === undefined) return 'is invalid';
  let path = '';
  for (const { key } of (issue.path ?? []) as readonly { key: unknown }[])
    path += typeof key === 'number' ? `[${key}]` : `${path === '' ? '' : '.'}${String(key).slice(0, 60)}`;
  return `${path === '' ? 'the file' : path}: ${issue.message.slice(0, 200)}`;
}

/** A description of one rule, for the operator. */
export interface RuleExplanation {
  readonly id: string;
  readonly title: string;
  readonly category: string;
  readonly severity: Severity;
  readonly level: 1 | 2;
  readonly primitive: string;
  /** What the primitive checks. */
  readonly looksAt: string;
  /** Its parameters as text. */
  readonly expected: string;
  readonly remediation: string;
  /** Features without which it is skipped; `a|b`: one of them is enough. */
  readonly needs: readonly string[];
  readonly notRole: readonly string[];
  readonly inContainers: boolean;
  readonly cce?: string;
  /** Other benchmarks with the same check: `CIS Debian 13 7.1.1`. */
  readonly source: readonly string[];
}

/** Rules that have been read and validated. */
export interface RuleSet {
  readonly version: string;
  /** The SHA-256 of the compiled file, in hexadecimal. */
  readonly sha256: string;
  readonly licence: string;
  readonly origin: string;
  /** Descriptions of the categories, by name. */
  readonly categories: Readonly<Record<string, string>>;
  /** Descriptions of the roles, by name. */
  readonly roles: Readonly<Record<string, string>>;
  readonly checks: readonly Check[];
  /** @returns `undefined` if the rule does not exist */
  explain(id: string): RuleExplanation | undefined;
}

const descriptions = v.record(v.pipe(v.string(), v.regex(/^[a-z][a-z0-9-]*$/)), v.pipe(v.string(), v.nonEmpty()));

const indexFields = {
  version: v.pipe(v.string(), v.regex(/^\d+\.\d+\.\d+$/)),
  licence: v.literal('MIT'),
  origin: v.string(),
  categories: descriptions,
  roles: descriptions,
};

/** `config/baseline/rule-set.yml`: what the rules have in common. */
export const indexSchema = v.strictObject(indexFields);

const fileSchema = v.strictObject({ ...indexFields, rules: v.array(ruleSchema) });

/** Compiled from the YAML files by `npm run docs`. In the bundle, `config/` is next to the program. */
const FILES = ['./config/baseline/rules.json', '../../../../config/baseline/rules.json'].map(
  (path) => new URL(path, import.meta.url),
);

let loaded: RuleSet | undefined;

/** The rules shipped with the agent; read and validated at the first call. */
export function defaultRules(): RuleSet {
  const file = FILES.find((each) => existsSync(each));
  if (file === undefined) throw new Error('config/baseline/rules.json is missing');
  loaded ??= loadRules(file);
  return loaded;
}

/**
 * Reads compiled rules.
 *
 * @throws Error with the path of the value if the file is invalid: a defect of the shipped file
 */
export function loadRules(file: URL): RuleSet {
  const bytes = readFileSync(file);
  const result = v.safeParse(fileSchema, JSON.parse(bytes.toString('utf8')), { abortEarly: true });
  if (!result.success) throw new Error(`rules.json: ${firstProblem(result.issues)}`);
  const { rules, ...set } = result.output;
  const seen = new Set<string>();
  for (const rule of rules) {
    const problem = problemOf(rule, set, seen);
    if (problem !== undefined) throw new Error(`rules.json: ${rule.id} ${problem}`);
    seen.add(rule.id);
  }
  const checks = rules.map(checkOf);
  return {
    ...set,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    checks,
    explain(id) {
      const check = checks.find(({ rule }) => rule.id === id);
      return check === undefined ? undefined : explanation(check);
    },
  };
}

/** @param seen ids of the rules before it */
export function problemOf(
  { id, category, appliesTo }: Rule,
  { categories, roles }: Pick<RuleSet, 'categories' | 'roles'>,
  seen: ReadonlySet<string>,
): string | undefined {
  if (seen.has(id)) return 'occurs twice';
  if (!Object.hasOwn(categories, category)) return `has the unknown category ${category}`;
  const role = appliesTo.notRole?.find((name) => !Object.hasOwn(roles, name));
  return role === undefined ? undefined : `names the unknown role ${role}`;
}

function explanation({ rule, looksAt, expected, remedy }: Check): RuleExplanation {
  const { id, title, category, severity, level, primitive, cce, appliesTo, source = {} } = rule;
  return {
    id,
    title,
    category,
    severity,
    level,
    primitive,
    looksAt,
    expected,
    remediation: remedy,
    needs: appliesTo.needs ?? [],
    notRole: appliesTo.notRole ?? [],
    inContainers: appliesTo.container,
    ...(cce === undefined ? {} : { cce }),
    source: sourcesOf(source),
  };
}
