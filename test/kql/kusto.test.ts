import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { toJsonSchema } from '@valibot/to-json-schema';
import { collectors } from '../../src/agent/collectors/index.ts';
import { columnReferredTo, databaseOf, faultsOf, nodesOf, type Pack, parse, readPack } from './kusto.ts';
import { columnsOf, ingest, mappingNamed } from './mapping.ts';
import { hubRecord, type Received, storageRecord } from './records.ts';

const pack = readPack();
const database = databaseOf(pack);

/** A function's body as a query, with its parameters as variables. */
const asQuery = ({ parameters, body }: Pack['functions'][number]) => {
  const variables = [...parameters.matchAll(/(\w+): (\w+)(?: = ([^,)]+))?/g)].map(
    ([, name, type, value]) => `let ${name} = ${value ?? (type === 'string' ? '"Login"' : '1d')};\n`,
  );
  return `${variables.join('')}${body.slice(1, -1)}`;
};

const texts = new Map([...pack.functions.map((each) => [each.name, asQuery(each)] as const), ...pack.queries]);

describe('the KQL pack, by the parser of Azure Data Explorer', function () {
  this.timeout(300_000);

  it('has a setup that is one command, without a fault', () => {
    const code = parse(pack.setup, database);
    assert.equal(code.Kind, 'Command');
    assert.deepEqual(faultsOf(code, pack.setup), []);
  });

  it('has the functions that are documented', () => {
    const names = pack.functions.map(({ name }) => name);
    for (const name of ['Events', 'Processes', 'Connections', 'Logins', 'Alerts', 'Baseline', 'Devices'])
      assert.ok(names.includes(`Vakt${name}`), name);
    const commands = pack.setup.match(/^\./gm)?.length;
    assert.equal(commands, 1 + 1 + pack.mappings.length + names.length, 'a command was not understood by readPack');
    const readme = readFileSync('config/kql/README.md', 'utf8');
    for (const name of [...names, ...pack.queries.keys()]) assert.ok(readme.includes(name), `README.md: ${name}`);
  });

  for (const [index, each] of pack.functions.entries()) {
    it(`${each.name} needs only functions that are created before it`, () => {
      const query = asQuery(each);
      const code = parse(query, databaseOf(pack, index));
      assert.equal(code.Kind, 'Query');
      assert.deepEqual(faultsOf(code, query), []);
    });
  }

  for (const [file, query] of pack.queries) {
    it(`${file} is a query without a fault, and says what it finds`, () => {
      const code = parse(query, database);
      assert.equal(code.Kind, 'Query');
      assert.deepEqual(faultsOf(code, query), []);
      assert.match(query, /^\/\/ \w/);
    });
  }

  it('has ten queries at least', () => assert.ok(pack.queries.size >= 10));

  for (const [name, query] of texts) {
    it(`would be refused with a misspelt column in ${name}`, () => {
      const { Syntax: root } = parse(query, database);
      const columns = [...nodesOf(root)].flatMap((node) => {
        const column = columnReferredTo(node);
        return column === undefined ? [] : [{ column, end: node.TextStart + column.length }];
      });
      for (const chosen of new Set([columns[0], columns[Math.floor(columns.length / 2)], columns.at(-1)])) {
        assert.ok(chosen, 'no column is used');
        const { column, end } = chosen;
        const misspelt = `${query.slice(0, end)}x${query.slice(end)}`;
        const faults = faultsOf(parse(misspelt, database), misspelt);
        assert.ok(
          faults.some((fault) => fault.includes(`'${column}x'`)),
          `${column}x: ${faults}`,
        );
      }
    });
  }
});

/** ExtraDetails that the pipeline adds to elements of any event. */
const ADDED = ['HitCount', 'StartTimeUtc', 'EndTimeUtc', 'Part', 'Parts', 'SnapshotId'];

describe('the KQL pack, by what the agent sends', () => {
  /** Members of payloads, which the parser can't know: those after each call that names an event. */
  const members = [...texts].flatMap(([name, query]) =>
    query.split(/(?=Vakt(?:Elements|Snapshot|Events)\([^)]*")/).flatMap((part) => {
      const event = /^Vakt\w+\([^"]*"(\w+)"/.exec(part)?.[1];
      return [...part.matchAll(/\b(Element|Details|Label)\.(\w+)/g)].map(([, of, member = '']) => ({
        name,
        event,
        of,
        member,
      }));
    }),
  );

  it('reads members of payloads', () => assert.ok(members.length > 60, String(members.length)));

  for (const { name, event, of, member } of members) {
    it(`${name}: ${event ?? 'any event'} has ${of}.${member}`, () => {
      if (event === undefined) {
        assert.ok(of === 'Label' ? ADDED.includes(member) : member === 'ExtraDetails');
        return;
      }
      const collector = collectors.find((each) => each.name === event);
      assert.ok(collector, `no event ${event}`);
      const { properties = {} } = toJsonSchema(collector.payload);
      if (of === 'Element') return assert.ok(member in properties);
      const { description = '' } = properties.ExtraDetails as { description?: string };
      assert.ok(ADDED.includes(member) || new RegExp(`\\b${member}\\b`).test(description));
    });
  }

  it('reads the members of envelopes', () => {
    const [envelope] = sampleOf('Login').Events;
    assert.ok(envelope);
    const read = [...pack.setup.matchAll(/\bEnvelope\.(\w+)/g)].map(([, member = '']) => member);
    assert.ok(read.length > 5);
    for (const member of read) assert.ok(member in envelope, member);
  });

  for (const [mapping, recordOf] of [
    ['VaktFromHub', hubRecord],
    ['VaktFromStorage', storageRecord],
  ] as const) {
    it(`has in ${mapping} a path for each column that this way fills, and no other`, () => {
      const columns = columnsOf(pack);
      const mapped = mappingNamed(pack, mapping);
      for (const { Column } of mapped) assert.ok(columns.has(Column), Column);
      const row = ingest(pack, mapped, recordOf(received('Login')));
      for (const { Column } of mapped) {
        if (Column === 'Abandoned')
          assert.equal(row[Column], ''); // only of a message after one that was given up
        else assert.ok(row[Column] !== null && row[Column] !== '', Column);
      }
      assert.equal(row.DeviceId, 'pump-7');
      assert.equal((row.Events as unknown[]).length, 1);
      assert.equal(row.Sequence, mapping === 'VaktFromStorage' ? 1 : null);
    });
  }
});

const sample = (event: string) => JSON.parse(readFileSync(`config/samples/${event}.json`, 'utf8'));
const sampleOf = (event: string) => sample(event).body as { Events: object[] };

function received(event: string): Received {
  const { enqueuedAt, body, ...rest } = sample(event);
  return { ...rest, enqueuedAt: new Date(enqueuedAt), body: JSON.stringify(body) };
}
