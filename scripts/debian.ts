import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Entry, gzip, tar } from '../src/agent/commands/tar.ts';
import { PAGES } from '../src/core/base/pages.ts';
import { ar, xz } from './archives.ts';
import { runBy, TOP } from './bundle.ts';
import { nativePackage, nativeParts } from './native-parts.ts';
import { sbom } from './sbom.ts';

/** Debian's name for an architecture, and Node's with that of koffi's binary for glibc. */
export const ARCHITECTURES = {
  amd64: { node: 'x64', abi: 'linux_x64' },
  arm64: { node: 'arm64', abi: 'linux_arm64' },
  armhf: { node: 'arm', abi: 'linux_armhf' },
} as const;
export type Architecture = keyof typeof ARCHITECTURES;

/** The program's folder on the device. */
export const PROGRAM = 'usr/lib/vakt';
/** The Node that runs the program, independent of the caller's PATH: Debian's, or the one in the package. */
const DEBIAN_NODE = '/usr/bin/node';
const OWN_NODE = `${PROGRAM}/node`;
/** A Node that is shipped in the package, for systems whose Node is too old. */
export interface ShippedNode {
  readonly version: string;
  /** The npm package that it is from. */
  readonly from: string;
  readonly binary: Uint8Array;
  readonly licence: string;
}

