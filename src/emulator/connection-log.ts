import type { Admission, Verdict } from './authenticate.ts';

/** One attempt to connect, for people and for tests. Never holds a key or a token. */
export interface ConnectionRecord {
  readonly connectedAt: Date;
  readonly clientId: string;
  readonly admitted: boolean;
  /** Of the CONNACK; absent when none was sent. */
  readonly returnCode?: number;
  /** Why it was refused. */
  readonly reason?: string;
  /** The client's `DeviceClientType`. */
  readonly userAgent?: string;
  /** When its token ends, and with it the connection. */
  readonly expiresAt?: Date;
  readonly closedAt?: Date;
  readonly closedBecause?: string;
}

/** What is kept at most; the oldest go first. */
const KEPT = 10_000;

/** The attempts to connect, oldest first. Live connections are updated in place when they close. */
export class ConnectionLog {
  readonly all: ConnectionRecord[] = [];

  add(connectedAt: Date, clientId: string, verdict: Verdict | 'reset'): ConnectionRecord {
    const record: ConnectionRecord =
      verdict === 'reset'
        ? { connectedAt, clientId, admitted: false, reason: 'reset, by a fault' }
        : verdict.admitted
          ? { connectedAt, clientId, admitted: true, returnCode: 0, ...pick(verdict) }
          : { connectedAt, clientId, admitted: false, returnCode: verdict.returnCode, reason: verdict.reason };
    this.all.push(record);
    if (this.all.length > KEPT) this.all.shift();
    return record;
  }
}

const pick = ({ expiresAt, userAgent }: Admission) => ({
  expiresAt,
  ...(userAgent ? { userAgent } : {}),
});
