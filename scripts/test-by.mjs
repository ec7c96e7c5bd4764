// npm run test:by -- NODE FILTER…: runs the tests whose path contains a FILTER by another Node, such as the oldest one.
//
// Mocha needs a later Node than the agent does, since it has ES modules among its CommonJS. Bundled, it doesn't.
import { spawnSync } from 'node:child_process';
import { build } from 'esbuild';
import { setUp } from './set-up.mjs';

/** Beside `scripts/`, so that it finds the clone as the script it is made of does. */
const RUNNER = 'build/test-runner.mjs';
const FOR_COMMONJS = [
  "import { createRequire as requireOf } from 'node:module';",
  'const require = requireOf(import.meta.url), __filename = import.meta.filename, __dirname = import.meta.dirname;',
].join('\n');

const [node, ...filters] = process.argv.slice(2);
if (node === undefined || filters.length === 0) {
  console.error('usage: npm run test:by -- NODE FILTER…');
  process.exit(2);
}
setUp();
await build({
  entryPoints: ['scripts/test.mjs'],
  outfile: RUNNER,
  bundle: true,
  platform: 'node',
  format: 'esm',
  banner: { js: FOR_COMMONJS },
  logLevel: 'error',
});
const { status, error } = spawnSync(node, [RUNNER, ...filters], { stdio: ['ignore', 'inherit', 'inherit'] });
if (error !== undefined) console.error(`${node}: ${error.message}`);
process.exit(status ?? 1);
