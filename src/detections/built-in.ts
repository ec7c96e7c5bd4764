import { existsSync, readFileSync } from 'node:fs';
import type { Document, Fault, ParsedRule } from './sigma/rule.ts';
import { readRuleSet } from './sigma/rule-set.ts';

/** The shipped rules, as `npm run docs` compiles them from `config/detections/*.yml`: documents by file. */
export type CompiledRules = Readonly<Record<string, readonly unknown[]>>;

/** In the bundle, `config/` is beside the program; in the repository, at its root. */
const PLACES = ['./config/detections/rules.json', '../../../config/detections/rules.json'];

/** The documents of the shipped rules. */
export function builtInDocuments(): readonly Document[] {
  const file = PLACES.map((place) => new URL(place, import.meta.url)).find((url) => existsSync(url));
  if (file === undefined) throw new Error('config/detections/rules.json is missing');
  return compiledDocuments(JSON.parse(readFileSync(file, 'utf8')), 'builtin');
}

export const compiledDocuments = (compiled: CompiledRules, origin: Document['origin']): readonly Document[] =>
  Object.entries(compiled).flatMap(([file, values]) =>
    values.map((value) => ({ file, origin, value, lineOf: () => undefined })),
  );

/** @param local documents of the operator, whose filters and correlations may refer to shipped rules */
export const withBuiltIn = (
  local: readonly Document[] = [],
): { readonly rules: readonly ParsedRule[]; readonly faults: readonly Fault[] } =>
  readRuleSet([...builtInDocuments(), ...local]);
