import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { errnoOf } from '../../../core/base/errors.ts';
import { UsageError } from '../../../core/command-line/command.ts';
import { builtInDocuments, builtInFolder } from '../../detections/built-in.ts';
import { unseenOf } from '../../detections/detector.ts';
import { readOwnRules } from '../../detections/own-rules.ts';
import { problemOfName, ruleFilesOf } from '../../detections/rule-folder.ts';
import type { Document, Fault, ParsedRule } from '../../detections/sigma/rule.ts';
import { readRuleSet } from '../../detections/sigma/rule-set.ts';
import type { Rule } from '../../detections/subject.ts';
import { statsOf } from '../input-files.ts';
import { OFF_REASONS } from './rule-words.ts';

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
  /** Rules, correlations and filters without a fault or a warning. */
  readonly good: number;
  /** About rules that an agent loads, though they do not do what their author expects. */
  readonly warnings: readonly Fault[];
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
  const read = readRuleSet([...shipped, ...readable]);
  const faults = [...own.faults, ...read.faults];
  const refused = new Set(faults.map(({ file }) => file));
  const used = readable.filter(({ file }) => !refused.has(file));
  const inUse = new Set(used.map(({ file }) => file));
  const unseen = unseenOf(read.rules);
  const doubtful = read.rules
    .filter(({ facts }) => inUse.has(facts.file))
    .map(({ facts }) => ({ facts, reasons: doubtsAbout(facts, unseen) }))
    .filter(({ reasons }) => reasons.length > 0);
  const warnings = doubtful.flatMap(({ facts: { file, title }, reasons }) =>
    reasons.map((reason) => ({ file, reason: `the rule "${title}" ${reason}` })),
  );
  return { good: used.length - doubtful.length, warnings, faults };
}

/** RFC 9562, section 4; a rule without an id has its name or title instead. */
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function doubtsAbout({ id, name, title, sources }: Rule, unseen: ReadonlySet<string>): readonly string[] {
  const isNamed = id === name || id === title;
  return [
    ...(unseen.has(id) ? [`never matches: ${OFF_REASONS.noEvent} (${sources.join(', ')})`] : []),
    ...(isNamed || UUID.test(id) ? [] : [`has the id "${id}", which is not a UUID as Sigma requires`]),
  ];
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
