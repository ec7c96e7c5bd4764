import {
  chmodSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { System, type SystemParts } from '../../../src/agent/baseline/system.ts';
import { systemClock } from '../../../src/core/base/clock.ts';

/** An entry of a tree: the text of a file, or its attributes. */
export type Entry =
  | string
  | { readonly text?: string; readonly mode?: number; readonly uid?: number; readonly gid?: number }
  | { readonly link: string; readonly uid?: number }
  | { readonly folder: true; readonly mode?: number; readonly uid?: number; readonly gid?: number };

export type Entries = Readonly<Record<string, Entry>>;

/** Makes a tree look like a running system, in the network namespace of the reader. */
export const RUNNING: Entries = {
  'proc/1/mountinfo': '21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n',
  'proc/1/ns/net': { link: readlinkSync('/proc/self/ns/net') },
};

/** A tree in a temporary folder; the caller removes it. */
export class Tree {
  readonly root = mkdtempSync(join(tmpdir(), 'vakt-baseline-'));

  constructor(entries: Entries) {
    chmodSync(this.root, 0o755);
    for (const [path, entry] of Object.entries(entries)) this.add(path, entry);
  }

  add(path: string, entry: Entry): void {
    const place = join(this.root, path);
    if (typeof entry === 'object' && 'folder' in entry) mkdirSync(place, { recursive: true });
    else mkdirSync(dirname(place), { recursive: true });
    if (typeof entry === 'string') writeFileSync(place, entry, { mode: 0o644 });
    else if ('link' in entry) {
      symlinkSync(entry.link, place);
      if (entry.uid !== undefined) lchownSync(place, entry.uid, 0);
    } else {
      if (!('folder' in entry)) writeFileSync(place, entry.text ?? '');
      if (entry.uid !== undefined || entry.gid !== undefined) lchownSync(place, entry.uid ?? 0, entry.gid ?? 0);
      chmodSync(place, entry.mode ?? ('folder' in entry ? 0o755 : 0o644));
    }
  }

  system(parts: Partial<SystemParts> = {}): System {
    const { signal } = new AbortController();
    return new System({ hostRoot: this.root, clock: systemClock, signal, ...parts });
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

export async function withTree<T>(entries: Entries, work: (tree: Tree) => Promise<T> | T): Promise<T> {
  const tree = new Tree(entries);
  try {
    return await work(tree);
  } finally {
    tree.remove();
  }
}
