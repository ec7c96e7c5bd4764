import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { ruleSchema } from '../src/agent/baseline/rule.ts';
import { firstProblem, indexSchema, problemOf } from '../src/agent/baseline/rule-set.ts';
import type { Document, Fault } from '../src/agent/detections/sigma/rule.ts';
import { jsonLines, readRuleFiles, throwIfFaulty } from './compiled-rules.ts';

export const BASELINE_FOLDER = fileURLToPath(new URL('../../config/baseline', import.meta.url));

/** Describes the rule set; every other file is named after its category and has one rule per document. */
const INDEX = 'rule-set.yml';

/**
 * Compiles the hardening rules to the JSON that is shipped. The category of a rule is the name of its file.
 *
 * @throws Error with file, line and reason of each fault
 */
export function compileBaseline(folder: string): string {
  const files = new Map(readRuleFiles(folder).map(({ file, documents }) => [file, documents]));
  const set = readIndex(folder, files.get(INDEX));
  files.delete(INDEX);
  const context: Context = { set, ids: new Set(), faults: [] };
  const rules = Object.keys(set.categories).flatMap((category) => {
    const file = `${category}.yml`;
    const documents = files.get(file) ?? [];
    files.delete(file);
    if (documents.length === 0) context.faults.push({ file, reason: `has no rule, but ${INDEX} lists the category` });
    return documents.map((document) => compileRule(document, category, context));
  });
  for (const file of files.keys()) context.faults.push({ file, reason: `${INDEX} does not list this category` });
  throwIfFaulty(folder, context.faults);
  const head = JSON.stringify(set).slice(0, -1);
  return `${head}, "rules": [\n${jsonLines(rules)}\n]}\n`;
}

type Index = v.InferOutput<typeof indexSchema>;

function readIndex(folder: string, documents: readonly Document[] = []): Index {
  const { output, success, issues } = v.safeParse(indexSchema, documents[0]?.value);
  if (!success) throwIfFaulty(folder, [{ file: INDEX, reason: firstProblem(issues) }]);
  return output as Index;
}

interface Context {
  readonly set: Index;
  /** Ids of the rules compiled so far. */
  readonly ids: Set<string>;
  readonly faults: Fault[];
}

/** Adds the faults of the rule to those of the context. */
function compileRule({ value, file, lineOf }: Document, category: string, { set, ids, faults }: Context): unknown {
  const report = (reason: string, path: readonly (string | number)[] = []) => {
    const line = lineOf(path);
    faults.push({ file, reason, ...(line === undefined ? {} : { line }) });
  };
  if (Object.hasOwn(value as object, 'category'))
    report('has a category; the name of its file is the category', ['category']);
  const { success, output, issues } = v.safeParse(ruleSchema, { ...(value as object), category }, { abortEarly: true });
  if (success) {
    const problem = problemOf(output, set, ids);
    if (problem !== undefined) report(`${output.id} ${problem}`);
    ids.add(output.id);
  } else {
    const path = (issues[0].path ?? []).map(({ key }) => key as string | number);
    report(firstProblem(issues), path);
  }
  return output;
}
