import assert from 'node:assert/strict';
import fc from 'fast-check';
import { QueryDocument } from '../../../src/emulator/query/documents.ts';
import { parseQuery, QueryError } from '../../../src/emulator/query/parse.ts';
import { runQuery } from '../../../src/emulator/query/run.ts';
import { Registry } from '../../../src/emulator/registry.ts';

const MODULE = 'azureiotsecurity';

/** dev1 is connected; dev2 reports another state; dev3 reports nothing. */
function documents(): QueryDocument[] {
  const registry = new Registry();
  for (const deviceId of ['dev1', 'dev2', 'dev3', "it's"]) registry.addModule({ deviceId, moduleId: MODULE });
  const twin = (deviceId: string) => registry.twinOf({ deviceId, moduleId: MODULE });
  twin('dev1').patchReported({
    agent: { state: 'running', count: 3, on: true, 'a-b': { 'c:d': 'x' }, since: '2026-01-02' },
  });
  twin('dev2').patchReported({ agent: { state: 'degraded', count: 12, on: false, since: '2025-12-31' } });
  twin('dev1').patch({ tags: { site: 1, name: 'Jürgen' } });
  twin('dev2').patch({ tags: { site: '1' } });
  return [...registry.moduleTwins()].map(
    ({ module, twin: of }) => new QueryDocument(module, of, () => module.deviceId === 'dev1'),
  );
}

const run = (sql: string, page = { from: 0, limit: 100 }) => runQuery(parseQuery(sql), documents(), page);
const selected = (condition: string) =>
  run(`SELECT deviceId FROM devices.modules WHERE ${condition}`).rows.map(
    (row) => (row as { deviceId: string }).deviceId,
  );

const AGENT = 'properties.reported.agent';

