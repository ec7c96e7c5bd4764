import { basename } from 'node:path';
import { errnoOf } from '../../core/base/errors.ts';
import { readOwnFile } from '../../core/base/plain-file.ts';

const KB = 1024;
const MB = 1024 * KB;

/**
 * The files in the state directory, and the largest size in bytes that each can have. The file's owner can replace it by
 * anything, so nothing larger is read. A name is added here before it is used.
 */
export const STATE_FILES = {
  'accounts.json': 64 * KB,
  'agent-id': KB,
  'assignment.json': 64 * KB,
  'audit-checkpoint.json': 4 * KB,
  'audit-enabled.json': 4 * KB,
  'change-notices.json': 256 * KB,
  /** Larger sets of rules are compiled at each start. */
  'detection-rules.json': 8 * MB,
  /** 1,024 keys with their evidence, 200 alerts and 1 MB of windows are smaller. */
  'detections.json': 16 * MB,
  'held-logins.json': MB,
  'held-processes.json': 4 * KB,
  'last-good-configuration.json': 256 * KB,
  'last-run.json': 4 * KB,
  lock: KB,
  'login-checkpoint.json': 4 * KB,
  'marked-message-chain.json': 4 * KB,
  'message-chain.json': 4 * KB,
  'message-units.json': 64 * KB,
  'pause.json': 4 * KB,
  'recommendations.json': 64 * KB,
  'statistics.json': 256 * KB,
  'transport.json': 64 * KB,
} as const;

export type StateFile = keyof typeof STATE_FILES;

/** The folders there: of the queues, and of the aggregates that are still counted. */
export const STATE_FOLDERS = ['queues', 'aggregates'] as const;
export type StateFolderName = (typeof STATE_FOLDERS)[number];

/** The limit of other names, which tests use. */
const OTHERWISE = 64 * KB;

/** The largest size of a state file in bytes, by its name. */
export const maxStateBytes = (name: string): number =>
  Object.hasOwn(STATE_FILES, name) ? STATE_FILES[name as StateFile] : OTHERWISE;

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
