import { basename, dirname } from 'node:path';
import { SEGMENT_HEAD } from '../../../src/agent/pipeline/segment.ts';
import type { AppendFile, StoreFiles } from '../../../src/agent/pipeline/store-files.ts';

interface SimulatedFile {
  data: Buffer;
  /** Bytes that would survive a power cut. */
  synced: number;
  entrySynced: boolean;
}

export type Operation = 'list' | 'read' | 'create' | 'append' | 'truncate' | 'remove' | 'sync' | 'syncNow';

export const systemError = (code: string) => Object.assign(new Error(`${code}: simulated`), { code });

/** A small random number generator, so that a failing run can be repeated: mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A disk in memory that fills up, fails, tears writes, and loses unsynced data on request. */
export class SimulatedFiles implements StoreFiles {
  readonly files = new Map<string, SimulatedFile>();
  readonly counts: Partial<Record<Operation, number>> = {};
  /** Paths of files that were created and not closed yet; each is a descriptor of the real file system. */
  readonly open = new Set<string>();
  bytesWritten = 0;
  capacity = Number.POSITIVE_INFINITY;
  /** Asked before each operation: an errno makes it fail. An append then writes a part first. */
  fault: (operation: Operation, path: string) => string | undefined = () => undefined;
  /** Number of further changes after which the process dies. */
  dieAfter = Number.POSITIVE_INFINITY;
  #dead = false;
  #removed = new Map<string, SimulatedFile>();
  #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** A new process. What the old one wrote is in the kernel's hands, and stays. */
  restart(): void {
    this.#dead = false;
    this.open.clear();
    this.dieAfter = Number.POSITIVE_INFINITY;
  }

  /** Keeps synced data and a random part of each file's unsynced data; deleted files may come back. */
  cutPower(): void {
    this.#dead = true;
    this.open.clear();
    for (const [path, file] of this.#removed)
      if (this.#random() < 0.5 && !this.files.has(path)) this.files.set(path, file);
    this.#removed.clear();
    for (const [path, file] of this.files) {
      if (!file.entrySynced && this.#random() < 0.3) this.files.delete(path);
      const kept = file.synced + Math.floor(this.#random() * (file.data.length - file.synced + 1));
      const zeros = this.#random() < 0.2 ? file.data.length - kept : 0;
      file.data = Buffer.concat([file.data.subarray(0, kept), Buffer.alloc(zeros)]);
      file.synced = file.data.length;
      file.entrySynced = true;
    }
  }

  makeFolder(): void {}

  list(folder: string) {
    this.#enter('list', folder);
    return [...this.files]
      .filter(([path]) => dirname(path) === folder)
      .map(([path, { data }]) => ({ name: basename(path), size: data.length }));
  }

  read(path: string, offset: number, into: Buffer): number {
    this.#enter('read', path);
    const file = this.files.get(path);
    if (file === undefined) throw systemError('ENOENT');
    return file.data.copy(into, 0, offset);
  }

  create(path: string): AppendFile {
    this.#enter('create', path, true);
    if (this.files.has(path)) throw systemError('EEXIST');
    const file: SimulatedFile = { data: Buffer.alloc(0), synced: 0, entrySynced: false };
    this.files.set(path, file);
    this.#dieHere();
    this.open.add(path);
    return {
      append: (bytes) => this.#append(path, file, bytes),
      truncate: (size) => {
        this.#enter('truncate', path, true);
        file.data = file.data.subarray(0, size);
        file.synced = Math.min(file.synced, size);
        this.#dieHere();
      },
      sync: async () => {
        const size = file.data.length;
        this.#enter('sync', path);
        file.synced = Math.max(file.synced, Math.min(size, file.data.length));
      },
      close: () => void this.open.delete(path),
    };
  }

  remove(path: string): void {
    this.#enter('remove', path, true);
    const file = this.files.get(path);
    if (file?.entrySynced) this.#removed.set(path, file);
    this.files.delete(path);
    this.#dieHere();
  }

  async sync(path: string): Promise<void> {
    this.#enter('sync', path);
    this.#syncPath(path);
  }

  syncNow(path: string): void {
    this.#enter('syncNow', path);
    this.#syncPath(path);
  }

  #syncPath(path: string): void {
    const file = this.files.get(path);
    if (file === undefined) this.#syncEntries(path);
    else file.synced = file.data.length;
  }

  #syncEntries(folder: string): void {
    for (const [path, file] of this.files) if (dirname(path) === folder) file.entrySynced = true;
    for (const path of this.#removed.keys()) if (dirname(path) === folder) this.#removed.delete(path);
  }

  #append(path: string, file: SimulatedFile, bytes: Buffer): void {
    const error = this.#check('append', path);
    const used = [...this.files.values()].reduce((all, { data }) => all + data.length, 0);
    const dying = this.dieAfter === 0;
    const room = Math.min(bytes.length, Math.max(0, this.capacity - used));
    const part = error !== undefined || dying ? Math.floor(this.#random() * (room + 1)) : room;
    file.data = Buffer.concat([file.data, bytes.subarray(0, part)]);
    this.bytesWritten += part;
    this.#dieHere();
    if (error !== undefined) throw systemError(error);
    if (part < bytes.length) throw systemError('ENOSPC');
  }

  #enter(operation: Operation, path: string, changes = false): void {
    const error = this.#check(operation, path);
    if (error === undefined) return;
    if (changes) this.#dieHere();
    throw systemError(error);
  }

  #check(operation: Operation, path: string): string | undefined {
    if (this.#dead) throw new Error('The process is dead.');
    this.counts[operation] = (this.counts[operation] ?? 0) + 1;
    return this.fault(operation, path);
  }

  #dieHere(): void {
    if (this.dieAfter > 0) {
      this.dieAfter -= 1;
      return;
    }
    this.#dead = true;
    throw new Error('The process is dead.');
  }
}

/** What a file of another version begins with. */
export const headOfVersion = (version: number) =>
  Buffer.concat([SEGMENT_HEAD.subarray(0, SEGMENT_HEAD.length - 1), Buffer.from([version])]);
