import { basename } from 'node:path';
import { errnoOf } from '../../core/base/errors.ts';
import { readOwnFile } from '../../core/base/plain-file.ts';
import { maxStateBytes } from './state-names.ts';

/** A state file that can't be used. Its message never quotes the file, which may be a link to a secret. */
export class DamagedStateError extends Error {
  override readonly name = 'DamagedStateError';
}

/**
 * Reads a file of the agent's own state: a regular file with one name, of limited size, that no other user can write to.
 *
 * @returns `undefined` when the file is missing
 * @throws NotPlainError; the file system's errors
 */
export function readStateText(path: string): string | undefined {
  try {
    return readOwnFile(path, maxStateBytes(basename(path)));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Reads a file of JSON in the same way.
 *
 * @param parse makes the state of it; what it throws means that the file is damaged
 * @returns `undefined` when the file is missing
 * @throws as `readStateText`; DamagedStateError instead of the errors of parsers, whose messages quote the file
 */
export function readStateJson<T>(path: string, parse: (value: unknown) => T): T | undefined {
  const text = readStateText(path);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new DamagedStateError('it is not JSON');
  }
  try {
    return parse(value);
  } catch {
    throw new DamagedStateError('its content is not valid');
  }
}
