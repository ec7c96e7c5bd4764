import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats } from 'node:fs';
import * as v from 'valibot';
import { errnoOf } from '../../core/base/errors.ts';
import { repeatedNames } from '../../core/base/json-names.ts';
import type { ScanOptions } from '../../core/contract/baseline.ts';
import { type Check, checkOf, ruleSchema } from './rule.ts';
import { firstProblem, type RuleSet } from './rule-set.ts';

const MAX_BYTES = 256 * 1024;
const MAX_RULES = 200;
const PREFIX = 'custom.';

const fileSchema = v.strictObject({
  rules: v.pipe(
    v.array(ruleSchema),
    v.maxLength(MAX_RULES, `has more than ${MAX_RULES} rules`),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      const seen = new Set<string>();
      for (const [index, { id }] of dataset.value.entries()) {
        const reportIssue = (message: string) =>
          addIssue({
            message,
            path: [{ type: 'array', origin: 'value', input: dataset.value, key: index, value: id }],
          });
        if (!id.startsWith(PREFIX)) reportIssue(`its id does not begin with "${PREFIX}"`);
        if (seen.has(id)) reportIssue(`the id ${id} is used twice`);
        seen.add(id);
      }
    }),
  ),
});

/** The operator's own rules, or why they are refused. The reason is only for root on the device. */
export interface CustomChecks {
  readonly checks: readonly Check[];
  readonly refused?: string;
}

/**
 * Reads the operator's own rules. The module twin names the file, and its writer is not trusted: the file must belong
 * to root, be writable only by root, and have the SHA-256 given in the twin, calculated from the bytes that are parsed.
 * Like the default rules, it can only ask for facts.
 *
 * The path is in the agent's own file system, not in the scanned host's.
 */
export function readCustomChecks(wanted: ScanOptions['customChecks'], rules: Pick<RuleSet, 'roles'>): CustomChecks {
  if (wanted === undefined) return { checks: [] };
  try {
    const bytes = readTrusted(wanted.path);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    // The actual digest is not reported: the twin's writer could use it to guess the contents of any file.
    if (sha256 !== wanted.sha256.toLowerCase()) throw new Refusal('its SHA-256 is not the one expected');
    return { checks: parse(bytes, rules).map(checkOf) };
  } catch (error) {
    if (error instanceof Refusal) return { checks: [], refused: `${wanted.path}: ${error.message}` };
    throw error;
  }
}

/**
 * The only reason that the hub gets for refused custom checks. The module twin names the file: with a distinct answer
 * for each reason, its writer could find out for any path whether it exists, who owns it, and which type it has.
 */
export const CUSTOM_CHECKS_REFUSED =
  "the file is missing, writable by others than root, not a valid rule file, or has another digest; the agent's log on the device says which";

class Refusal extends Error {}

function parse(bytes: Buffer, { roles }: Pick<RuleSet, 'roles'>) {
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    json = JSON.parse(text);
  } catch {
    throw new Refusal('is not JSON in UTF-8');
  }
  const [repeated] = repeatedNames(text);
  if (repeated !== undefined) throw new Refusal(`${repeated.path.join('.')} is there twice`);
  const result = v.safeParse(fileSchema, json, { abortPipeEarly: true });
  if (!result.success) throw new Refusal(firstProblem(result.issues));
  for (const [index, { appliesTo }] of result.output.rules.entries()) {
    const role = appliesTo.notRole?.find((name) => !Object.hasOwn(roles, name));
    if (role !== undefined) throw new Refusal(`rules[${index}].appliesTo.notRole: no role is called ${role}`);
  }
  return result.output.rules;
}

/** Reads a regular file that only root can change. Nothing else is opened: to open a device or a FIFO has effects. */
function readTrusted(path: string): Buffer {
  if (!path.startsWith('/') || path.includes('\0')) throw new Refusal('is not an absolute path');
  refuseUntrusted(attempt(() => lstatSync(path)));
  const { O_RDONLY, O_NONBLOCK, O_NOCTTY, O_NOFOLLOW } = constants;
  const file = attempt(() => openSync(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW));
  try {
    refuseUntrusted(fstatSync(file)); // the file may have been replaced since
    const buffer = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      read = attempt(() => readSync(file, buffer, length, buffer.length - length, null));
    if (length > MAX_BYTES) throw new Refusal(`is longer than ${MAX_BYTES} bytes`);
    return buffer.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

function attempt<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw new Refusal(`can't be read: ${errnoOf(error) ?? ''}`);
  }
}

function refuseUntrusted(stats: Stats): void {
  if (stats.isSymbolicLink()) throw new Refusal('is a symbolic link');
  if (!stats.isFile()) throw new Refusal('is not a regular file');
  if (stats.size === 0) throw new Refusal('is empty'); // as are the files of /proc, some of which change when they are read
  if (stats.uid !== 0) throw new Refusal('does not belong to root');
  if ((stats.mode & 0o022) !== 0) throw new Refusal('is writable by group or others');
}
