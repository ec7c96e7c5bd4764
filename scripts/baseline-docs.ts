import { primitives } from '../src/agent/baseline/primitives/index.ts';
import { defaultRules, type RuleExplanation, type RuleSet } from '../src/agent/baseline/rule-set.ts';
import { BASELINE_FOLDER, compileBaseline } from './baseline-rules.ts';
import { type DocumentGenerator, GENERATED, table } from './documents.ts';

/** The compiled rules, and the list of them. The rules come first, since the other documents are made from them. */
export const baselineDocuments: readonly DocumentGenerator[] = [
  { path: 'config/baseline/rules.json', generate: () => compileBaseline(BASELINE_FOLDER) },
  { path: 'config/baseline/README.md', generate: () => baselineDocument(defaultRules()) },
];

export function baselineDocument(rules: RuleSet): string {
  const all = rules.checks.flatMap(({ rule }) => rules.explain(rule.id) ?? []);
  const onByDefault = all.filter(({ level }) => level === 1).length;
  return `<!-- ${GENERATED} -->

# Hardening rules

${all.length} rules, version ${rules.version}. ${onByDefault} of them have level 1 and are evaluated by default; the others are opt-in. A rule
is data: a primitive, which reads one kind of fact, and its parameters. No rule runs a program or changes anything. Licence:
${rules.licence}. ${rules.origin}

Each category has a YAML file in this folder, with one rule per document. \`npm run docs\` compiles them into \`rules.json\`, which
is shipped; \`src/agent/baseline/\` evaluates the rules.
[Published requirements](../mapping/README.md) to which they contribute: IEC 62443-4-2, ETSI EN 303 645, Cyber Resilience Act.
[CONTRIBUTING.md](../../CONTRIBUTING.md#add-a-hardening-rule) explains how to add one. An operator's own rules have the
format of \`rules.json\`: one file \`{ "rules": [ … ] }\`, with ids that begin with \`custom.\`.

## Primitives

${table(
  ['Primitive', 'Rules', 'Reads'],
  primitives.map(({ name, summary }) => [
    `\`${name}\``,
    String(all.filter(({ primitive }) => primitive === name).length),
    summary,
  ]),
)}

## Roles

Rules that a device with a role has to break are skipped for devices that are declared to have it.

${table(
  ['Role', 'The device …', 'Rules skipped'],
  Object.entries(rules.roles).map(([role, words]) => [
    `\`${role}\``,
    words,
    String(all.filter(({ notRole }) => notRole.includes(role)).length),
  ]),
)}

${Object.entries(rules.categories)
  .map(([category, words]) =>
    section(
      category,
      words,
      all.filter((rule) => rule.category === category),
    ),
  )
  .join('\n')}`;
}

const section = (category: string, words: string, rules: readonly RuleExplanation[]) => `## ${category}

${words}.

${table(
  ['Rule', 'What must hold', 'Severity', 'Level', 'Expected', 'Also required by'],
  rules.map(({ id, title, severity, level, expected, source }) => [
    `\`${id}\``,
    title,
    severity,
    String(level),
    short(expected),
    source.join(', '),
  ]),
)}
`;

/** Short, to fit into a table; `vakt baseline --explain` prints everything. */
const short = (text: string) => (text.length > 90 ? `${text.slice(0, 89)}…` : text).replaceAll('<', '&lt;');
