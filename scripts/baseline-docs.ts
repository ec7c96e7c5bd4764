import { primitives } from '../src/baseline/primitives/index.ts';
import { defaultRules, type RuleExplanation, type RuleSet } from '../src/baseline/rule-set.ts';
import { type DocumentGenerator, GENERATED, table } from './documents.ts';

/** The list of all hardening rules. */
export const baselineDocuments: readonly DocumentGenerator[] = [
  { path: 'config/baseline/README.md', generate: () => baselineDocument(defaultRules()) },
];

export function baselineDocument(rules: RuleSet): string {
  const all = rules.checks.flatMap(({ rule }) => rules.explain(rule.id) ?? []);
  const onByDefault = all.filter(({ level }) => level === 1).length;
  return `<!-- ${GENERATED} -->

# Hardening rules

${all.length} rules, version ${rules.version}; ${onByDefault} of them are of level 1, which is judged by default, the others are
opt-in. A rule is data: a fact, a primitive that looks at it, and parameters. No rule names a program to run, and none
changes anything. Licence: ${rules.licence}. ${rules.origin}

The files beside this page are the rules, one for each category; \`src/baseline/\` judges them. To add one, add it to its
category's file, and run \`npm run docs && npm test -- baseline\`. The operator's own rules have the same form, in one file
\`{ "rules": [ … ] }\`, with ids that begin with \`custom.\`.

## Primitives

${table(
  ['Primitive', 'Rules', 'Looks at'],
  primitives.map(({ name, summary }) => [
    `\`${name}\``,
    String(all.filter(({ primitive }) => primitive === name).length),
    summary,
  ]),
)}

## Roles

A device that is declared to have a role is not judged by the rules that such a device has to break.

${table(
  ['Role', 'The device …', 'Rules left out'],
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
  ['Rule', 'What must hold', 'Severity', 'Level', 'Expected', 'Asked for by'],
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

/** What doesn't fit into a table, `vakt baseline --explain` says. */
const short = (text: string) => (text.length > 90 ? `${text.slice(0, 89)}…` : text).replaceAll('<', '&lt;');