interface DebianPackage {
  readonly name: string;
  readonly contents: Buffer;
  /** What it installs. */
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

export interface Contents {
  /** The folder with the bundle. */
  readonly program: string;
  /** Folders of the npm packages in the bundle, as `bundle()` returned them. */
  readonly packages: readonly string[];
  readonly architecture: Architecture;
  /** Modification time of all files in the package, in seconds since the Unix epoch. */
  readonly seconds: number;
  /** A folder that caches archives from the registry, verified by the lockfile. */
  readonly cache: string;
  /** If set, the package is `vakt-with-node`. */
  readonly node?: ShippedNode;
}

/** A Debian package (deb(5)) of the bundle: `vakt`, or with a Node of its own `vakt-with-node`. */
export function debianPackage(options: Contents): DebianPackage {
  const { architecture, seconds, node } = options;
  const { version } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as { version: string };
  const name = node === undefined ? 'vakt' : 'vakt-with-node';
  const installed = withFolders([...programFiles(options), ...systemFiles(options, { name, version })]);
  const files = installed.flatMap((entry) => (entry.kind === 'file' ? [entry] : []));
  const control: Entry[] = [
    file('control', controlFile({ name, version, architecture, files })),
    file('md5sums', files.map(({ path, contents }) => `${md5(contents)}  ${path}\n`).join('')),
    // The code cache is made for one Node. Its own Node comes with a new version of the package.
    ...(node === undefined ? [file('triggers', `interest-noawait ${DEBIAN_NODE}\n`)] : []),
    // No conffile, and no folder in /etc: every device's agent.json differs from any that a package could bring, so that an
    // unattended upgrade would end at a question.
    ...['postinst', 'postrm', 'prerm'].map((name) =>
      file(name, readFileSync(join(TOP, 'packaging/debian', name)), 0o755),
    ),
  ];
  const contents = ar(
    [
      ['debian-binary', Buffer.from('2.0\n')],
      ['control.tar.gz', gzip(tar([{ kind: 'folder', path: '.', mode: 0o755 }, ...control], seconds))],
      data(tar([{ kind: 'folder', path: '.', mode: 0o755 }, ...installed], seconds), node === undefined),
    ],
    seconds,
  );
  return {
    name: `${name}_${version}_${architecture}.deb`,
    contents,
    files: files.map(({ path, contents }) => ({ path, size: contents.length })),
  };
}

type File = Entry & { readonly kind: 'file' };

/** gzip for small archives, so that the build needs only Node; xz saves a third of Node's 40 MB. */
const data = (archive: Buffer, isSmall: boolean): [string, Buffer] =>
  isSmall ? ['data.tar.gz', gzip(archive)] : ['data.tar.xz', xz(archive)];

/** The official Node is built against glibc 2.28 (BUILDING.md of Node). */
const WITH_NODE = `Provides: vakt
Conflicts: vakt
Replaces: vakt
Depends: libc6 (>= 2.28), libstdc++6, passwd`;

/**
 * Both packages declare the conflict: dpkg replaces a package only if the new one names the old one. The alternative can't
 * be met, but apt and dpkg name it where the distribution's Node is too old.
 */
const WITHOUT_NODE = `Conflicts: vakt-with-node
Replaces: vakt-with-node
Depends: nodejs (>= 20.15) | vakt-with-node, libc6 (>= 2.25), libstdc++6, passwd`;

/** The unit loads a folder of credentials, new in systemd 250. No dependency: containers have no systemd. */
const BREAKS = 'systemd (<< 250)';

function controlFile({
  name,
  version,
  architecture,
  files,
}: {
  readonly name: string;
  readonly version: string;
  readonly architecture: Architecture;
  readonly files: readonly File[];
}): string {
  const kilobytes = files.reduce((sum, { contents }) => sum + Math.ceil(contents.length / 1024), 0);
  const hasNode = name !== 'vakt';
  const node = hasNode ? '\n .\n This package brings its own Node, for systems whose nodejs is older than 20.15.' : '';
  return `Package: ${name}
Version: ${version}
Architecture: ${architecture}
Maintainer: The Vakt authors <authors@vakt.invalid>
Installed-Size: ${kilobytes}
${hasNode ? WITH_NODE : WITHOUT_NODE}
Breaks: ${BREAKS}
Section: admin
Priority: optional
Description: security agent of an IoT device
 Vakt connects to Azure IoT Hub as the device's security module, is configured
 by its module twin, watches the Linux system, and reports what it sees: programs,
 connections, logins, listening ports, accounts, packet filter, hardware. It
 counts every event that is dropped.${node}
`;
}

/** The bundle without source maps, and koffi, and Node if the package contains it. */
export function programFiles({ program, architecture, cache, node: shipped }: Contents): Entry[] {
  const { node, abi } = ARCHITECTURES[architecture];
  const bundled = filesIn(program)
    .filter((path) => !path.endsWith('.map') && path !== 'LICENSES.txt')
    .map((path) => {
      const contents = readFileSync(join(program, path));
      if (path !== 'main.js') return file(`${PROGRAM}/${path}`, contents);
      return file(
        `${PROGRAM}/${path}`,
        runBy(shipped === undefined ? DEBIAN_NODE : `/${OWN_NODE}`, contents.toString()),
        0o755,
      );
    });
  const native = nativeParts({ node, abi, cache });
  return [
    ...bundled,
    ...(shipped === undefined ? [] : [file(OWN_NODE, shipped.binary, 0o755)]),
    ...[...native].map(([path, contents]) => file(`${PROGRAM}/node_modules/${path}`, contents)),
    { kind: 'link', path: 'usr/bin/vakt', target: '../lib/vakt/main.js', mode: 0o777 },
  ];
}

function systemFiles(options: Contents, product: { readonly name: string; readonly version: string }): Entry[] {
  const { program, packages, architecture, node, seconds } = options;
  const from = (path: string) => readFileSync(join(TOP, path));
  const licences = readFileSync(join(program, 'LICENSES.txt'), 'utf8');
  const ofNode = node === undefined ? '' : `\nNode ${node.version}, in ${OWN_NODE}:\n\n${node.licence}`;
  const copyright = `Vakt is ${from('LICENSE')}\nIts program contains these packages:\n\n${licences}${ofNode}`;
  const bill = sbom({
    product,
    folders: packages,
    natives: [nativePackage(ARCHITECTURES[architecture])],
    node,
    seconds,
  });
  const documents = `usr/share/doc/${product.name}`;
  return [
    file(`${PROGRAM}/config/agent.json`, from('config/agent.json')),
    ...['vakt.service', 'vakt.socket'].map((unit) => file(`usr/lib/systemd/system/${unit}`, from(`config/${unit}`))),
    file(`${documents}/copyright`, copyright),
    file(`${documents}/changelog.gz`, gzip(from('CHANGELOG.md'))),
    file(`${documents}/sbom.cdx.json`, bill),
    ...Object.values(PAGES).map(({ shipped }): Entry => {
      const target = `../../../lib/vakt/${shipped}`;
      return { kind: 'link', path: `usr/share/doc/vakt/${basename(shipped)}`, target, mode: 0o777 };
    }),
    file('usr/share/man/man8/vakt.8.gz', gzip(from('packaging/vakt.8'))),
    file('usr/share/bash-completion/completions/vakt', from('packaging/completions/vakt.bash')),
    file('usr/share/zsh/vendor-completions/_vakt', from('packaging/completions/_vakt')),
  ];
}

const file = (path: string, contents: Uint8Array | string, mode = 0o644): File => ({
  kind: 'file',
  path,
  mode,
  contents: Buffer.from(contents),
});

/** Sorts entries, and adds every parent folder before its contents. */
export function withFolders(entries: readonly Entry[]): Entry[] {
  const folders = new Set<string>();
  for (const { path } of entries) {
    for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) folders.add(folder);
  }
  const all = [...entries, ...[...folders].map((path): Entry => ({ kind: 'folder', path, mode: 0o755 }))];
  return all.sort((a, b) => (a.path < b.path ? -1 : 1));
}

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => statSync(join(folder, path)).isFile());

const md5 = (contents: Uint8Array) => createHash('md5').update(contents).digest('hex');
