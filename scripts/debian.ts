import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ar, type Entry, gzip, tar } from './archives.ts';
import { runBy, TOP } from './bundle.ts';
import { nativeParts } from './native-parts.ts';

/** Debian's name for an architecture, and Node's with that of koffi's binary for glibc. */
export const ARCHITECTURES = {
  amd64: { node: 'x64', abi: 'linux_x64' },
  arm64: { node: 'arm64', abi: 'linux_arm64' },
  armhf: { node: 'arm', abi: 'linux_armhf' },
} as const;
export type Architecture = keyof typeof ARCHITECTURES;

/** The program's folder on the device. */
export const PROGRAM = 'usr/lib/vakt';
/** Debian's own Node runs the program, whatever the caller's PATH is. */
const NODE = '/usr/bin/node';
/** Folders that are more than the way to a file, or not open to all. */
const FOLDERS: Readonly<Record<string, number>> = { 'etc/vakt/secrets': 0o700 };

interface DebianPackage {
  readonly name: string;
  readonly contents: Buffer;
  /** What it installs. */
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

/**
 * A Debian package (deb(5)) of the bundle.
 *
 * @param cache a folder where what comes from the registry, checked by the lockfile, is kept
 */
export function debianPackage(options: {
  readonly program: string;
  readonly architecture: Architecture;
  /** Date of everything in it. */
  readonly seconds: number;
  readonly cache: string;
}): DebianPackage {
  const { architecture, seconds } = options;
  const { version } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as { version: string };
  const installed = withFolders([...programFiles(options), ...systemFiles(options.program)], FOLDERS);
  const files = installed.flatMap((entry) => (entry.kind === 'file' ? [entry] : []));
  const control: Entry[] = [
    file('control', controlFile(version, architecture, files)),
    file('md5sums', files.map(({ path, contents }) => `${md5(contents)}  ${path}\n`).join('')),
    file('conffiles', '/etc/vakt/agent.json\n'),
    ...['postinst', 'postrm', 'prerm'].map((name) =>
      file(name, readFileSync(join(TOP, 'packaging/debian', name)), 0o755),
    ),
  ];
  const contents = ar(
    [
      ['debian-binary', Buffer.from('2.0\n')],
      ['control.tar.gz', gzip(tar([{ kind: 'folder', path: '.', mode: 0o755 }, ...control], seconds))],
      ['data.tar.gz', gzip(tar([{ kind: 'folder', path: '.', mode: 0o755 }, ...installed], seconds))],
    ],
    seconds,
  );
  return {
    name: `vakt_${version}_${architecture}.deb`,
    contents,
    files: files.map(({ path, contents }) => ({ path, size: contents.length })),
  };
}

type File = Entry & { readonly kind: 'file' };

function controlFile(version: string, architecture: Architecture, files: readonly File[]): string {
  const kilobytes = files.reduce((sum, { contents }) => sum + Math.ceil(contents.length / 1024), 0);
  return `Package: vakt
Version: ${version}
Architecture: ${architecture}
Maintainer: The Vakt authors <authors@vakt.invalid>
Installed-Size: ${kilobytes}
Depends: nodejs (>= 20.15), libc6 (>= 2.25), libstdc++6, passwd
Section: admin
Priority: optional
Description: security agent of an IoT device
 Vakt speaks to Azure IoT Hub as the device's security module, obeys its module
 twin, watches the Linux system under it, and reports what it sees: programs,
 connections, logins, listening ports, accounts, packet filter, hardware. It
 counts every event that it loses.
`;
}

/** The bundle without its source maps, and koffi beside it. */
export function programFiles({
  program,
  architecture,
  cache,
}: Omit<Parameters<typeof debianPackage>[0], 'seconds'>): Entry[] {
  const { node, abi } = ARCHITECTURES[architecture];
  const bundled = filesIn(program)
    .filter((path) => !path.endsWith('.map') && path !== 'LICENSES.txt')
    .map((path) => {
      const contents = readFileSync(join(program, path));
      if (path !== 'main.js') return file(`${PROGRAM}/${path}`, contents);
      return file(`${PROGRAM}/${path}`, runBy(NODE, contents.toString()), 0o755);
    });
  const native = nativeParts({ node, abi, cache });
  return [
    ...bundled,
    ...[...native].map(([path, contents]) => file(`${PROGRAM}/node_modules/${path}`, contents)),
    { kind: 'link', path: 'usr/bin/vakt', target: '../lib/vakt/main.js', mode: 0o777 },
  ];
}

function systemFiles(program: string): Entry[] {
  const from = (path: string) => readFileSync(join(TOP, path));
  const copyright = `Vakt is ${from('LICENSE')}\nIts program contains these packages:\n\n${readFileSync(join(program, 'LICENSES.txt'))}`;
  return [
    file('etc/vakt/agent.json', from('config/agent.json')),
    ...['vakt.service', 'vakt.socket'].map((unit) => file(`usr/lib/systemd/system/${unit}`, from(`config/${unit}`))),
    file('usr/share/doc/vakt/copyright', copyright),
    file('usr/share/doc/vakt/changelog.gz', gzip(from('CHANGELOG.md'))),
    file('usr/share/man/man8/vakt.8.gz', gzip(from('packaging/vakt.8'))),
  ];
}

const file = (path: string, contents: Uint8Array | string, mode = 0o644): File => ({
  kind: 'file',
  path,
  mode,
  contents: Buffer.from(contents),
});

/**
 * Sorted, with every folder on the way before what is in it.
 *
 * @param special folders that are not open to all, or that nothing is in, with their modes
 */
export function withFolders(entries: readonly Entry[], special: Readonly<Record<string, number>>): Entry[] {
  const folders = new Map(Object.entries(special));
  for (const { path } of [...entries, ...[...folders.keys()].map((path) => ({ path: `${path}/` }))]) {
    for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) {
      if (!folders.has(folder)) folders.set(folder, 0o755);
    }
  }
  const all = [...entries, ...[...folders].map(([path, mode]): Entry => ({ kind: 'folder', path, mode }))];
  return all.sort((a, b) => (a.path < b.path ? -1 : 1));
}

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => statSync(join(folder, path)).isFile());

const md5 = (contents: Uint8Array) => createHash('md5').update(contents).digest('hex');
