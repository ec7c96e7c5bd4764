import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { errnoOf } from '../../../core/base/errors.ts';
import { UsageError } from '../../../core/command-line/command.ts';
import { builtInDocuments, builtInFolder } from '../../detections/built-in.ts';
import { readOwnRules } from '../../detections/own-rules.ts';
import { problemOfName, ruleFilesOf } from '../../detections/rule-folder.ts';
import type { Document, Fault, ParsedRule } from '../../detections/sigma/rule.ts';
import { readRuleSet } from '../../detections/sigma/rule-set.ts';
import { statsOf } from '../input-files.ts';

export interface ReadRules {
  readonly rules: readonly ParsedRule[];
  readonly faults: readonly Fault[];
}

/** Rules of files, and of folders as an agent reads them, by themselves. @throws {UsageError} */
export async function rulesOfFiles(paths: readonly string[]): Promise<ReadRules> {
  const { documents, faults } = await documentsOf(await filesOf(paths));
  const read = readRuleSet(documents.filter(({ file }) => !faults.some((fault) => fault.file === file)));
  return { rules: read.rules, faults: [...faults, ...read.faults] };
}

/**
 * Checks files as an agent would that has them besides the shipped rules: filters may narrow these, and ids differ from theirs.
 * A file that is the source of shipped rules is checked in their place.
 *
 * @throws {UsageError}
 */
export async function checkFiles(paths: readonly string[]): Promise<{
  /** Rules, correlations and filters without a fault. */
  readonly good: number;
  readonly faults: readonly Fault[];
}> {
  const files = await filesOf(paths);
  const own = await documentsOf(files);
  const faulty = new Set(own.faults.map(({ file }) => file));
  const readable = own.documents.filter(({ file }) => !faulty.has(file));
  // Names of their files are relative: the operator's may be called the same.
  const checked = new Set(files.map(({ file }) => resolve(file)));
  const shipped = builtInDocuments()
    .filter(({ file }) => !checked.has(join(builtInFolder(), file)))
    .map((document) => ({ ...document, file: `shipped ${document.file}` }));
  const faults = [...own.faults, ...readRuleSet([...shipped, ...readable]).faults];
  const refused = new Set(faults.map(({ file }) => file));
  return { good: readable.filter(({ file }) => !refused.has(file)).length, faults };
}

/** The rules that an agent would load: the shipped ones and those of a folder of own ones, which need not exist. */
export async function allRules(folder: string): Promise<ReadRules> {
  const own = await readOwnRules(folder);
  const read = readRuleSet([...builtInDocuments(), ...own.documents]);
  return { rules: read.rules, faults: [...own.faults, ...read.faults] };
}

/** The rules that are shipped. */
export const builtInRules = (): ReadRules => readRuleSet(builtInDocuments());

/** A file that is named, or is in a folder that is. */
interface Named {
  readonly file: string;
  /** Why it is not read. */
  readonly problem?: string | undefined;
}

async function documentsOf(
  files: readonly Named[],
): Promise<{ readonly documents: readonly Document[]; readonly faults: readonly Fault[] }> {
  const { readYaml } = await import('../../detections/sigma/yaml.ts');
  const read = files.map(({ file, problem }) =>
    problem === undefined
      ? readYaml(textOf(file), file, 'local')
      : { documents: [], faults: [{ file, reason: problem }] },
  );
  return { documents: read.flatMap(({ documents }) => documents), faults: read.flatMap(({ faults }) => faults) };
}

const filesOf = async (paths: readonly string[]): Promise<readonly Named[]> =>
  (await Promise.all(paths.map(filesAt))).flat();

async function filesAt(path: string): Promise<readonly Named[]> {
  const stats = statsOf(path);
  if (stats === undefined) throw new UsageError(`${path} does not exist`);
  if (!stats.isDirectory()) return [{ file: path }];
  const names = await namesIn(path);
  if (names.length === 0) throw new UsageError(`${path} has no .yml files`);
  return names.map((name) => ({ file: join(path, name), problem: problemOfName(name) }));
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await ruleFilesOf(folder);
  } catch (error) {
    throw new UsageError(`${folder} cannot be read: ${errnoOf(error) ?? 'unknown'}`);
  }
}

export function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${errnoOf(error) ?? 'unknown'}`);
  }
}

/** `file:line: reason`, as compilers write it. */
export const faultLine = ({ file, line, reason }: Fault): string =>
  `${file}${line === undefined ? '' : `:${line}`}: ${reason}`;
