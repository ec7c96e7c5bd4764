import { createRequire } from 'node:module';
import { Enums, Models, Serialize, Spec } from '@cyclonedx/cyclonedx-library';
import { type Manifest, manifestOf } from './licences.ts';

/** The Node that a package contains. */
export interface OwnNode {
  readonly version: string;
  /** The npm package that ships its binary. */
  readonly from: string;
}

/**
 * A CycloneDX 1.6 bill of materials in JSON, for vulnerability scanners: the packages in the program, with the hashes
 * of their npm archives from the lockfile. The same input gives the same text.
 *
 * @param folders of the packages whose code is in the program
 * @param natives names of packages with native code that are shipped beside the program
 * @param seconds Unix time of the sources
 */
export function sbom(options: {
  readonly product: { readonly name: string; readonly version: string };
  readonly folders: readonly string[];
  readonly natives: readonly string[];
  readonly node?: OwnNode | undefined;
  readonly seconds: number;
}): string {
  const { product, folders, natives, node, seconds } = options;
  const root = new Models.Component(Enums.ComponentType.Application, product.name, {
    bomRef: product.name,
    version: product.version,
    licenses: licence('MIT'),
  });
  const libraries = [...folders.map(manifestOf), ...natives.map(locked)].map(library);
  const parts = node === undefined ? libraries : [...libraries, runtime(node)];
  for (const { bomRef } of parts) root.dependencies.add(bomRef);
  const bom = new Models.Bom({
    metadata: new Models.Metadata({ timestamp: new Date(seconds * 1_000), component: root }),
    components: new Models.ComponentRepository(parts),
  });
  const json = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return `${json.serialize(bom, { sortLists: true, space: 2 })}\n`;
}

function library({ name, version, license, licenses }: Manifest): Models.Component {
  const [scope, short] = name.startsWith('@') ? name.split('/', 2) : [undefined, name];
  const purl = `pkg:npm/${encodeURIComponent(name).replace('%2F', '/')}@${version}`;
  return new Models.Component(Enums.ComponentType.Library, short ?? name, {
    bomRef: purl,
    ...(scope === undefined ? {} : { group: scope }),
    version,
    purl,
    licenses: licence(license ?? licenses?.[0]?.type),
    hashes: hash(name, version),
  });
}

/** With a CPE, by which advisories about Node, and about its OpenSSL, libuv and others, identify it. */
function runtime({ version, from }: OwnNode): Models.Component {
  return new Models.Component(Enums.ComponentType.Platform, 'node', {
    bomRef: `node@${version}`,
    version,
    purl: `pkg:npm/${from}@${version}`,
    cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
    licenses: licence('MIT'),
  });
}

const licence = (id: string | undefined): Models.LicenseRepository =>
  new Models.LicenseRepository(id === undefined ? [] : [new Models.LicenseExpression(id)]);

interface Locked {
  readonly version: string;
  readonly integrity?: string;
  readonly license?: string;
}

const lock = createRequire(import.meta.url)('../../package-lock.json') as { packages: Record<string, Locked> };

/** The archive's SHA-512, if this is the version at the top level of the lockfile. */
function hash(name: string, version: string): Models.HashDictionary {
  const { integrity, version: lockedVersion } = lock.packages[`node_modules/${name}`] ?? {};
  const base64 = /^sha512-(\S+)$/.exec(integrity ?? '')?.[1];
  if (base64 === undefined || lockedVersion !== version) return new Models.HashDictionary();
  return new Models.HashDictionary([[Enums.HashAlgorithm['SHA-512'], Buffer.from(base64, 'base64').toString('hex')]]);
}

function locked(name: string): Manifest {
  const { version, license } = lock.packages[`node_modules/${name}`] ?? {};
  if (version === undefined) throw new Error(`the lockfile has no ${name}`);
  return { name, version, ...(license === undefined ? {} : { license }) };
}
