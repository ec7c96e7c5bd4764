// npm test [-- FILTER…]: sets up a fresh clone and runs the tests, or those whose path contains a FILTER.
//
// Skipped tests print their reason. With VAKT_REQUIRE_ALL=1, as in CI, a skip is a failure, but for the one that is
// allowed: tests against the published schemas, when VAKT_PUBLISHED_SCHEMAS names no folder.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setUp } from './set-up.mjs';

setUp();
const { default: Mocha } = await import('mocha');
const filters = process.argv.slice(2);
const files = readdirSync('dist/test', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  .sort();
const mocha = new Mocha({ timeout: 30_000, forbidOnly: true, reporter: 'spec' });
for (const file of files) mocha.addFile(join('dist/test', file));
await mocha.loadFilesAsync();

const requireAll = process.env.VAKT_REQUIRE_ALL === '1';
const schemasAreThere = Boolean(process.env.VAKT_PUBLISHED_SCHEMAS);
const isAllowed = (title) => !schemasAreThere && /published schema/i.test(title);
const skipped = [];
const runner = mocha.run((failures) => {
  const missing = requireAll ? skipped.filter((title) => !isAllowed(title)) : [];
  for (const title of missing) console.log(`Skipped, but required: ${title}`);
  const failed = failures + missing.length;
  const passed = runner.stats.passes;
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 && passed > 0 ? 0 : 1);
});
runner.on('pending', (test) => skipped.push(test.fullTitle()));
