import { errnoOf, messageOf } from '../../../core/base/errors.ts';
import { inRoot } from '../../host/in-root.ts';

/** An entry of a login file. */
export interface LoginEntry {
  readonly origin: 'wtmp' | 'btmp' | 'wtmpdb';
  readonly kind: 'login' | 'logout' | 'refusal' | 'boot';
  readonly timeMs: number;
  /** Terminal without `/dev/`, or a service. */
  readonly line: string;
  readonly user: string;
  readonly host: string;
  /** IP text, RFC 5952. */
  readonly address?: string;
  /** 0 when the file does not have it. */
  readonly pid: number;
  /** The PAM service. */
  readonly service?: string;
  /** Start of the session (logouts only). */
  readonly since?: number;
  /** Already reported: kept only for the logout that may follow. */
  readonly isOld: boolean;
}

/** A position that survives rotation: a renamed file keeps its inode. */
export interface FilePosition {
  readonly inode: number;
  /** Offset in bytes of the next record; in a database, the last row id. */
  readonly at: number;
}

/** Where to begin in a file. */
export interface Beginning {
  /** The position of an earlier run. If omitted, begin at the end, or with `unread` at the start. */
  readonly position?: FilePosition | undefined;
  readonly unread: boolean;
  /** Entries up to this time have been reported, unless the position says otherwise. */
  readonly reportedUntilMs: number;
}

/** Where a login file is. */
export interface LoginFile {
  readonly hostRoot: string;
  /** Below the root. */
  readonly path: string;
}

/**
 * The path to open now: a link on it that is absolute begins at the host's root, which may not be this process's own.
 *
 * @throws the error of the file system
 */
export const placeOf = ({ hostRoot, path }: LoginFile): string => inRoot(hostRoot, path);

/** Runs `work`. @returns why it failed, as a feed reports it */
export function attempt(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return errnoOf(error) ?? messageOf(error);
  }
}

/** A login file that is read in parts as it grows. No method throws. */
export interface LoginFeed {
  /** A file that does not exist yet is opened once it does. */
  open(from: Beginning): void;
  /** Reads further entries, if there are any. */
  fill(): void;
  /** The next entry; `undefined` when `fill` must be called. */
  peek(): LoginEntry | undefined;
  shift(): void;
  /** The position after the entries taken so far; absent while the file does not exist. */
  readonly position: FilePosition | undefined;
  /** Why the last attempt to read it failed: `ENOENT`. */
  readonly problem: string | undefined;
  close(): void;
}
