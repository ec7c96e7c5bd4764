import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import * as v from 'valibot';
import type { ScanOptions } from '../contract/baseline.ts';
import { firstProblem } from './problem.ts';
import { type Check, checkOf, ruleSchema } from './rule.ts';
import type { RuleSet } from './rule-set.ts';

const MOST_BYTES = 256 * 1024;
const MOST_RULES = 200;
const PREFIX = 'custom.';

const fileSchema = v.strictObject({
  rules: v.pipe(
    v.array(ruleSchema),
    v.maxLength(MOST_RULES, `has more than ${MOST_RULES} rules`),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      const seen = new Set<string>();
      for (const [index, { id }] of dataset.value.entries()) {
        const complain = (message: string) =>
          addIssue({
            message,
            path: [{ type: 'array', origin: 'value', input: dataset.value, key: index, value: id }],
          });
        if (!id.startsWith(PREFIX)) complain(`its id does not begin with "${PREFIX}"`);
        if (seen.has(id)) complain(`the id ${id} is there twice`);
        seen.add(id);
      }
    }),
  ),
});

/** The operator's own rules, or why there are none: for whoever is root on the device, and nobody else. */
export interface CustomChecks {
  readonly checks: readonly Check[];
  readonly refused?: string;
}

/**
 * Reads the operator's own rules. Whoever can write the module twin names the file, so it has to be root's, nobody else's
 * to write, and have the digest that the twin says: of the very bytes that are parsed. It can ask for facts only, as the
 * default rules can.
 *
 * The path is one of the agent's own file system, not of the host that is judged.
 */
export function readCustomChecks(wanted: ScanOptions['customChecks'], rules: Pick<RuleSet, 'roles'>): CustomChecks {
  if (wanted === undefined) return { checks: [] };
  try {
    const bytes = readTrusted(wanted.path);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    // Not which one it is: whoever names the file could try out what is in it.
    if (sha256 !== wanted.sha256.toLowerCase()) throw new Refusal('its SHA-256 is not the one expected');
    return { checks: parse(bytes, rules).map(checkOf) };
  } catch (error) {
    if (error instanceof Refusal) return { checks: [], refused: `${wanted.path}: ${error.message}` };
    throw error;
  }
}

/**
 * All that the hub is told of custom checks that are refused. Whoever writes the module twin names the file: by another
 * answer for each reason he could find out of any path whether it is there, whose it is, and what kind of file.
 */
export const CUSTOM_CHECKS_REFUSED =
  "the file is not there, not root's alone to change, no rules, or of another digest; the agent's log on the device says which";

class Refusal extends Error {}

function parse(bytes: Buffer, { roles }: Pick<RuleSet, 'roles'>) {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new Refusal('is not JSON in UTF-8');
  }
  const result = v.safeParse(fileSchema, json, { abortPipeEarly: true });
  if (!result.success) throw new Refusal(firstProblem(result.issues));
  for (const [index, { appliesTo }] of result.output.rules.entries()) {
    const role = appliesTo.notRole?.find((name) => !Object.hasOwn(roles, name));
    if (role !== undefined) throw new Refusal(`rules[${index}].appliesTo.notRole: no role is called ${role}`);
  }
  return result.output.rules;
}

/** A whole regular file that root alone can change. */
function readTrusted(path: string): Buffer {
  if (!path.startsWith('/') || path.includes('\0')) throw new Refusal('is no absolute path');
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | constants.O_NOFOLLOW);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    throw new Refusal(code === 'ELOOP' ? 'is a link' : `can't be opened: ${code}`);
  }
  try {
    const stats = fstatSync(file);
    if (!stats.isFile()) throw new Refusal('is no regular file');
    if (stats.uid !== 0) throw new Refusal('does not belong to root');
    if ((stats.mode & 0o022) !== 0) throw new Refusal('can be written by group or others');
    const buffer = Buffer.alloc(MOST_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      read = readSync(file, buffer, length, buffer.length - length, null);
    if (length > MOST_BYTES) throw new Refusal(`is longer than ${MOST_BYTES} bytes`);
    return buffer.subarray(0, length);
  } finally {
    closeSync(file);
  }
}
