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
