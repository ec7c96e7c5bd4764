import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import * as v from 'valibot';
import type { Severity } from '../../core/contract/baseline.ts';
import { firstProblem } from './problem.ts';
import { type Check, checkOf, ruleSchema } from './rule.ts';
import { sourcesOf } from './rule-sources.ts';

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
  /** The digest of the files' bytes. */
  readonly sha256: string;
  readonly licence: string;
  readonly origin: string;
  /** Descriptions of the roles, by name. */
  readonly categories: Readonly<Record<string, string>>;
  readonly roles: Readonly<Record<string, string>>;
  readonly checks: readonly Check[];
  /** @returns `undefined` if the rule does not exist */
  explain(id: string): RuleExplanation | undefined;
}

const words = v.record(v.pipe(v.string(), v.regex(/^[a-z][a-z0-9-]*$/)), v.pipe(v.string(), v.nonEmpty()));

const indexSchema = v.strictObject({
  version: v.pipe(v.string(), v.regex(/^\d+\.\d+\.\d+$/)),
  licence: v.literal('MIT'),
  origin: v.string(),
  categories: words,
  roles: words,
});

const fileSchema = v.strictObject({ licence: v.literal('MIT'), rules: v.array(ruleSchema) });

/** `rule-set.json` lists the categories; each has a file of its name in the same folder. */
const INDEX = 'rule-set.json';

/** Beside the program if it is one bundled file, otherwise the folder in the repository. */
const PLACES = ['./config/baseline/', '../../../../config/baseline/'].map((place) => new URL(place, import.meta.url));

let loaded: RuleSet | undefined;

/** The rules shipped with the agent; read and validated at the first call. */
export function defaultRules(): RuleSet {
  loaded ??= loadRules(PLACES.find((place) => existsSync(new URL(INDEX, place))) ?? PLACES[0] ?? new URL('file:///'));
  return loaded;
}

/**
 * Reads a folder of rules.
 *
 * @throws Error with the file and the path in it if a file is invalid: a defect of the shipped files
 */
export function loadRules(folder: URL): RuleSet {
  const hash = createHash('sha256');
  const read = <S extends v.GenericSchema>(name: string, schema: S): v.InferOutput<S> => {
    const bytes = readFileSync(new URL(name, folder));
    hash.update(bytes);
    const result = v.safeParse(schema, JSON.parse(bytes.toString('utf8')), { abortEarly: true });
    if (result.success) return result.output;
    throw new Error(`${name}: ${firstProblem(result.issues)}`);
  };
  const { version, licence, origin, categories, roles } = read(INDEX, indexSchema);
  const checks: Check[] = [];
  const seen = new Set<string>();
  for (const category of Object.keys(categories)) {
    for (const rule of read(`${category}.json`, fileSchema).rules) {
      const invalid = (what: string) => new Error(`${category}.json: ${rule.id} ${what}`);
      if (seen.has(rule.id)) throw invalid('occurs twice');
      if (rule.category !== category) throw invalid(`belongs to ${rule.category}`);
      const role = rule.appliesTo.notRole?.find((name) => !(name in roles));
      if (role !== undefined) throw invalid(`names the unknown role ${role}`);
      seen.add(rule.id);
      checks.push(checkOf(rule));
    }
  }
  return {
    version,
    sha256: hash.digest('hex'),
    licence,
    origin,
    categories,
    roles,
    checks,
    explain(id) {
      const check = checks.find(({ rule }) => rule.id === id);
      return check === undefined ? undefined : explanation(check);
    },
  };
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
