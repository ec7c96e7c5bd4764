import { readFileSync } from 'node:fs';
import { defaultRules, type RuleSet } from '../src/baseline/rule-set.ts';
import { type DocumentGenerator, GENERATED, table } from './documents.ts';

/** `config/mapping/standards.json`: which requirements the rules of each category contribute to. */
export interface Mapping {
  /** By id; the requirements by their numbers, with their subject in our words. */
  readonly standards: Readonly<
    Record<string, { readonly name: string; readonly requirements: Readonly<Record<string, string>> }>
  >;
  /** By category, then by the id of the standard. */
  readonly categories: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
}

export const readMapping = (): Mapping =>
  JSON.parse(readFileSync(new URL('../../config/mapping/standards.json', import.meta.url), 'utf8')) as Mapping;

export const mappingDocument: DocumentGenerator = {
  path: 'config/mapping/README.md',
  generate: () => mappingPage(readMapping(), defaultRules()),
};

export function mappingPage({ standards, categories }: Mapping, rules: RuleSet): string {
  const ids = Object.keys(standards);
  const rows = Object.keys(rules.categories).map((category) => [
    `[${category}](../baseline/README.md#${category})`,
    ...ids.map((id) => categories[category]?.[id]?.join(', ') || '–'),
  ]);
  return `<!-- ${GENERATED} -->

# Hardening rules and published requirements

To which requirements the rules of each category contribute. **This mapping is ours.** Nobody who publishes or certifies these
requirements has reviewed it. A rule covers a part of a requirement only, and a rule that holds is no proof of conformity: the
documents ask for more than an operating system's settings. The subjects below are in our words; the documents' own text
counts. The data is in \`standards.json\`; a requirement is listed only where the link is plain.

${table(['Rules', ...Object.values(standards).map(({ name }) => name)], rows)}

${Object.values(standards)
  .map(
    ({ name, requirements }) => `## ${name}

${table(['Requirement', 'Subject'], Object.entries(requirements))}
`,
  )
  .join('\n')}`;
}
