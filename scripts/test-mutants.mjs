// npm run test:mutants -- FOLDER [--files PATTERN] [--at-least PERCENT]: makes one small change (a mutant) at a time in the
// sources of a folder below src/, and runs the tests in the same folder below test/. Lists the changes that no test notices.
//
//   --files     changes only files whose path below FOLDER matches, such as `{loss,record}.ts`
//   --at-least  exits with 1 if the tests notice a smaller share of the changes
//
// Each change takes about a second. Run it as an ordinary user: a changed condition may delete or signal the wrong thing.
// The changed sources are below build/mutants/, which is removed at the end.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { setUp, TOP } from './set-up.mjs';

/** The sources' copies are compiled by this. It has no space, since Stryker splits the command at each. */
const TRANSPILE = 'import("./scripts/transpile.mjs").then(({transpile})=>transpile())';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { files: { type: 'string', default: '**/*.ts' }, 'at-least': { type: 'string', default: '0' } },
});
const [folder, ...more] = positionals.map((path) => path.replace(/^(?:\.\/)?(?:src\/)?|\/$/g, ''));
const atLeast = Number(values['at-least']);
await setUp();
if (
  more.length > 0 ||
  Number.isNaN(atLeast) ||
  !(folder && existsSync(`src/${folder}`) && existsSync(`test/${folder}`))
) {
  console.error('usage: npm run test:mutants -- FOLDER [--files PATTERN] [--at-least PERCENT]');
  process.exit(2);
}
const began = performance.now();
const { Stryker } = await import('@stryker-mutator/core'); // needs what was just installed
const testFiles = readdirSync(join('test', folder), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => join('test', folder, file));
const mutants = await new Stryker({
  mutate: [`src/${folder}/${values.files}`],
  testRunner: 'vakt',
  testFiles,
  plugins: ['./scripts/mutant-runner.mjs'],
  coverageAnalysis: 'perTest',
  // In this repository, so that the bundler and the copied tests find its packages.
  tempDirName: 'build/mutants',
  cleanTempDir: 'always',
  ignorePatterns: ['/build', '/dist'],
  buildCommand: `node --eval ${TRANSPILE}`,
  disableTypeChecks: false,
  tsconfigFile: 'none', // Stryker can't read it with TypeScript 7
  reporters: [],
  allowConsoleColors: false,
  logLevel: 'error',
}).runMutationTest();

const count = (...statuses) => mutants.filter(({ status }) => statuses.includes(status)).length;
const [killed, timeouts, survived, notReached] = ['Killed', 'Timeout', 'Survived', 'NoCoverage'].map((each) =>
  count(each),
);
const score = (100 * (killed + timeouts)) / (killed + timeouts + survived + notReached);
for (const mutant of mutants) if (['Survived', 'NoCoverage'].includes(mutant.status)) console.log(lineOf(mutant));
console.log(
  `${score.toFixed(1)} % of ${folder}: ${killed} killed, ${timeouts} timed out, ${survived} survived, ` +
    `${notReached} reached by no test, ${count('RuntimeError', 'CompileError')} failed, ` +
    `${((performance.now() - began) / 60_000).toFixed(1)} min`,
);
process.exitCode = score >= atLeast ? 0 : 1;

function lineOf({ fileName, location: { start, end }, replacement, status }) {
  const lines = readFileSync(fileName, 'utf8')
    .split('\n')
    .slice(start.line - 1, end.line);
  lines.push(lines.pop().slice(0, end.column - 1));
  lines[0] = lines[0].slice(start.column - 1);
  const [before, after] = [lines.join('\n'), replacement].map((text) => text.replace(/\s+/g, ' ').slice(0, 80));
  const note = status === 'NoCoverage' ? ' (reached by no test)' : '';
  return `${relative(TOP, fileName)}:${start.line}: ${before} → ${after}${note}`;
}