describe("the emulator's query language", () => {
  const conditions: Readonly<Record<string, string[]>> = {
    [`${AGENT}.state = 'running'`]: ['dev1'],
    [`${AGENT}.state = "running"`]: ['dev1'],
    [`${AGENT}.state != 'running'`]: ['dev2'], // what is not defined is neither equal nor unequal
    [`${AGENT}.state <> 'running'`]: ['dev2'],
    [`NOT ${AGENT}.state = 'running'`]: ['dev2'],
    [`${AGENT}.count > 3`]: ['dev2'],
    [`${AGENT}.count >= 3`]: ['dev1', 'dev2'],
    [`${AGENT}.count < 12`]: ['dev1'],
    [`${AGENT}.count <= -1.5e3`]: [],
    [`${AGENT}.count > '3'`]: [], // values of different types are not compared
    [`${AGENT}.on = true`]: ['dev1'],
    [`${AGENT}.on = FALSE`]: ['dev2'],
    [`${AGENT}.since < '2026-01-01'`]: ['dev2'],
    [`${AGENT}.state IN ['running', 'degraded']`]: ['dev1', 'dev2'],
    [`${AGENT}.state NIN ['running']`]: ['dev2'],
    [`IS_DEFINED(${AGENT}.state)`]: ['dev1', 'dev2'],
    [`NOT is_defined(${AGENT})`]: ['dev3', "it's"],
    "STARTSWITH(deviceId, 'dev')": ['dev1', 'dev2', 'dev3'],
    "starts_with(deviceId, 'dev3') OR STARTS_WITH(deviceId, 'it')": ['dev3', "it's"],
    [`STARTSWITH(${AGENT}.count, '1')`]: [],
    "deviceId = 'it\\'s'": ["it's"],
    "tags.name = 'J\\u00fcrgen'": ['dev1'],
    'tags.site = 1': ['dev1'],
    "tags.site IN [1, '1']": ['dev1', 'dev2'],
    [`${AGENT}.[[a-b]].[[c:d]] = 'x'`]: ['dev1'],
    "ConnectionState = 'Connected'": ['dev1'],
    'properties.desired.$version = 1': ['dev1', 'dev2', 'dev3', "it's"],
    'properties.reported.$version = properties.desired.$version': ['dev3', "it's"],
    [`tags.site = 1 OR ${AGENT}.count > 5 AND ${AGENT}.on = true`]: ['dev1'], // AND binds closer
    [`(tags.site = 1 OR ${AGENT}.count > 5) AND ${AGENT}.on = false`]: ['dev2'],
    'tags = 1': [], // objects are not compared
    tags: [],
    true: ['dev1', 'dev2', 'dev3', "it's"],
    'tags.__proto__ = 1': [],
    'deviceId.length = 4': [],
  };
  for (const [condition, expected] of Object.entries(conditions))
    it(`WHERE ${condition}`, () => assert.deepEqual(selected(condition), expected));

  it('names a column by AS, else by the last part of its path, and leaves out what is not defined', () => {
    const sql = `SELECT DeviceId, ${AGENT}.count, ${AGENT}.state AS s FROM devices.modules WHERE NOT deviceId = 'dev2'`;
    assert.deepEqual(run(sql).rows, [
      { deviceId: 'dev1', count: 3, s: 'running' },
      { deviceId: 'dev3' },
      { deviceId: "it's" },
    ]);
  });

  it('shows whole twins', () => {
    const [first] = run('select * from devices.modules').rows as Record<string, unknown>[];
    assert.deepEqual(Object.keys(first ?? {}), [
      ...['deviceId', 'moduleId', 'etag', 'deviceEtag', 'status', 'statusUpdateTime', 'connectionState'],
      ...['lastActivityTime', 'cloudToDeviceMessageCount', 'authenticationType', 'x509Thumbprint', 'version'],
      ...['tags', 'properties'],
    ]);
    assert.deepEqual(first?.tags, { site: 1, name: 'Jürgen' });
  });

  it('counts, also in groups', () => {
    assert.deepEqual(run('SELECT COUNT() AS n FROM devices.modules').rows, [{ n: 4 }]);
    assert.deepEqual(run("SELECT COUNT() FROM devices.modules WHERE deviceId = 'none'").rows, [{ count: 0 }]);
    const sql = `SELECT ${AGENT}.state AS state, COUNT() AS n FROM devices.modules GROUP BY ${AGENT}.state`;
    assert.deepEqual(run(sql).rows, [{ state: 'running', n: 1 }, { state: 'degraded', n: 1 }, { n: 2 }]);
  });

  it('gives pages, and says where the next one begins', () => {
    const sql = "SELECT deviceId FROM devices.modules WHERE NOT deviceId = 'dev2'";
    const first = run(sql, { from: 0, limit: 2 });
    assert.deepEqual(first, { rows: [{ deviceId: 'dev1' }, { deviceId: 'dev3' }], next: 3 });
    assert.deepEqual(run(sql, { from: 3, limit: 2 }), { rows: [{ deviceId: "it's" }] });
  });

  const wrong: Readonly<Record<string, RegExp>> = {
    '': /position 1: the query ends, expected SELECT/,
    SELECT: /the query ends/,
    'SELECT * FROM devices.jobs': /devices\.jobs is not supported/,
    'SELECT * FROM devices WHERE': /the query ends/,
    'SELECT * FROM devices WHERE a =': /the query ends/,
    'SELECT * FROM devices WHERE (a = 1': /expected \)/,
    'SELECT * FROM devices WHERE a = 1) OR (b = 2': /position 34: \)/,
    "SELECT * FROM devices WHERE a = 'open": /Syntax error at position 33/,
    "SELECT * FROM devices WHERE a = '\\x'": /position 33: \\x/,
    'SELECT * FROM devices WHERE a IN []': /Syntax error/,
    'SELECT * FROM devices WHERE a IN (1)': /expected \[/,
    'SELECT * FROM devices WHERE a == 1': /Syntax error/,
    'SELECT * FROM devices WHERE LENGTH(a) = 1': /LENGTH is not a function/,
    "SELECT * FROM devices WHERE STARTSWITH('a')": /takes 2 argument/,
    "SELECT * FROM devices WHERE IS_DEFINED('a')": /takes a property/,
    'SELECT * FROM devices; DROP': /Syntax error at position 22: ;/,
    'SELECT AVG(a) FROM devices': /position 11: \(/,
    'SELECT * FROM devices GROUP BY a': /SELECT \* cannot/,
    'SELECT deviceId, COUNT() AS n FROM devices': /deviceId is neither/,
    [`SELECT * FROM devices WHERE ${'('.repeat(200)}`]: /nested deeper than 100/,
    [`SELECT * FROM devices WHERE a = '${'x'.repeat(8192)}'`]: /longer than 8192/,
  };
  for (const [sql, message] of Object.entries(wrong))
    it(`refuses ${sql.slice(0, 60) || '(nothing)'}`, () =>
      assert.throws(() => parseQuery(sql), { name: 'QueryError', message }));

  it('answers or rejects any input', () => {
    const words = [
      'SELECT',
      '*',
      'FROM',
      'devices',
      '.',
      'modules',
      'WHERE',
      'a',
      '=',
      "'x'",
      '(',
      ')',
      'NOT',
      'IN',
      '[',
      ']',
      '1',
      ',',
    ];
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 3 }))), (parts) => {
        try {
          run(parts.join(' '));
        } catch (error) {
          assert.ok(error instanceof QueryError, String(error));
        }
      }),
    );
  });
});
