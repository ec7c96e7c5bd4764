import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CAN_READ, fromJson, type SelectionJson } from './engine/selection.ts';
import type { Document, Fault, ParsedRule } from './sigma/rule.ts';
import { readRuleSet } from './sigma/rule-set.ts';

/** The shipped rules, as `npm run docs` compiles them from `config/detections/*.yml`. */
export interface CompiledRules {
  /** Keyed by file. */
  readonly documents: Readonly<Record<string, readonly unknown[]>>;
  /** Selections of the rules on one source each, with rule ids by number. Computing them would take most of the loading time. */
  readonly selections: readonly (SelectionJson & { readonly rules: readonly string[] })[];
}

/** `config/` is next to the program in the bundle, and at the root of the repository. */
const PLACES = ['./config/detections/rules.json', '../../../../config/detections/rules.json'];

/** The documents of the shipped rules. */
export const builtInDocuments = (): readonly Document[] => compiledDocuments(JSON.parse(builtInText()));

/** The directory of the shipped rule files, to which the documents' file names are relative. */
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
