import { type Stats, statSync } from 'node:fs';
import { errnoOf } from '../../core/base/errors.ts';
import { UsageError } from '../../core/command-line/command.ts';

/** Status of a path that the user named; `undefined` if it does not exist. @throws {UsageError} if it cannot be read */
export function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${errnoOf(error) ?? 'unknown'}`);
  }
}
