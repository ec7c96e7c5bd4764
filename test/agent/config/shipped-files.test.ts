import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { parseJson } from '../../../src/agent/config/json.ts';
import { readLocalSettings } from '../../../src/agent/config/local.ts';
import { readTwin } from '../../../src/core/twin/twin.ts';
import { publishedDialect } from './published.ts';

const shipped = (name: string) => new URL(`../../../../config/${name}`, import.meta.url).pathname;
const read = (name: string) => {
  const parsed = parseJson(readFileSync(shipped(name), 'utf8'));
  assert.ok('value' in parsed);
  return parsed.value as Record<string, unknown>;
};
const fits = (schemaFile: string, value: unknown) => {
  const validate = new Ajv({ strict: false, allErrors: true }).compile(read(schemaFile));
  validate(value);
  return validate.errors ?? [];
};

describe('The files in config/', () => {
  it('agent.json is a valid configuration that says nothing but the defaults', () => {
    const { hub, identity, ...rest } = readLocalSettings(shipped('agent.json'), {});
    const folder = mkdtempSync(join(tmpdir(), 'vakt-least-'));
    try {
      const least = join(folder, 'agent.json');
      writeFileSync(least, '{ "identity": { "kind": "connectionString", "file": "/x" } }');
      const defaults = readLocalSettings(least, {});
      assert.deepEqual(rest, withoutIdentity(defaults));
      assert.equal(hub.transport, defaults.hub.transport);
      assert.equal(identity.kind, 'moduleKey');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('agent.schema.json describes every setting', () => {
    const silent: string[] = [];
    const look = (schema: unknown, name: string) => {
      const { properties = {}, anyOf, oneOf } = schema as Record<string, unknown>;
      for (const each of (anyOf ?? oneOf ?? []) as unknown[]) look(each, name);
      for (const [member, of] of Object.entries(properties as Record<string, Record<string, unknown>>)) {
        const isLeaf = of.properties === undefined && of.anyOf === undefined && of.oneOf === undefined;
        if (isLeaf && of.description === undefined && of.const === undefined) silent.push(`${name}.${member}`);
        look(of, `${name}.${member}`);
      }
    };
    look(read('agent.schema.json'), 'agent');
    assert.deepEqual(silent, []);
  });

  it('agent.json matches agent.schema.json, which rejects unknown names', () => {
    assert.deepEqual(fits('agent.schema.json', read('agent.json')), []);
    assert.notDeepEqual(fits('agent.schema.json', { ...read('agent.json'), stateDirektory: '/x' }), []);
  });

  it('agent.json shows a value of the right type for each setting that it comments out', () => {
    const all = readFileSync(shipped('agent.json'), 'utf8').replace(/^( +)\/\/ (?="\w+": )/gm, '$1');
    const parsed = parseJson(all);
    assert.ok('value' in parsed);
    const { limits } = parsed.value as { readonly limits: object };
    assert.ok('largestCacheInBytes' in limits);
    assert.deepEqual(
      fits('agent.schema.json', parsed.value).filter(({ keyword }) => keyword === 'type'),
      [],
    );
  });

  it('twin.json says the defaults, and fits twin.schema.json', () => {
    const { desired } = read('twin.json').properties as { desired: Record<string, object> };
    const [object] = Object.values(desired);
    const dialect = publishedDialect();
    assert.deepEqual(readTwin(object, dialect), readTwin(undefined, dialect));
    assert.equal(Object.keys(object ?? {}).length, dialect.properties.length);
    assert.deepEqual(fits('twin.schema.json', object), []);
    assert.notDeepEqual(fits('twin.schema.json', { snapshotFrequency: { value: 13 } }), []);
  });
});

function withoutIdentity({ hub: _hub, identity: _identity, ...rest }: ReturnType<typeof readLocalSettings>) {
  return rest;
}
