import { createHash } from 'node:crypto';
import { lstatSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../core/base/errors.ts';
import { readPlainFile } from '../../core/base/plain-file.ts';
import { nextTurn } from '../../core/base/waiting.ts';
import { parseNetwork } from '../../core/contract/ip-network.ts';
import type { Compiled, RuleFile } from './compiled-files.ts';
import { type Listing, listingOf, problemOfName, ruleFilesOf } from './rule-folder.ts';
import type { Document, Fault } from './sigma/rule.ts';
import { finishInTurns } from './slices.ts';

/** Maximum number of files that are read from the directory; the rest is rejected. */
export const MAX_FILES = 500;
const MAX_RULE_FILE_BYTES = 256 * 1024;
const MAX_ADDRESS_FILE_BYTES = 1024 * 1024;
/** Each network is compared with each new connection. */
const MAX_ADDRESSES = 4_096;

/** The operator's own rules on disk. */
export interface OwnRules {
  readonly documents: readonly Document[];
  /** Errors of rejected files. */
  readonly faults: readonly Fault[];
  /** The files that were read; omitted if the directory is rejected. */
  readonly files?: readonly RuleFile[];
  /** `cat *.yml | sha256sum` of the directory; omitted without files. */
  readonly sha256?: string;
}

const NONE: OwnRules = { documents: [], faults: [], files: [] };

/**
 * Reads the `.yml` files of a directory in the order of their names; other rules in it are rejected. A user who can write a rule
 * can disable detection, so the directory and files must be owned by root and not writable by other users.
 *
 * @param wantedHash if it isn't empty and differs from the directory's hash, no file is loaded
 * @param compiled files that were compiled before, which are not parsed again
 * @param listing the content of the directory; listed if omitted
 */
export async function readOwnRules(
  folder: string,
  wantedHash = '',
  compiled?: Compiled,
  listing?: Listing,
): Promise<OwnRules> {
  const listed = listing ?? (await ruleFilesOf(folder).then((names) => ({ names }), listingOf));
  if ('problem' in listed) return refused(folder, listed.problem);
  const { names } = listed;
  if (names.length === 0) return NONE;
  const problem = problemOfFolder(folder);
  if (problem !== undefined) return refused(folder, problem);
  if (names.length > MAX_FILES) return refused(folder, `it has more than ${MAX_FILES} files`);
  const digest = createHash('sha256');
  const texts: RuleFile[] = [];
  const faults: Fault[] = [];
  for (const name of names) {
    const path = join(folder, name);
    try {
      const problem = problemOfName(name) ?? problemOf(lstatSync(path), 'file');
      if (problem !== undefined) throw new Error(problem);
      const text = readPlainFile(path, MAX_RULE_FILE_BYTES);
      digest.update(text);
      texts.push({ path, text });
    } catch (error) {
      faults.push({ file: path, reason: messageOf(error) });
    }
    await nextTurn();
  }
  const sha256 = digest.digest('hex');
  if (wantedHash !== '' && wantedHash !== sha256) {
    return { ...refused(folder, `its SHA-256 is ${sha256}, not ${wantedHash} as the module twin says`), sha256 };
  }
  const files: RuleFile[] = [];
  for (const file of texts) {
    const known = compiled?.find(file);
    const read = known === undefined ? await parsed(file) : { documents: known, faults: [] };
    faults.push(...read.faults);
    const wasCompiled = known !== undefined;
    files.push(read.faults.length === 0 ? { ...file, documents: read.documents, wasCompiled } : file);
    await nextTurn();
  }
  return { documents: files.flatMap(({ documents = [] }) => documents), faults, files, sha256 };
}

/** The parser is loaded on demand. */
async function parsed({ path, text }: RuleFile) {
  const { readYamlInSlices } = await import('./sigma/yaml.ts');
  return finishInTurns(readYamlInSlices(text, path, 'local'));
}

const refused = (folder: string, reason: string): OwnRules => ({ documents: [], faults: [{ file: folder, reason }] });

function problemOfFolder(folder: string): string | undefined {
  try {
    return problemOf(lstatSync(folder), 'directory');
  } catch (error) {
    return `it can't be read: ${messageOf(error)}`;
  }
}

function problemOf(stats: Stats, kind: 'file' | 'directory'): string | undefined {
  if (kind === 'file' ? !stats.isFile() : !stats.isDirectory()) return `it is not a ${kind}`;
  if (stats.uid !== 0) return 'it does not belong to root: chown root';
  return (stats.mode & 0o022) === 0 ? undefined : 'others than root can write to it: chmod go-w';
}

/** Addresses and networks from a file, one per line; `#` starts a comment. */
export function readAddresses(path: string): { readonly addresses: readonly string[]; readonly fault?: Fault } {
  try {
    const problem = problemOf(lstatSync(path), 'file');
    if (problem !== undefined) throw new Error(problem);
    const entries = readPlainFile(path, MAX_ADDRESS_FILE_BYTES)
      .split('\n')
      .map((line) => line.replace(/#.*/, '').trim())
      .filter((line) => line !== '');
    const wrong = entries.findIndex((entry) => parseNetwork(entry) === undefined);
    if (wrong >= 0) throw new Error(`entry ${wrong + 1} is not an address or a network`);
    if (entries.length > MAX_ADDRESSES) throw new Error(`it has more than ${MAX_ADDRESSES} entries`);
    return { addresses: entries };
  } catch (error) {
    return { addresses: [], fault: { file: path, reason: messageOf(error) } };
  }
}
