import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { databaseOf, faultsOf, parse, readPack } from './kusto.ts';

const database = databaseOf(readPack());

const documents = ['docs', 'config', 'config/kql']
  .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
  .filter((path) => path.endsWith('.md'));

/** A management command, such as `.alter table …`. */
const COMMAND = /^\.(?:alter|clear|create|delete|drop|execute|export|ingest|move|purge|rename|set|show)\b/;
/** A call of the pack's functions; a signature (`VaktLogins(Since)`) has a name in parentheses. */
const CALL = /^Vakt\w+\((?![A-Z])/;

/** The blocks that are marked as KQL or begin like it, and the commands and calls within a line. */
function kqlOf(text: string): string[] {
  const blocks = [...text.matchAll(/^( *)```(\w*)\n([\s\S]*?)\n\1```$/gm)].flatMap(
    ([, indent = '', language = '', body = '']) => {
      const kql = body.replaceAll(new RegExp(`^${indent}`, 'gm'), '');
      return /^(?:kusto|kql)$/.test(language) || COMMAND.test(kql) || CALL.test(kql) ? [kql] : [];
    },
  );
  const spans = [...text.matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span);
  return [...blocks, ...spans.filter((span) => COMMAND.test(span) || CALL.test(span))];
}

/** `adx()` exists in Log Analytics only, whose name for a database of Azure Data Explorer it is. */
const withoutAdx = (kql: string) => kql.replaceAll(/\badx\('https:\/\/[^']+\/(\w+)'\)/g, "database('$1')");

describe('the KQL in the documentation, by the parser of Azure Data Explorer', () => {
  const found = documents.flatMap((path) => kqlOf(readFileSync(path, 'utf8')).map((kql) => ({ path, kql })));

  it('includes queries and management commands', () => {
    const kinds = new Set(found.map(({ kql }) => parse(withoutAdx(kql), database).Kind));
    assert.deepEqual([...kinds].sort(), ['Command', 'Query']);
    assert.ok(found.length >= 5, String(found.length));
  });

  for (const { path, kql } of found) {
    it(`parses without a fault in ${path}: ${kql.split('\n', 1)[0]}`, () => {
      const query = withoutAdx(kql);
      assert.deepEqual(faultsOf(parse(query, database), query), []);
    });
  }

  for (const fault of [
    '.alter table VaktMessages policy retention softdelete = 90d',
    'VaktDevice(1d)',
    "database('fleet').VaktMessages | tke 10",
  ]) {
    it(`reports the fault in ${fault}`, () => assert.notDeepEqual(faultsOf(parse(fault, database), fault), []));
  }
});
