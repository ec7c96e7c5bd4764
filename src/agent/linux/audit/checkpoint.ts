import { isCount } from '../../../core/base/values.ts';
import type { BackgroundWriter } from '../../state/background-writer.ts';
import { NoteFile } from '../../state/note-file.ts';
import type { LogPosition, ResumePoint } from './log-tail.ts';

/** How far audit was read. */
export interface AuditPosition {
  /** The boot that the serial belongs to: /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
  /** Time (milliseconds since the epoch) and serial of the newest event. */
  readonly timeMs: number;
  readonly serial: number;
  /** Position in auditd's log, if that was read. */
  readonly log?: ResumePoint;
}

/** Saves the checkpoint on disk. Written with every batch: see NoteFile. */
export class Checkpoint {
  readonly #note: NoteFile;
  readonly #bootId: string;

  /** @param bootId of this boot */
  constructor(path: string, bootId: string, writer?: BackgroundWriter) {
    this.#note = new NoteFile(path, writer);
    this.#bootId = bootId;
  }

  /** @returns `undefined` when there is none yet, or it is not valid */
  read(): AuditPosition | undefined {
    return parseAuditPosition(this.#note.read());
  }

  /** Whether an event of the log comes after this position. */
  isAfter(
    position: AuditPosition,
    event: { readonly time: Date; readonly serial: number },
    bootedAtMs: number,
  ): boolean {
    const timeMs = event.time.getTime();
    // Serials begin again at each boot; within a boot, times are not in the order of serials.
    const comparable = position.bootId === this.#bootId && timeMs >= bootedAtMs;
    return comparable ? ((event.serial - position.serial) | 0) > 0 : timeMs > position.timeMs;
  }

  /** @throws the error of the file system */
  write(position: Omit<AuditPosition, 'bootId'>): void {
    this.#note.write({ bootId: this.#bootId, ...position });
  }
}

function parseAuditPosition(note: unknown): AuditPosition | undefined {
  const { bootId, timeMs, serial, log } = (note ?? {}) as Record<string, unknown>;
  if (typeof bootId !== 'string' || !isCount(timeMs) || !isCount(serial)) return undefined;
  const position = parsePosition(log);
  if (position === undefined) return { bootId, timeMs, serial };
  const told = parsePosition((log as Record<string, unknown>).told);
  return { bootId, timeMs, serial, log: told === undefined ? position : { ...position, told } };
}

function parsePosition(note: unknown): LogPosition | undefined {
  const { inode, offset } = (note ?? {}) as Record<string, unknown>;
  return isCount(inode) && isCount(offset) ? { inode, offset } : undefined;
}
