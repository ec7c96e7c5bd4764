import type { Look } from '../../host/host-files.ts';
import { localRoots, type Walked, walkTree } from '../../host/tree-walk.ts';
import type { Access } from '../access.ts';
import type { Names } from './accounts.ts';
import type { Mount } from './mounts.ts';

/** What a walk looks for. */
export const FINDS = [
  'worldWritableFiles',
  'worldWritableFoldersWithoutSticky',
  'unownedFiles',
  'ungroupedFiles',
  'setIdFiles',
  'filesWithCapabilities',
] as const;
export type Find = (typeof FINDS)[number];

/** The result of one walk, for all rules that need it. */
export interface WalkResult extends Walked {
  readonly found: Readonly<Record<Find, readonly string[]>>;
}

const MAX_FOUND = 2_000;

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'clock' | 'signal' | 'at'>;

/** Facts that the walk needs. */
interface From {
  readonly names: Names;
  readonly mounts: Look<readonly Mount[]>;
  /** Whether a file has capabilities; `undefined`: cannot be detected. */
  readonly hasCapabilities: ((place: Buffer) => boolean) | undefined;
}

/** Walks the local file systems once, for everything that rules look for. */
export async function walk({ names, mounts, hasCapabilities = () => false }: From, access: Needs): Promise<WalkResult> {
  const found: Record<Find, string[]> = {
    worldWritableFiles: [],
    worldWritableFoldersWithoutSticky: [],
    unownedFiles: [],
    ungroupedFiles: [],
    setIdFiles: [],
    filesWithCapabilities: [],
  };
  const note = (find: Find, path: string) => {
    if (found[find].length < MAX_FOUND) found[find].push(path);
  };
  const walked = await walkTree(access, {
    roots: localRoots(mounts),
    mounts,
    visit(stats, path, place) {
      const { mode, uid, gid } = stats;
      if (stats.isFile()) {
        if ((mode & 0o002) !== 0) note('worldWritableFiles', path);
        if ((mode & 0o6000) !== 0) note('setIdFiles', path);
        if ((mode & 0o111) !== 0 && hasCapabilities(place)) note('filesWithCapabilities', path);
      } else if (stats.isDirectory() && (mode & 0o1002) === 0o002) note('worldWritableFoldersWithoutSticky', path);
      if (!names.hasUser(uid)) note('unownedFiles', path);
      if (!names.hasGroup(gid)) note('ungroupedFiles', path);
    },
  });
  return { ...walked, found };
}
