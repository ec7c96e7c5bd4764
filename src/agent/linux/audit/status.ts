import { totalmem } from 'node:os';
import { readU32, writeU32 } from '../native/byte-order.ts';

/* The state of audit as a whole: struct audit_status of linux/audit.h, all u32:
 *
 *   mask, enabled, failure, pid, rate_limit, backlog_limit, lost, backlog, feature_bitmap, backlog_wait_time
 *
 * and, from Linux 5.9 on, backlog_wait_time_actual. */

export interface AuditStatus {
  /** 0 off, 1 on, 2 on and locked: no rule and no setting can change until the next boot. */
  readonly enabled: number;
  /** What the kernel does when it loses a record: 0 nothing, 1 prints a message, 2 panics. */
  readonly failure: number;
  /** The audit daemon; 0 when there is none. */
  readonly pid: number;
  readonly backlogLimit: number;
  /** How long a process waits when the backlog is full, in jiffies. */
  readonly backlogWaitTime: number;
  /** Records lost since boot. */
  readonly lost: number;
  /** Records that wait to be sent. */
  readonly backlog?: number;
}

/** The settings that the agent changes. */
export type Settings = Pick<AuditStatus, 'enabled' | 'failure' | 'backlogLimit' | 'backlogWaitTime'>;

/** Offset of a setting in the struct, and its bit in the mask of a request. */
const FIELDS = {
  enabled: { at: 4, bit: 0x01 },
  failure: { at: 8, bit: 0x02 },
  pid: { at: 12, bit: 0x04 },
  backlogLimit: { at: 20, bit: 0x10 },
  backlogWaitTime: { at: 36, bit: 0x20 },
} as const;
const LOST_AT = 24;
const BACKLOG_AT = 28;
const STATUS_BYTES = 40;

/** @returns `undefined` when it is shorter than on any kernel since 3.14 */
export function decodeStatus(payload: Buffer): AuditStatus | undefined {
  if (payload.length < STATUS_BYTES) return undefined;
  const backlog = readU32(payload, BACKLOG_AT);
  return {
    enabled: readU32(payload, FIELDS.enabled.at),
    failure: readU32(payload, FIELDS.failure.at),
    pid: readU32(payload, FIELDS.pid.at),
    backlogLimit: readU32(payload, FIELDS.backlogLimit.at),
    backlogWaitTime: readU32(payload, FIELDS.backlogWaitTime.at),
    lost: readU32(payload, LOST_AT),
    ...(backlog === 0 ? {} : { backlog }),
  };
}

/** The request that sets only these. */
export function encodeStatus(change: Partial<Omit<AuditStatus, 'lost' | 'backlog'>>): Buffer {
  const status = Buffer.alloc(STATUS_BYTES);
  let mask = 0;
  for (const [name, { at, bit }] of Object.entries(FIELDS)) {
    const value = change[name as keyof typeof FIELDS];
    if (value === undefined) continue;
    writeU32(status, at, value);
    mask |= bit;
  }
  writeU32(status, 0, mask);
  return status;
}

/** The kernel's memory for a record that waits, and the part of all memory that the backlog may take. */
const RECORD_BYTES = 2_400;
const BACKLOG_SHARE = 0.01;
const MIN_BACKLOG = 8_192;
const MAX_BACKLOG = 32_768;

const backlogLimit = Math.round(
  Math.min(MAX_BACKLOG, Math.max(MIN_BACKLOG, (totalmem() * BACKLOG_SHARE) / RECORD_BYTES)),
);

/**
 * The settings while the agent reads audit. The host comes before completeness: with the kernel's default backlogWaitTime of
 * a minute, a stalled reader froze the machine.
 */
export const RUNNING: Settings = { enabled: 1, failure: 1, backlogLimit, backlogWaitTime: 0 };

/**
 * The same for an owner who prefers slower programs to lost events (`audit.backlogWait`): a program waits up to 50 jiffies, a
 * twentieth to half a second, for each record while the backlog is full.
 */
export const WAITING: Settings = { ...RUNNING, backlogWaitTime: 50 };

/** The values that the agent sets, or an earlier version did. */
const OWN_VALUES: Readonly<Record<keyof Settings, readonly number[]>> = {
  enabled: [RUNNING.enabled],
  failure: [RUNNING.failure],
  backlogLimit: [RUNNING.backlogLimit, MIN_BACKLOG],
  backlogWaitTime: [RUNNING.backlogWaitTime, WAITING.backlogWaitTime],
};

/** The changes that restore `found`, except where another process has changed a setting since. */
export function restore(found: Settings, now: Settings): Partial<Settings> {
  const names = Object.keys(OWN_VALUES) as (keyof Settings)[];
  return Object.fromEntries(
    names
      .filter((name) => OWN_VALUES[name].includes(now[name]) && found[name] !== now[name])
      .map((name) => [name, found[name]]),
  );
}

/** Settings as the text of a memo rule, to be read back by `parseSettings`. */
export const formatSettings = ({ enabled, failure, backlogLimit, backlogWaitTime }: Settings): string =>
  `found enabled=${enabled} failure=${failure} backlog_limit=${backlogLimit} backlog_wait_time=${backlogWaitTime}`;

/** @returns `undefined` when formatSettings did not write the text */
export function parseSettings(text: string): Settings | undefined {
  const match = /^found enabled=([01]) failure=([012]) backlog_limit=(\d{1,9}) backlog_wait_time=(\d{1,9})$/.exec(text);
  if (match === null) return undefined;
  const [enabled = 0, failure = 0, backlogLimit = 0, backlogWaitTime = 0] = match.slice(1).map(Number);
  return { enabled, failure, backlogLimit, backlogWaitTime };
}
