// npm run test:by -- NODE[,NODE…] FILTER…: runs the tests whose path contains a FILTER with other versions of Node, in
// parallel, and prints the output of each when it has finished.
//
// Mocha needs a newer Node than the agent, since it mixes ES modules with CommonJS. Bundled, it runs on older ones.
import { execFile } from 'node:child_process';
import { build } from 'esbuild';
import { setUp } from './set-up.mjs';

/** The bundle is in a folder beside `scripts/`, so that relative paths in it still work. */
const RUNNER = 'build/test-runner.mjs';
const FOR_COMMONJS = [
  "import { createRequire as requireOf } from 'node:module';",
  'const require = requireOf(import.meta.url), __filename = import.meta.filename, __dirname = import.meta.dirname;',
].join('\n');

const [nodes, ...filters] = process.argv.slice(2);
if (nodes === undefined || filters.length === 0) {
  console.error('usage: npm run test:by -- NODE[,NODE…] FILTER…');
  process.exit(2);
}
await setUp();
await build({
  entryPoints: ['scripts/test.mjs'],
  outfile: RUNNER,
  bundle: true,
  platform: 'node',
  format: 'esm',
  // fast-check, so that it has the tests' settings; the bundler isn't called.
  external: ['fast-check', './shipped-program.mjs'],
  banner: { js: FOR_COMMONJS },
  logLevel: 'error',
});
const all = nodes.split(',').map(
  (node) =>
    new Promise((resolve) => {
      const limits = { maxBuffer: Number.POSITIVE_INFINITY };
      execFile(node, [RUNNER, '--built', ...filters], limits, (error, stdout, stderr) => {
        console.log(`${node}:\n${stdout}${stderr}`);
        if (error !== null) console.log(`Failed: the tests by ${node}: ${error.message.split('\n', 1)[0]}`);
        resolve(error === null);
      });
    }),
);
process.exitCode = (await Promise.all(all)).every(Boolean) ? 0 : 1;
