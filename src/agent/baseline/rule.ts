import * as v from 'valibot';
import { SEVERITIES } from '../../core/contract/baseline.ts';
import { FEATURES } from './features.ts';
import { listOf, text } from './fields.ts';
import type { Primitive } from './primitive.ts';
import { primitives } from './primitives/index.ts';
import type { System } from './system.ts';
import type { Verdict } from './verdict.ts';

const FEATURE_NAMES = Object.keys(FEATURES);

/** A feature of the system, or several of which one is enough: `sysvinit|busybox-init`. */
const need = v.pipe(
  v.string(),
  v.check(
    (names) => names.split('|').every((name) => FEATURE_NAMES.includes(name)),
    ({ input }) => `is not a feature: ${String(input).slice(0, 60)}`,
  ),
);

const name = v.pipe(v.string(), v.maxLength(40), v.regex(/^[a-z][a-z0-9-]*$/, 'is not a name in lower case'));

const appliesTo = v.strictObject({
  /** Features that the system must have; otherwise the rule is skipped. */
  needs: v.optional(listOf(need)),
  /** Roles to which the rule does not apply. */
  notRole: v.optional(listOf(name)),
  /** Whether it can be evaluated from within a container without access to the host. */
  container: v.boolean(),
});

/** Other benchmarks with the same check, for comparison. Contains no text of a benchmark. */
const source = v.strictObject({
  /** The rule file of the archived agents. */
  oms: v.optional(text),
  /** azure-osconfig. */
  asb: v.optional(text),
  /** ComplianceAsCode. */
  ssg: v.optional(listOf(text)),
  /** The number of a section of the CIS benchmark for Debian 13. */
  cisDeb13: v.optional(text),
  other: v.optional(text),
});

/** The fields common to all rules. */
const common = {
  id: v.pipe(
    v.string(),
    v.maxLength(80),
    v.regex(/^[a-z][a-z0-9]*(?:[._-][A-Za-z0-9_-]+)+$/, 'is not a dotted name such as sysctl.net.ipv4.ip_forward'),
  ),
  /** An id of NIST's Common Configuration Enumeration; several rules may share one. */
  cce: v.optional(v.pipe(v.string(), v.regex(/^CCE-\d{1,7}-\d$/, 'is not a CCE id'))),
  category: name,
  severity: v.picklist(SEVERITIES),
  level: v.picklist([1, 2]),
  title: text,
  appliesTo,
  source: v.optional(source),
};

const ruleOf = <const N extends string, S extends v.GenericSchema>({ name, params }: { name: N; params: S }) =>
  v.strictObject({ ...common, primitive: v.literal(name), params });

/** One rule as in its file: data only. */
export const ruleSchema = v.variant('primitive', [
  ...primitives.map((each) => ruleOf(each as { name: string; params: v.GenericSchema })),
] as [ReturnType<typeof ruleOf>, ...ReturnType<typeof ruleOf>[]]);
export type Rule = v.InferOutput<typeof ruleSchema>;

/** A rule that can be evaluated. */
export interface Check {
  readonly rule: Rule;
  /** What its primitive checks. */
  readonly looksAt: string;
  readonly expected: string;
  readonly remedy: string;
  evaluate(system: System): Verdict | Promise<Verdict>;
}

/** Binds a rule's parameters to its primitive. */
export function checkOf(rule: Rule): Check {
  const primitive = primitives.find(({ name }) => name === rule.primitive) as Primitive<unknown> | undefined;
  if (primitive === undefined) throw new TypeError(`${rule.id} has no primitive`); // excluded by its schema
  return {
    rule,
    looksAt: primitive.summary,
    expected: primitive.expected(rule.params),
    remedy: primitive.remedy(rule.params),
    evaluate: (system) => primitive.evaluate(rule.params, system),
  };
}

/** Other benchmarks with the same check, as text: `CIS Debian 13 7.1.1`. */
export function sourcesOf({ oms, asb, ssg, cisDeb13, other }: NonNullable<Rule['source']>): string[] {
  return [
    ...(cisDeb13 === undefined ? [] : [`CIS Debian 13 ${cisDeb13}`]),
    ...(ssg ?? []).map((name) => `ComplianceAsCode ${name}`),
    ...(oms === undefined ? [] : [`OMS ${oms}`]),
    ...(asb === undefined ? [] : [`azure-osconfig ${asb}`]),
    ...(other === undefined ? [] : [other]),
  ];
}

/** The same in one line: `CIS Debian 13 7.1.1; ComplianceAsCode file_owner_x, file_groupowner_x`. */
export const sourceLine = ({ ssg, ...others }: NonNullable<Rule['source']>): string =>
  sourcesOf(ssg === undefined ? others : { ...others, ssg: [ssg.join(', ')] }).join('; ');

/*
 * The stages of a scan, by what they read. A scan that hangs is repeated without the stage in which it hung, so that a
 * user's file system that does not answer prevents only the rules that read it.
 */

/** The stage before the first rule. If it hangs, the scan fails. */
export const START = 'start';
/** The file of custom checks. */
export const CUSTOM = 'custom';

/** Rules that read homes share one stage, and so do those that walk the file systems. */
export function stageOf({ id, primitive, params }: Rule): string {
  if (primitive === 'fswalk') return 'walk';
  const { check } = params as { check?: unknown };
  return primitive === 'accounts' && typeof check === 'string' && /^(?:home|dotFiles)/.test(check) ? 'homes' : id;
}

/** The child's message before each step: the stage, and the path that it reads. */
export const formatStage = (stage: string, where: string): string => `${stage} ${where}`;

/** Parses such a message. */
export function parseStage(text: string): { readonly stage: string; readonly where: string } {
  const blank = text.indexOf(' ');
  return blank === -1 ? { stage: text, where: '' } : { stage: text.slice(0, blank), where: text.slice(blank + 1) };
}
