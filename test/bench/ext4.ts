import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
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
import { seconds } from '../../src/base/duration.ts';
import type { Change } from './disk-trace.ts';

/** From 512 MB on, mkfs makes blocks of 4 KB, which no flash writes less than. */
const SIZE = 1024 * 1024 * 1024;
const SECTOR = 512;
/** In memory, where there is: the disk of this machine needn't be worn for it. */
const IMAGES = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
/** When the kernel writes by itself: metadata by ext4's `commit=`, data by vm.dirty_expire_centisecs; their defaults. */
const COMMIT = seconds(5);
const EXPIRE = seconds(30);

/** Why there can be no file system of its own here; `undefined` if there can. */
export function ext4IsMissing(): string | undefined {
  if (process.geteuid?.() !== 0) return 'that needs root';
  if (!existsSync('/dev/loop-control')) return 'there is no loop device';
  return existsSync('/usr/sbin/mkfs.ext4') ? undefined : 'there is no mkfs.ext4';
}

/** A fresh ext4 with the options that mkfs and mount have by default, on a block device of its own, which counts. */
export class Ext4 {
  readonly folder: string;
  readonly #image: string;
  readonly #device: string;
  #isMounted = true;

  constructor() {
    const top = mkdtempSync(join(IMAGES, 'vakt-flash-'));
    this.#image = join(top, 'image');
    this.folder = join(top, 'mounted');
    mkdirSync(this.folder);
    const file = openSync(this.#image, 'wx', 0o600);
    ftruncateSync(file, SIZE);
    closeSync(file);
    // Otherwise the kernel would go on making the file system while it is used.
    run('/usr/sbin/mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', this.#image);
    this.#device = run('/usr/sbin/losetup', '--find', '--show', this.#image).trim();
    run('/usr/bin/mount', this.#device, this.folder);
    syncAll(this.folder);
  }

  /** What the device was told to write so far, in bytes. See Documentation/block/stat.rst of Linux. */
  get written(): number {
    const stat = readFileSync(`/sys/block/${basename(this.#device)}/stat`, 'utf8')
      .trim()
      .split(/\s+/);
    return Number(stat[6]) * SECTOR;
  }

  /** Writes everything back: files, and what stands in the journal alone. */
  unmount(): void {
    if (this.#isMounted) run('/usr/bin/umount', this.folder);
    this.#isMounted = false;
  }

  remove(): void {
    this.unmount();
    run('/usr/sbin/losetup', '--detach', this.#device);
    rmSync(dirname(this.folder), { recursive: true });
  }

  /** Makes the changes, without the time between them; but writes what the kernel would have written in that time. */
  replay(changes: readonly Change[]): void {
    /** Since when, by the file; and since when the kernel has metadata to write. */
    const unwritten = new Map<string, number>();
    let metadataSince = Number.POSITIVE_INFINITY;
    for (const { at, kind, path, bytes } of changes) {
      const oldest = Math.min(...unwritten.values());
      if (at - metadataSince >= COMMIT || at - oldest >= EXPIRE) {
        syncAll(this.folder);
        unwritten.clear();
        metadataSince = Number.POSITIVE_INFINITY;
      }
      this.#change(kind, join(this.folder, path), bytes);
      if (kind === 'append' || kind === 'overwrite') unwritten.set(path, unwritten.get(path) ?? at);
      else unwritten.delete(path);
      // A sync commits the metadata of all files.
      metadataSince = kind === 'sync' || kind === 'replace' ? Number.POSITIVE_INFINITY : Math.min(metadataSince, at);
    }
    syncAll(this.folder);
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

/** As the agent does: fdatasync(2) for files that grow, fsync(2) for the rest. */
function syncIfThere(path: string): void {
  if (!existsSync(path)) return;
  const file = openSync(path, 'r');
  try {
    if (path.endsWith('.log')) fdatasyncSync(file);
    else fsyncSync(file);
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

/** Writes what the kernel holds of this file system: data and journal. */
export function syncAll(folder: string): void {
  const file = openSync(folder, 'r');
  try {
    if (syncfs(file) !== 0) throw new Error(`syncfs failed for ${folder}`);
  } finally {
    closeSync(file);
  }
}
