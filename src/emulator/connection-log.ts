import type { Admission, Verdict } from './authenticate.ts';
import type { Transport } from './link.ts';

/** A connection attempt, and the connection if it was admitted. Never contains a key or a token. */
export interface ConnectionRecord {
  readonly connectedAt: Date;
  readonly clientId: string;
  readonly transport: Transport;
  /** `TLSv1.2` or `TLSv1.3` */
  readonly tlsVersion: string;
  readonly admitted: boolean;
  /** Return code of the CONNACK; omitted if none was sent. */
  readonly returnCode?: number;
  /** The reason for a refusal. */
  readonly reason?: string;
  /** The client's `DeviceClientType`. */
  readonly userAgent?: string;
  /** SHA-256 of the client certificate, if the client was admitted with one. */
  readonly thumbprint?: string;
  /** Expiry of the token, at which the connection is closed. */
  readonly expiresAt?: Date;
  readonly closedAt?: Date;
  readonly closedBecause?: string;
}

/** Number of records kept; the oldest are removed first. */
const MAX_RECORDS = 10_000;

/** Connection attempts, oldest first. A record is updated in place when its connection closes. */
export class ConnectionLog {
  readonly all: ConnectionRecord[] = [];

  add(
    attempt: Pick<ConnectionRecord, 'connectedAt' | 'clientId' | 'transport' | 'tlsVersion'>,
    verdict: Verdict | 'reset',
  ): ConnectionRecord {
    const record: ConnectionRecord =
      verdict === 'reset'
        ? { ...attempt, admitted: false, reason: 'reset by a fault' }
        : verdict.admitted
          ? { ...attempt, admitted: true, returnCode: 0, ...pick(verdict) }
          : { ...attempt, admitted: false, returnCode: verdict.returnCode, reason: verdict.reason };
    this.all.push(record);
    if (this.all.length > MAX_RECORDS) this.all.shift();
    return record;
  }
}

const pick = ({ expiresAt, thumbprint, userAgent }: Admission) => ({
  ...(expiresAt ? { expiresAt } : {}),
  ...(thumbprint ? { thumbprint } : {}),
  ...(userAgent ? { userAgent } : {}),
});
