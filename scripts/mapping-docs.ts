import { readFileSync } from 'node:fs';
import { defaultRules, type RuleSet } from '../src/agent/baseline/rule-set.ts';
import { type DocumentGenerator, GENERATED, table } from './documents.ts';

/** Requirements by the id of their standard. */
type Requirements = Readonly<Record<string, readonly string[]>>;

/** `config/mapping/standards.json`: which requirements the rules contribute to. */
export interface Mapping {
  /** Documents, keyed by id; requirements, keyed by number, with their subject in our words. */
  readonly standards: Readonly<Record<string, Standard>>;
  /** Mappings, keyed by category. */
  readonly categories: Readonly<Record<string, Requirements>>;
  /** By rule, for those that differ from their category: what holds instead, for the standards in which they differ. */
  readonly rules: Readonly<Record<string, Requirements>>;
}

interface Standard {
  readonly name: string;
  /** How numbers and subjects were checked. */
  readonly checked: string;
  readonly requirements: Readonly<Record<string, string>>;
}

export const readMapping = (): Mapping =>
  JSON.parse(readFileSync(new URL('../../config/mapping/standards.json', import.meta.url), 'utf8')) as Mapping;

export const mappingDocument: DocumentGenerator = {
  path: 'config/mapping/README.md',
  generate: () => mappingPage(readMapping(), defaultRules()),
};

/** What a rule contributes to, by the id of the standard. */
export const requirementsOf = ({ categories, rules }: Mapping, category: string, rule: string): Requirements => ({
  ...categories[category],
  ...rules[rule],
});

export function mappingPage(mapping: Mapping, rules: RuleSet): string {
  const { standards, categories } = mapping;
  const names = Object.values(standards).map(({ name }) => name);
  const link = (category: string) => `[${category}](../baseline/README.md#${category})`;
  const byCategory = Object.keys(rules.categories).map((category) => [
    link(category),
    ...cellsOf(mapping, categories[category]),
  ]);
  const byRule = Object.keys(rules.categories).flatMap((category) =>
    differing(mapping, category, rules).map(({ ids, cells }) => [
      link(category),
      ids.map((id) => `\`${id}\``).join(', '),
      ...cells,
    ]),
  );
  return `<!-- ${GENERATED} -->

# Hardening rules and published requirements

To which requirements the rules contribute: by category, and below for each rule that differs from its category. **This mapping
is ours.** No publisher or certifier of these requirements has reviewed it. A rule covers a part of a requirement only, and
a rule that holds does not prove conformity: the documents ask for more than an operating system's settings. The subjects below
are in our words; the documents' own text counts. The data is in \`standards.json\`; a requirement is listed only where the
link is plain.

## By category

${table(['Rules', ...names], byCategory)}

## Rules that differ from their category

These contribute to what is listed here, instead of what their category is listed with above.

${table(['Category', 'Rules', ...names], byRule)}

${Object.values(standards)
  .map(
    ({ name, checked, requirements }) => `## ${name}

How this was checked: ${checked}

${table(['Requirement', 'Subject'], Object.entries(requirements))}
`,
  )
  .join('\n')}`;
}

const cellsOf = ({ standards }: Mapping, requirements: Requirements = {}): string[] =>
  Object.keys(standards).map((id) => requirements[id]?.join(', ') || '–');

/** The rules of a category that differ from it: together those that contribute to the same. */
function differing(mapping: Mapping, category: string, { checks }: RuleSet) {
  const rows = new Map<string, { readonly ids: string[]; readonly cells: readonly string[] }>();
  for (const { rule } of checks) {
    if (rule.category !== category || mapping.rules[rule.id] === undefined) continue;
    const cells = cellsOf(mapping, requirementsOf(mapping, category, rule.id));
    const row = rows.get(cells.join()) ?? { ids: [], cells };
    row.ids.push(rule.id);
    rows.set(cells.join(), row);
  }
  return [...rows.values()];
}
