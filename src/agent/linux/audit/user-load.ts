import { ownerOfId } from '../../../core/contract/owner.ts';
import { type AuditEvent, isStart } from './event.ts';

/** Owners that are counted; only root can act as more users. */
const MAX_OWNERS = 1_024;
/** Bytes of arguments in one record: MAX_EXECVE_AUDIT_LEN of kernel/auditsc.c. */
const ARGUMENT_BYTES = 7_500;

/** Records that one user has caused. */
interface Load {
  records: number;
  /** Records of starts without other privileges than the user's, which an exclusion would leave out. */
  ofStarts: number;
}

/** What one owner has of the records that arrived. */
export interface OwnerLoad extends Readonly<Load> {
  /** See ownerOfId: a user id, or a negative block of subordinate ids. */
  readonly owner: number;
}

/**
 * Counts audit records by the user who caused them: the real user id, which a set-user-id program does not change. Records and
 * not events, since the kernel's queue is full of records, and a start with long arguments has many.
 */
export class UserLoad {
  #recent = new Map<number, Load>();
  #earlier: ReadonlyMap<number, Load> = new Map();

  add(events: readonly AuditEvent[]): void {
    for (const event of events) {
      const { fields } = event;
      const id = fields.uid ?? fields.auid;
      if (id === undefined) continue;
      const owner = ownerOfId(Number(id));
      let load = this.#recent.get(owner);
      if (load === undefined) {
        if (this.#recent.size >= MAX_OWNERS) continue;
        load = { records: 0, ofStarts: 0 };
        this.#recent.set(owner, load);
      }
      const records = countRecords(event);
      load.records += records;
      if (isStart(event) && fields.euid === fields.uid) load.ofStarts += records;
    }
  }

  /** The owners, the one with most records first. */
  owners(): readonly OwnerLoad[] {
    const owners = new Map<number, Load>();
    for (const [owner, { records, ofStarts }] of [...this.#recent, ...this.#earlier]) {
      const load = owners.get(owner) ?? { records: 0, ofStarts: 0 };
      load.records += records;
      load.ofStarts += ofStarts;
      owners.set(owner, load);
    }
    return [...owners].map(([owner, load]) => ({ owner, ...load })).sort((one, other) => other.records - one.records);
  }

  /** Forgets what was counted before the last call. */
  age(): void {
    this.#earlier = this.#recent;
    this.#recent = new Map();
  }

  clear(): void {
    this.age();
    this.age();
  }
}

/** Records of all owners. */
export const recordsOf = (owners: readonly OwnerLoad[]): number =>
  owners.reduce((sum, { records }) => sum + records, 0);

/** About how many records the kernel made: SYSCALL and another one, and those of the arguments. */
const countRecords = ({ commandLine, argvBytesCut = 0 }: AuditEvent): number =>
  commandLine === undefined ? 2 : 3 + Math.floor((commandLine.length + argvBytesCut) / ARGUMENT_BYTES);
