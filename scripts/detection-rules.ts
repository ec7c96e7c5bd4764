import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { builtInRules } from '../src/detections/built-in.ts';
import { visit } from '../src/detections/sigma/log-source.ts';
import type { ParsedRule } from '../src/detections/sigma/rule.ts';
import { readRuleSet } from '../src/detections/sigma/rule-set.ts';
import { readYaml } from '../src/detections/sigma/yaml.ts';
import { keptFigures } from '../test/detections/recall.ts';
import { ruleCases } from '../test/detections/unseen-cases.ts';
import { alertsDocument, attackLayer, type Trials } from './detection-docs.ts';
import type { DocumentGenerator } from './documents.ts';

const FOLDER = fileURLToPath(new URL('../../config/detections', import.meta.url));

/**
 * The shipped detection rules as JSON, since a device parses no YAML for them, and what is said about them. The JSON comes
 * first: the others are made of it.
 */
export const detectionDocuments: readonly DocumentGenerator[] = [
  { path: 'config/detections/rules.json', generate: () => compileRules(FOLDER) },
  { path: 'config/detections/README.md', generate: () => alertsDocument(builtInRules().rules, trials()) },
  { path: 'config/detections/attack-layer.json', generate: () => attackLayer(builtInRules().rules) },
];

function trials(): Trials {
  const cases: Record<string, { attacks: number; lookAlikes: number }> = {};
  for (const { alert, expect } of ruleCases()) {
    cases[alert] ??= { attacks: 0, lookAlikes: 0 };
    cases[alert][expect ? 'attacks' : 'lookAlikes'] += 1;
  }
  return { ...keptFigures(), cases };
}

/** @throws if a file is at fault: what is shipped must load */
export function compileRules(folder: string): string {
  const files = readdirSync(folder)
    .filter((file) => file.endsWith('.yml'))
    .sort()
    .map((file) => ({ file, ...readYaml(readFileSync(join(folder, file), 'utf8'), file, 'local') })); // checked as strictly
  const documents = files.flatMap((file) => file.documents);
  const { rules, faults: refused } = readRuleSet(documents);
  const faults = [...files.flatMap((file) => file.faults), ...refused];
  if (faults.length > 0)
    throw new Error(
      faults.map(({ file, line, reason }) => `config/detections/${file}:${line ?? 1}: ${reason}`).join('\n'),
    );
  const rows = files.map(
    ({ file, documents: all }) =>
      `${JSON.stringify(file)}: [\n${all.map(({ value }) => JSON.stringify(value)).join(',\n')}\n]`,
  );
  return `{"documents": {\n${rows.join(',\n')}\n},\n"literals": {\n${literalRows(rules).join(',\n')}\n}}\n`;
}

function literalRows(rules: readonly ParsedRule[]): readonly string[] {
  const literals = new Map<string, readonly string[] | undefined>();
  for (const rule of rules) {
    if (rule.is === 'correlation') continue;
    visit(rule.expression, (_, test) => {
      if (test?.is === 'pattern') literals.set(test.key, test.pattern.literals);
    });
  }
  return [...literals].map(([key, all]) => `${JSON.stringify(key)}: ${JSON.stringify(all ?? null)}`);
}
