import type { Stats } from 'node:fs';
import type { Look, Unreadable } from '../../host/host-files.ts';
import type { Access } from '../access.ts';

/** The part of `Access` that is needed here. */
type Needs = Pick<Access, 'files' | 'pace' | 'runs'>;

/** The kernel's modules. Names have `_` instead of `-`, as the kernel writes them. */
export interface KernelModules {
  /** Loaded now; `undefined`: this kernel can't load any. */
  readonly loaded: ReadonlySet<string> | undefined;
  readonly builtIn: ReadonlySet<string>;
  /** Files that could be loaded; `undefined`: there are no modules of this kernel. */
  readonly available: ReadonlySet<string> | undefined;
  /** File and line in modprobe.d that prevents loading: `install NAME /bin/false`. */
  readonly refused: ReadonlyMap<string, string>;
  /** Why a module that is not refused may be. */
  readonly refusedUnreadable?: Unreadable;
  /** A list that could not be read. */
  readonly unreadable?: Unreadable;
}

const MAX_BYTES = 4 * 1024 * 1024;
const MAX_MODPROBE_BYTES = 64 * 1024;
/** Names of a folder and folders, where the modules of a kernel are listed. */
const MAX_FILES = 20_000;
const MAX_FOLDERS = 1_000;
const MODPROBE_FOLDERS = [
  '/etc/modprobe.d',
  '/run/modprobe.d',
  '/usr/local/lib/modprobe.d',
  '/usr/lib/modprobe.d',
  '/lib/modprobe.d',
];

export const moduleName = (name: string): string => name.replaceAll('-', '_');

export async function readKernelModules(access: Needs): Promise<KernelModules> {
  const builtIn = new Set<string>();
  let available: Set<string> | undefined;
  let unreadable: Unreadable | undefined;
  const releases = releasesOf(access);
  if ('unreadable' in releases) unreadable = releases;
  for (const release of 'found' in releases ? releases.found : []) {
    for (const [list, isLoadable] of [
      ['modules.builtin', false],
      ['modules.dep', true],
    ] as const) {
      const look = access.files.text(`/lib/modules/${release}/${list}`, MAX_BYTES);
      if ('unreadable' in look) unreadable ??= look;
      if ('missing' in look && isLoadable) {
        const listed = await listModules(`/lib/modules/${release}`, access);
        unreadable ??= listed.unreadable;
        if (listed.names.size > 0) available = new Set([...(available ?? []), ...listed.names]);
      }
      if (!('found' in look)) continue;
      if (isLoadable) available ??= new Set();
      await addModules(look.found, isLoadable && available !== undefined ? available : builtIn, access);
    }
  }
  const modules = access.runs ? access.files.text('/proc/modules', MAX_BYTES) : { found: '' };
  if ('unreadable' in modules) unreadable ??= modules;
  // A kernel that loads none has no list of them either.
  if ('missing' in releases && 'found' in modules) unreadable ??= NO_RELEASE;
  return {
    loaded:
      'found' in modules ? new Set(modules.found.split('\n').map((line) => line.split(' ', 1)[0] ?? '')) : undefined,
    builtIn,
    available,
    ...(await readRefused(access)),
    ...(unreadable === undefined ? {} : { unreadable }),
  };
}

const NO_RELEASE: Unreadable = { unreadable: 'the version of the running kernel cannot be determined', denied: false };

/** The kernel that runs; in a tree, all that are installed. */
function releasesOf({ files, runs }: Needs): Look<readonly string[]> {
  if (!runs) {
    const names = files.names('/lib/modules');
    return 'missing' in names ? { found: [] } : names;
  }
  const release = files.text('/proc/sys/kernel/osrelease');
  return 'found' in release ? { found: [release.found.trim()] } : release;
}

/** The module that a file is: `kernel/fs/hfs/hfs.ko.xz` → `hfs` */
function moduleOf(path: string): string | undefined {
  const name = /([^/:]+)\.ko(?:\.[a-z0-9]+)?$/.exec(path)?.[1];
  return name === undefined ? undefined : moduleName(name);
}

/** @param text modules.dep, or modules.builtin */
async function addModules(text: string, names: Set<string>, access: Needs): Promise<void> {
  for (const [index, line] of text.split('\n').entries()) {
    const module = moduleOf(line.split(':', 1)[0]?.trimEnd() ?? '');
    if (module !== undefined) names.add(module);
    if (index % 500 === 499) await access.pace();
  }
}

/** The files of the modules themselves: BusyBox and OpenWrt load them without modules.dep. */
async function listModules(
  root: string,
  access: Needs,
): Promise<{ names: ReadonlySet<string>; unreadable: Unreadable | undefined }> {
  const names = new Set<string>();
  const folders = [root];
  let unreadable: Unreadable | undefined;
  for (const folder of folders) {
    const look = access.files.entries(folder, MAX_FILES);
    await access.pace();
    if ('unreadable' in look) unreadable ??= look;
    for (const name of 'found' in look ? look.found : []) {
      const path = `${folder}/${name}`;
      const module = moduleOf(name);
      if (module !== undefined) names.add(module);
      else if (isFolder(access.files.lstat(path)) && folders.push(path) > MAX_FOLDERS)
        return { names, unreadable: { unreadable: `${root} has more than ${MAX_FOLDERS} folders`, denied: false } };
    }
  }
  return { names, unreadable };
}

/** Not a link to a folder: `build` leads to the sources. */
const isFolder = (look: Look<Stats>) => 'found' in look && look.found.isDirectory();

/**
 * See modprobe.d(5): of several lines for a module the first one counts. `blacklist` is not counted: it only prevents loading
 * by alias.
 */
async function readRefused(access: Needs): Promise<Pick<KernelModules, 'refused' | 'refusedUnreadable'>> {
  const refused = new Map<string, string>();
  const installed = new Set<string>();
  const dropIns = access.files.dropIns(MODPROBE_FOLDERS.map((folder) => `${folder}/*.conf`));
  if (dropIns.unreadable !== undefined) return { refused, refusedUnreadable: dropIns.unreadable };
  for (const path of dropIns.paths.filter((each) => !access.files.isFolder(each))) {
    const look = access.files.text(path, MAX_MODPROBE_BYTES);
    await access.pace();
    // Its lines would count before those of the files that follow.
    if ('unreadable' in look) return { refused, refusedUnreadable: look };
    for (const [index, line] of ('found' in look ? look.found.split('\n') : []).entries()) {
      const [, name, command = ''] = /^\s*install\s+(\S+)\s+(.*)$/.exec(line.slice(0, 1_024)) ?? [];
      if (name === undefined || installed.has(moduleName(name))) continue;
      installed.add(moduleName(name));
      if (/^(?:\S*\/)?(?:false|true)\s*$/.test(command)) refused.set(moduleName(name), `${path}:${index + 1}`);
    }
  }
  return { refused };
}
