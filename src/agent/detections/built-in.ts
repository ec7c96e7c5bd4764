import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CAN_READ, fromJson, type SelectionJson } from './engine/selection.ts';
import type { Document, Fault, ParsedRule } from './sigma/rule.ts';
import { readRuleSet } from './sigma/rule-set.ts';

/** The shipped rules, as `npm run docs` compiles them from `config/detections/*.yml`. */
export interface CompiledRules {
  /** By file. */
  readonly documents: Readonly<Record<string, readonly unknown[]>>;
  /** What selects the rules of one source each, and their ids by number. To find that would take most of the time to load. */
  readonly selections: readonly (SelectionJson & { readonly rules: readonly string[] })[];
}

/** In the bundle, `config/` is beside the program; in the repository, at its root. */
const PLACES = ['./config/detections/rules.json', '../../../../config/detections/rules.json'];

/** The documents of the shipped rules. */
export const builtInDocuments = (): readonly Document[] => compiledDocuments(JSON.parse(builtInText()));

/** The folder that the files of shipped documents are relative to; their sources are there, too. */
export const builtInFolder = (): string => fileURLToPath(new URL('.', builtInFile()));

function builtInFile(): URL {
  const file = PLACES.map((place) => new URL(place, import.meta.url)).find((url) => existsSync(url));
  if (file === undefined) throw new Error('config/detections/rules.json is missing');
  return file;
}

const builtInText = (): string => readFileSync(builtInFile(), 'utf8');

/** The shipped rules, with the SHA-256 of their file, in hexadecimal. */
export function builtInRules(): {
  readonly rules: readonly ParsedRule[];
  readonly faults: readonly Fault[];
  readonly sha256: string;
} {
  const text = builtInText();
  const sha256 = createHash('sha256').update(text).digest('hex');
  return { ...readRuleSet(compiledDocuments(JSON.parse(text))), sha256 };
}

function compiledDocuments({ documents, selections }: CompiledRules): readonly Document[] {
  const made = new Map<unknown, Pick<Document, 'made'>>();
  for (const { rules, ...json } of CAN_READ ? selections : []) {
    const selection = fromJson(json);
    for (const [number, id] of rules.entries()) made.set(id, { made: { selection, number } });
  }
  return Object.entries(documents).flatMap(([file, values]) =>
    values.map((value) => ({
      ...{ file, origin: 'builtin' as const, value, literals: 'later' as const, lineOf: () => undefined },
      ...made.get((value as { readonly id?: unknown }).id),
    })),
  );
}
