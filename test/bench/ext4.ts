import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  futimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { seconds } from '../../src/core/base/duration.ts';
import type { Change } from './disk-trace.ts';

/** From 512 MB on, mkfs uses blocks of 4 KB, the smallest unit that flash writes. */
const SIZE = 1024 * 1024 * 1024;
const SECTOR = 512;
/** In memory if possible, to spare the disk of this machine. */
const IMAGES = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
/**
 * Default times after which the kernel writes without a sync: ext4's `commit=` for the journal; vm.dirty_expire_centisecs for
 * data, and for blocks of metadata once they are in the journal; vm.dirty_writeback_centisecs is its poll interval.
 */
const COMMIT = seconds(5);
const EXPIRE = seconds(30);
const LOOK = seconds(5);

/** Why no file system can be created here; `undefined` if one can. */
export function ext4IsMissing(): string | undefined {
  if (process.geteuid?.() !== 0) return 'that needs root';
  if (!existsSync('/dev/loop-control')) return 'there is no loop device';
  return existsSync('/usr/sbin/mkfs.ext4') ? undefined : 'there is no mkfs.ext4';
}

/** A new ext4 with the default options of mkfs and mount, except `commit`, on its own block device, which counts the writes. */
export class Ext4 {
  readonly folder: string;
  readonly #image: string;
  readonly #device: string;
  #isMounted = true;

  constructor() {
    const top = mkdtempSync(join(IMAGES, 'vakt-flash-'));
    this.#image = join(top, 'image');
    const mounted = join(top, 'mounted');
    mkdirSync(mounted);
    const file = openSync(this.#image, 'wx', 0o600);
    ftruncateSync(file, SIZE);
    closeSync(file);
    // Otherwise the kernel would still initialise the file system while it is used.
    run('/usr/sbin/mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', this.#image);
    this.#device = run('/usr/sbin/losetup', '--find', '--show', this.#image).trim();
    // `replay` commits by the clock of the changes.
    run('/usr/bin/mount', '-o', 'commit=3600', this.#device, mounted);
    // In one folder, as on a device: ext4 puts the inodes of top-level files far from each other.
    this.folder = join(mounted, 'lib');
    mkdirSync(this.folder);
    syncAll(this.folder);
  }

  /** Bytes written to the device so far. See Documentation/block/stat.rst of Linux. */
  get written(): number {
    const stat = readFileSync(`/sys/block/${basename(this.#device)}/stat`, 'utf8')
      .trim()
      .split(/\s+/);
    return Number(stat[6]) * SECTOR;
  }

  /** Writes everything back: files, and blocks that are only in the journal. */
  unmount(): void {
    if (this.#isMounted) run('/usr/bin/umount', dirname(this.folder));
    this.#isMounted = false;
  }

  remove(): void {
    this.unmount();
    run('/usr/sbin/losetup', '--detach', this.#device);
    rmSync(dirname(this.#image), { recursive: true });
  }

  /**
   * Repeats the changes without the time between them, and writes what the kernel would have written in that time. In real
   * time on Linux 6.18, 500 bytes appended and synced every 30 s cost 5.0 blocks each; here they cost 5.1.
   */
  replay(changes: readonly Change[]): void {
    const device = openSync(this.#device, 'r');
    /** Times since when data and metadata are dirty, keyed by file, and since when blocks are only in the journal. */
    const unwritten = new Map<string, number>();
    const uncommitted = new Map<string, number>();
    let onlyInJournal = Number.POSITIVE_INFINITY;
    const committed = (at: number) => {
      uncommitted.clear();
      onlyInJournal = Math.min(onlyInJournal, at);
    };
    for (const { at, kind, path, bytes } of changes) {
      for (const [file, since] of unwritten) {
        if (at < flushedAt(since)) continue;
        syncIfThere(join(this.folder, file), fsyncSync);
        unwritten.delete(file);
        committed(flushedAt(since));
      }
      const [[changed, since] = ['', Number.POSITIVE_INFINITY]] = uncommitted;
      if (at >= since + COMMIT) {
        this.#commit(join(this.folder, dirname(changed)));
        committed(since + COMMIT);
      }
      if (at >= flushedAt(onlyInJournal)) {
        fsyncSync(device);
        onlyInJournal = Number.POSITIVE_INFINITY;
      }
      this.#change(kind, join(this.folder, path), bytes);
      if (kind === 'append' || kind === 'overwrite') unwritten.set(path, unwritten.get(path) ?? at);
      else unwritten.delete(path);
      if (kind === 'sync' || kind === 'replace') committed(at);
      if (kind !== 'sync') uncommitted.set(path, uncommitted.get(path) ?? at);
    }
    closeSync(device);
    syncAll(this.folder);
  }

  /** Commits the journal without writing data: syncs an empty file, whose inode is near those of the folder's other files. */
  #commit(folder: string): void {
    const file = openSync(join(folder, 'empty'), 'a');
    try {
      const now = new Date();
      futimesSync(file, now, now);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }

  #change(kind: Change['kind'], path: string, bytes: number): void {
    mkdirSync(dirname(path), { recursive: true });
    const contents = Buffer.alloc(bytes, 'x');
    if (kind === 'sync') syncIfThere(path);
    else if (kind === 'remove') rmSync(path, { force: true });
    else if (kind === 'append') appendFileSync(path, contents);
    else if (kind === 'overwrite') overwrite(path, contents);
    else {
      writeFileSync(`${path}.new`, contents);
      syncIfThere(`${path}.new`);
      renameSync(`${path}.new`, path);
    }
  }
}

/** Time at which the kernel writes data that is dirty since then. */
const flushedAt = (since: number): number => Math.ceil((since + EXPIRE) / LOOK) * LOOK;

/** Syncs like the agent by default: fdatasync(2) for files that grow, fsync(2) for others. */
function syncIfThere(path: string, sync = path.endsWith('.log') ? fdatasyncSync : fsyncSync): void {
  if (!existsSync(path)) return;
  const file = openSync(path, 'r');
  try {
    sync(file);
  } finally {
    closeSync(file);
  }
}

function overwrite(path: string, contents: Buffer): void {
  const file = openSync(path, existsSync(path) ? 'r+' : 'w');
  try {
    writeSync(file, contents, 0, contents.length, 0);
  } finally {
    closeSync(file);
  }
}

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8' });

const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
const syncfs = koffi.load(null).func('int syncfs(int)') as (file: number) => number;

/** Writes back all dirty data and the journal of this file system. */
export function syncAll(folder: string): void {
  const file = openSync(folder, 'r');
  try {
    if (syncfs(file) !== 0) throw new Error(`syncfs failed for ${folder}`);
  } finally {
    closeSync(file);
  }
}
