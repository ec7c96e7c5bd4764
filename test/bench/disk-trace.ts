import { dirname } from 'node:path';
import { laterAfter } from '../../src/agent/composition/storage.ts';
import type { AppendFile, StoreFiles } from '../../src/agent/pipeline/store-files.ts';
import type { Done, StateFiles, When } from '../../src/agent/state/state-files.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { type Duration, milliseconds } from '../../src/core/base/duration.ts';
import { SimulatedFiles, seeded } from '../agent/pipeline/simulated-files.ts';

/**
 * One change of a disk. `overwrite`: in place from the start of the file, without a sync. `replace`: a new file is written and
 * synced, then renamed over the old one. `sync`: of a file or a folder.
 */
export interface Change {
  /** Milliseconds of the monotonic clock. */
  readonly at: number;
  readonly kind: 'append' | 'overwrite' | 'replace' | 'remove' | 'sync';
  readonly path: string;
  readonly bytes: number;
}

/** All changes of a disk in order, to be repeated on a real disk later. */
export class DiskTrace {
  readonly changes: Change[] = [];
  /** Changes of each file that BackgroundWriter holds under systemd until a file is synced. */
  readonly #held = new Map<string, Pick<Change, 'kind' | 'bytes'>>();

  /** Bytes appended to a file are added up; a file that is overwritten twice is written once. */
  hold(kind: 'append' | 'overwrite', path: string, bytes: number): void {
    const earlier = kind === 'append' ? (this.#held.get(path)?.bytes ?? 0) : 0;
    this.#held.set(path, { kind, bytes: earlier + bytes });
  }

  forget(path: string): void {
    this.#held.delete(path);
  }

  makeHeld(): void {
    for (const [path, { kind, bytes }] of this.#held) this.add(kind, path, bytes);
    this.#held.clear();
  }

  add(kind: Change['kind'], path: string, bytes = 0): void {
    this.changes.push({ at: systemClock.monotonic(), kind, path, bytes });
  }

  /** Changes since this time. */
  since(at: number): Change[] {
    return this.changes.filter((change) => change.at >= at);
  }
}

/** Keeps files in memory and records their changes. */
export function tracedStoreFiles(trace: DiskTrace): StoreFiles {
  const files = new SimulatedFiles(seeded(7));
  return {
    makeFolder: () => files.makeFolder(),
    list: (folder) => files.list(folder),
    read: (...how) => files.read(...how),
    create(path): AppendFile {
      const file = files.create(path);
      return {
        append(bytes) {
          trace.hold('append', path, bytes.length);
          file.append(bytes);
        },
        truncate: (size) => file.truncate(size),
        async sync() {
          trace.makeHeld();
          trace.add('sync', path);
          await file.sync();
        },
        close: () => file.close(),
      };
    },
    remove(path) {
      trace.forget(path);
      trace.add('remove', path);
      files.remove(path);
    },
    async sync(path) {
      trace.makeHeld();
      trace.add('sync', path);
      await files.sync(path);
    },
    /** One sync for all changes of the same time, like BackgroundFiles. */
    syncNow(path) {
      trace.makeHeld();
      const last = trace.changes.findLast((change) => change.kind === 'sync' && change.path === path);
      if (last?.at !== systemClock.monotonic()) trace.add('sync', path);
      files.syncNow(path);
    },
  };
}

/** Groups changes like BackgroundStateFiles, without waiting for a disk. */
export class TracedStateFiles implements StateFiles {
  readonly #trace: DiskTrace;
  readonly #laterAfter: Duration;
  #waiting = new Map<string, { readonly bytes: number | undefined; readonly done: Done[] }>();
  #dueAt = Number.POSITIVE_INFINITY;

  constructor(trace: DiskTrace, syncEvery: Duration) {
    this.#trace = trace;
    this.#laterAfter = laterAfter(syncEvery);
  }

  replace(path: string, contents: string, done: Done, when: When = 'soon'): void {
    this.#change(path, Buffer.byteLength(contents), done, when);
  }

  remove(path: string, done: Done): void {
    this.#change(path, undefined, done, 'soon');
  }

  async settled(): Promise<void> {
    this.#make();
  }

  #change(path: string, bytes: number | undefined, done: Done, when: When): void {
    const earlier = this.#waiting.get(path)?.done ?? [];
    this.#waiting.set(path, { bytes, done: [...earlier, done] });
    const wait = when === 'soon' ? milliseconds(0) : this.#laterAfter;
    const dueAt = systemClock.monotonic() + wait;
    if (dueAt >= this.#dueAt) return;
    this.#dueAt = dueAt;
    void systemClock.sleep(wait).then(() => this.#dueAt <= systemClock.monotonic() && this.#make());
  }

  #make(): void {
    const changes = this.#waiting;
    this.#waiting = new Map();
    this.#dueAt = Number.POSITIVE_INFINITY;
    for (const [path, { bytes }] of changes) this.#trace.add(bytes === undefined ? 'remove' : 'replace', path, bytes);
    for (const folder of new Set([...changes.keys()].map(dirname))) this.#trace.add('sync', folder);
    for (const { done } of changes.values()) for (const each of done) each(undefined);
  }
}
