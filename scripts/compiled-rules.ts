import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Document, Fault } from '../src/agent/detections/sigma/rule.ts';
import { readYaml } from '../src/agent/detections/sigma/yaml.ts';

/* Reads the YAML files in config/ that are shipped as JSON, since a device should not parse YAML at each start. */

/** One YAML file of rules. */
export interface RuleFile {
  readonly file: string;
  readonly documents: readonly Document[];
}

/**
 * Reads the YAML files of a folder in the order of their names, with the limits that apply to files on a device.
 *
 * @throws Error with file, line and reason if a file is not valid YAML
 */
export function readRuleFiles(folder: string): readonly RuleFile[] {
  const files = readdirSync(folder)
    .filter((file) => file.endsWith('.yml'))
    .sort()
    .map((file) => ({ file, ...readYaml(readFileSync(join(folder, file), 'utf8'), file, 'local') }));
  throwIfFaulty(
    folder,
    files.flatMap(({ faults }) => faults),
  );
  return files;
}

/** @throws Error with file, line and reason of each fault, if there are any */
export function throwIfFaulty(folder: string, faults: readonly Fault[]): void {
  if (faults.length === 0) return;
  const lines = faults.map(({ file, line, reason }) => `config/${basename(folder)}/${file}:${line ?? 1}: ${reason}`);
  throw new Error(lines.join('\n'));
}

/** The members of a JSON array or object, one per line, so that a change of a rule is a change of its line. */
export const jsonLines = (values: readonly unknown[]): string =>
  values.map((value) => JSON.stringify(value)).join(',\n');
