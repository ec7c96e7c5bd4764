import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import type { Document, Fault, ParsedRule } from './sigma/rule.ts';
import { readRuleSet } from './sigma/rule-set.ts';

/** The shipped rules, as `npm run docs` compiles them from `config/detections/*.yml`. */
export interface CompiledRules {
  /** By file. */
  readonly documents: Readonly<Record<string, readonly unknown[]>>;
  /** Of all expressions; null: none is known. To find them would take most of the time to load. */
  readonly literals: Readonly<Record<string, readonly string[] | null>>;
}

/** In the bundle, `config/` is beside the program; in the repository, at its root. */
const PLACES = ['./config/detections/rules.json', '../../../config/detections/rules.json'];

/** The documents of the shipped rules. */
export const builtInDocuments = (): readonly Document[] => compiledDocuments(JSON.parse(builtInText()), 'builtin');

function builtInText(): string {
  const file = PLACES.map((place) => new URL(place, import.meta.url)).find((url) => existsSync(url));
  if (file === undefined) throw new Error('config/detections/rules.json is missing');
  return readFileSync(file, 'utf8');
}

/** The shipped rules, with the SHA-256 of their file, in hexadecimal. */
export function builtInRules(): {
  readonly rules: readonly ParsedRule[];
  readonly faults: readonly Fault[];
  readonly sha256: string;
} {
  const text = builtInText();
  const sha256 = createHash('sha256').update(text).digest('hex');
  return { ...readRuleSet(compiledDocuments(JSON.parse(text), 'builtin')), sha256 };
}

export function compiledDocuments(compiled: CompiledRules, origin: Document['origin']): readonly Document[] {
  const literals = new Map(Object.entries(compiled.literals).map(([key, all]) => [key, all ?? undefined]));
  return Object.entries(compiled.documents).flatMap(([file, values]) =>
    values.map((value) => ({ file, origin, value, literals, lineOf: () => undefined })),
  );
}
