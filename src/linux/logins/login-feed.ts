/** What one of the login files says. */
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
  /** 0 where the file doesn't say. */
  readonly pid: number;
  /** The PAM service. */
  readonly service?: string;
  /** Of a logout, when the session began. */
  readonly since?: number;
  /** It was told before: only to be remembered, for the logout that may come. */
  readonly isOld: boolean;
}

/** A position in a file that holds over rotation: the file is renamed, and its inode stays. */
export interface FilePosition {
  readonly inode: number;
  /** Offset in bytes of what comes next; in a database, the last row. */
  readonly at: number;
}

/** Where to begin in a file. */
export interface Beginning {
  /** Where it was left. Absent: at its end, or with `unread` at its start. */
  readonly position?: FilePosition | undefined;
  readonly unread: boolean;
  /** Whatever of what is there now happened until then has been told, unless its position says otherwise. */
  readonly toldUntilMs: number;
}

/** A file of logins that is read as it grows, a part at a time. Nothing here throws. */
export interface LoginFeed {
  /** A file that isn't there yet is read once it is. */
  open(from: Beginning): void;
  /** Reads on, when there is something. */
  fill(): void;
  /** The next entry; `undefined` when it is time to fill. */
  peek(): LoginEntry | undefined;
  shift(): void;
  /** What comes after all that was taken; absent as long as there was no such file. */
  readonly position: FilePosition | undefined;
  /** What kept it from being read the last time: `ENOENT`. */
  readonly problem: string | undefined;
  close(): void;
}
