import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TOP } from './bundle.ts';
import { registryPackage } from './registry-package.ts';

/** The files of koffi that are loaded; the others are documentation and sources. */
export const KOFFI = ['package.json', 'LICENSE.txt', 'index.cjs', 'src/koffi/index.cjs', 'src/koffi/src/static.cjs'];

/** The npm package with koffi's binary for one of Node's architectures. */
export const nativePackage = ({ node }: { readonly node: string }): string => `@koromix/koffi-linux-${node}`;

/**
 * The files of koffi for one architecture, as in node_modules. npm installs only the binary for this machine; others
 * are fetched by npm, verified by the lockfile's hash, and kept in `cache`.
 *
 * @param node Node's name of the architecture
 * @param abi koffi's own, with the C library
 */
export function nativeParts({
  node,
  abi,
  cache,
}: {
  node: string;
  abi: string;
  cache: string;
}): Map<string, Uint8Array> {
  const parts = new Map<string, Uint8Array>();
  for (const path of KOFFI) parts.set(`koffi/${path}`, readFileSync(join(TOP, 'node_modules/koffi', path)));
  const name = nativePackage({ node });
  const files = registryPackage({ name, ...locked(name), cache });
  for (const path of ['package.json', 'index.js', `${abi}/koffi.node`]) {
    const contents = files.get(`package/${path}`);
    if (contents === undefined) throw new Error(`${name} has no ${path}`);
    parts.set(`${name}/${path}`, contents);
  }
  return parts;
}

/** The version and hash of a package in the lockfile. */
function locked(name: string): { version: string; integrity: string } {
  const lock = JSON.parse(readFileSync(join(TOP, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string; integrity: string } | undefined>;
  };
  const wanted = lock.packages[`node_modules/${name}`];
  if (wanted === undefined) throw new Error(`the lockfile has no ${name}`);
  return wanted;
}
