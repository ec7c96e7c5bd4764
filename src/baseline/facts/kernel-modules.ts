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
  /** A list that could not be read. */
  readonly unreadable?: Unreadable;
}

const MAX_BYTES = 4 * 1024 * 1024;
const MAX_MODPROBE_BYTES = 64 * 1024;
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
    refused: await readRefused(access),
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

/** `kernel/fs/hfs/hfs.ko.xz: …` → `hfs` */
async function addModules(text: string, names: Set<string>, access: Needs): Promise<void> {
  for (const [index, line] of text.split('\n').entries()) {
    const name = /([^/:]+)\.ko(?:\.[a-z0-9]+)?$/.exec(line.split(':', 1)[0]?.trimEnd() ?? '')?.[1];
    if (name !== undefined) names.add(moduleName(name));
    if (index % 500 === 499) await access.pace();
  }
}

/** See modprobe.d(5). `blacklist` is not counted: it only prevents loading by alias. */
async function readRefused(access: Needs): Promise<ReadonlyMap<string, string>> {
  const refused = new Map<string, string>();
  for (const folder of MODPROBE_FOLDERS) {
    for (const path of access.files.expand(`${folder}/*.conf`).paths) {
      const look = access.files.text(path, MAX_MODPROBE_BYTES);
      await access.pace();
      for (const [index, line] of ('found' in look ? look.found.split('\n') : []).entries()) {
        const match = /^\s*install\s+(\S+)\s+(?:\S*\/)?(?:false|true)\s*$/.exec(line.slice(0, 1_024));
        if (match?.[1] !== undefined) refused.set(moduleName(match[1]), `${path}:${index + 1}`);
      }
    }
  }
  return refused;
}
