/** The area of an error, named as in the archived agents, so that runbooks written for them apply (contract §7). */
export type ErrorCode = 'Local Configuration' | 'Remote Configuration' | 'Authentication' | 'Other';

/** The kind of error within its area (contract §7). */
export type ErrorReason =
  | 'Missing Configuration'
  | 'Cant Parse Configuration'
  | 'File Format'
  | 'File Not Exist'
  | 'File Permissions'
  | 'Unauthorized'
  | 'Not Found'
  | 'Timeout'
  | 'Other';

/** Exit statuses of `vakt run` for errors that only an operator can fix on the device; see sysexits.h. */
export const EXIT_STATUS: Readonly<Record<ErrorCode, number>> = {
  'Local Configuration': 78,
  Authentication: 77,
  'Remote Configuration': 76,
  Other: 70,
};

/**
 * Every failure that an operator can see, by its stable id. Ids are never renamed or reused for something else;
 * TROUBLESHOOTING.md has a row for each; a test checks this.
 */
export const FAILURES = {
  CONFIG_FILE_MISSING: ['Local Configuration', 'File Not Exist'],
  CONFIG_FILE_UNREADABLE: ['Local Configuration', 'File Permissions'],
  CONFIG_FILE_NOT_JSON: ['Local Configuration', 'File Format'],
  CONFIG_INVALID: ['Local Configuration', 'Cant Parse Configuration'],
  CONFIG_INCOMPLETE: ['Local Configuration', 'Missing Configuration'],
  STATE_DIRECTORY_UNUSABLE: ['Other', 'File Permissions'],
  SECRET_FILE_MISSING: ['Authentication', 'File Not Exist'],
  SECRET_FILE_UNREADABLE: ['Authentication', 'File Permissions'],
  SECRET_FILE_EXPOSED: ['Authentication', 'File Permissions'],
  SECRET_FILE_MALFORMED: ['Authentication', 'File Format'],
  CA_FILE_UNUSABLE: ['Local Configuration', 'File Format'],
  CERTIFICATE_FILE_UNUSABLE: ['Authentication', 'File Format'],
  CERTIFICATE_EXPIRED: ['Authentication', 'Other'],
  CERTIFICATE_NOT_YET_VALID: ['Authentication', 'Other'],
  CERTIFICATE_WRONG_NAME: ['Authentication', 'Other'],
  CREDENTIAL_REFUSED: ['Authentication', 'Unauthorized'],
  MODULE_UNKNOWN: ['Authentication', 'Not Found'],
  PROXY_REFUSED: ['Authentication', 'Unauthorized'],
  PROVISIONING_REFUSED: ['Authentication', 'Unauthorized'],
  PROVISIONING_DISABLED: ['Authentication', 'Unauthorized'],
  PROVISIONING_FAILED: ['Authentication', 'Other'],
  PROVISIONING_UNREACHABLE: ['Other', 'Other'],
  TLS_FAILED: ['Authentication', 'Other'],
  EDGE_UNREACHABLE: ['Other', 'Not Found'],
  EDGE_REFUSED: ['Authentication', 'Unauthorized'],
  IDENTITY_SERVICE_UNREACHABLE: ['Other', 'Not Found'],
  IDENTITY_SERVICE_REFUSED: ['Authentication', 'Unauthorized'],
  HUB_UNREACHABLE: ['Other', 'Other'],
  HUB_SILENT: ['Other', 'Timeout'],
  HUB_MISBEHAVES: ['Other', 'Other'],
  HUB_THROTTLED: ['Other', 'Other'],
  HUB_QUOTA_EXCEEDED: ['Other', 'Other'],
  HUB_TIER_UNSUPPORTED: ['Other', 'Other'],
  EVENT_UNSENDABLE: ['Other', 'Other'],
  TWIN_INVALID: ['Remote Configuration', 'Cant Parse Configuration'],
  TWIN_UNREADABLE: ['Remote Configuration', 'Timeout'],
  AUDIT_UNAVAILABLE: ['Other', 'Other'],
  AUDIT_TAMPERED: ['Other', 'Other'],
  AUDIT_FLOODED: ['Other', 'Other'],
  IO_URING_USED: ['Other', 'Other'],
  SOCKET_UNAVAILABLE: ['Other', 'Other'],
  SOURCE_UNREADABLE: ['Other', 'File Permissions'],
  STORE_UNUSABLE: ['Other', 'Other'],
  AGENT_RUNNING: ['Other', 'Other'],
  AGENT_NOT_RUNNING: ['Other', 'Not Found'],
  AGENT_ACCESS_DENIED: ['Other', 'File Permissions'],
  AGENT_HELD_UP: ['Other', 'Timeout'],
  RESULT_UNWRITABLE: ['Other', 'Other'],
  CODE_CACHE_FAILED: ['Other', 'Other'],
  EMULATOR_MISSING: ['Other', 'Missing Configuration'],
  FLEET_MISSING: ['Other', 'Missing Configuration'],
  QUERY_REFUSED: ['Other', 'Other'],
  INTERNAL: ['Other', 'Other'],
} as const satisfies Record<string, readonly [ErrorCode, ErrorReason]>;

export type FailureId = keyof typeof FAILURES;

/**
 * A failure the operator can act on: what happened, to what, and what to do about it.
 *
 * The message says what happened and may be reworded; `id`, `code` and `reason` are stable. Neither may hold a secret.
 */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly id: FailureId;
  readonly code: ErrorCode;
  readonly reason: ErrorReason;
  /** One imperative sentence: what the reader should do now. */
  readonly remedy: string;

  constructor(id: FailureId, message: string, remedy: string, options?: { cause?: unknown }) {
    super(message, options);
    this.id = id;
    [this.code, this.reason] = FAILURES[id];
    this.remedy = remedy;
  }

  get exitStatus(): number {
    return EXIT_STATUS[this.code];
  }

  /** The log line of the archived agents, for which runbooks search (contract §7). Commands other than `run` don't print it. */
  get line(): string {
    return `vakt encountered an error! Error in: ${this.code}, reason: ${this.reason}, extra details: ${this.message}`;
  }
}

/** Turns anything thrown into an AgentError: INTERNAL, with its cause, unless it is one already. */
export const toAgentError = (thrown: unknown): AgentError =>
  thrown instanceof AgentError
    ? thrown
    : new AgentError('INTERNAL', messageOf(thrown), 'Report this as a defect, with the lines around it.', {
        cause: thrown,
      });

export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** The errno name of a failed system call (`ENOENT`), or `undefined` when `thrown` has none. See errno(3). */
export const errnoOf = (thrown: unknown): string | undefined => {
  const code = (thrown as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
};

/** Whether an import failed because a module is missing: in a clone, and in the shipped program, which is CommonJS. */
export const isModuleMissing = (thrown: unknown): boolean =>
  ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes(errnoOf(thrown) ?? '');
