import { type Stats, statSync } from 'node:fs';
import { errnoOf } from '../../core/base/errors.ts';
import { UsageError } from '../../core/command-line/command.ts';

/** What is at a path that the user named; `undefined` if nothing is. @throws {UsageError} if that cannot be seen */
export function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${errnoOf(error) ?? 'unknown'}`);
  }
}
