import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { STATUS_SCHEMA } from '../status/schema.ts';

interface Schema {
  readonly enum?: readonly string[];
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | false;
}

const page = readFileSync(new URL('../../../../config/queries.md', import.meta.url), 'utf8');
const queries = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, text = '']) => text.trim().replace(/\s+/g, ' '));

/** Schema of `properties.reported.securityAgent.…`; `undefined` if there is no such member. */
const at = (path: string): Schema | undefined =>
  path
    .split('.')
    .slice(3)
    .reduce<Schema | undefined>(
      (schema, name) => schema?.properties?.[name] ?? (schema?.additionalProperties || undefined),
      STATUS_SCHEMA as Schema,
    );

const PATH = String.raw`properties\.reported\.securityAgent(?:\.[A-Za-z]\w*)+`;
const VALUE = String.raw`(?:'[^']*'|\d+|true|false)`;
const FIELD = `(?:${PATH}|deviceId|moduleId|connectionState|lastActivityTime)`;
const SELECTED = String.raw`(?:${FIELD}|COUNT\(\))(?: AS [a-z]\w*)?`;
const COMPARISON = String.raw`(?:${FIELD} (?:=|!=|<|>|<=|>=) ${VALUE}|${FIELD} IN \[${VALUE}(?:, ${VALUE})*\]|(?:NOT )?IS_DEFINED\(${PATH}\))`;
const CONDITION = String.raw`(?:${COMPARISON}|\(${COMPARISON}(?: OR ${COMPARISON})*\))`;
/** As much of the language as is used here; see "IoT Hub query language" in the Azure IoT Hub developer guide. */
const QUERY = new RegExp(
  String.raw`^SELECT ${SELECTED}(?:, ${SELECTED})* FROM devices\.modules WHERE ${CONDITION}(?: (?:AND|OR) ${CONDITION})*(?: GROUP BY ${PATH})?$`,
);

describe('The queries of config/queries.md', () => {
  it('the page has at least 12 queries', () => assert.ok(queries.length >= 12, `${queries.length}`));

  for (const query of queries) {
    it(query, () => {
      assert.match(query, QUERY);
      const paths = query.match(new RegExp(PATH, 'g')) ?? [];
      for (const path of paths) assert.ok(at(path), `${path} is not in the schema`);
      const comparisons = query.matchAll(
        new RegExp(`(${PATH}) (?:IN \\[|= |> )([^\\]]*?)(?:\\]| AND | OR |$| GROUP)`, 'g'),
      );
      for (const [, path = '', values = ''] of comparisons) {
        const { enum: options, type } = at(path) ?? {};
        assert.notEqual(type, 'object', `${path} cannot be compared`);
        for (const [, value = ''] of values.matchAll(/'([^']*)'/g)) {
          assert.ok(options === undefined || options.includes(value), `${path} is never ${value}`);
        }
      }
    });
  }

  it('every query names existing members and values only', () => {
    assert.equal(at('properties.reported.securityAgent.colour'), undefined);
    assert.equal(at('properties.reported.securityAgent.store.place.deeper'), undefined);
    assert.deepEqual(at('properties.reported.securityAgent.store.place')?.enum, ['disk', 'memory']);
    assert.doesNotMatch("SELECT * FROM devices WHERE properties.reported.securityAgent.state == 'on'", QUERY);
  });
});
