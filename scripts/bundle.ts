import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';
import { programDigest } from '../src/core/base/code-cache.ts';
import { PAGES } from '../src/core/base/pages.ts';
import { licencesOf } from './licences.ts';

/** The root of the repository. */
export const TOP = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Parts of the SDK and of pino that the agent never calls: two thirds of all code, and 10 MB of memory. Each is
 * replaced by a minimal stub that can be loaded.
 */
const UNUSED: readonly { readonly path: RegExp; readonly by: string }[] = [
  // File uploads, with the storage client and its XML and HTTP libraries.
  { path: /\/azure-iot-device\/dist\/blob_upload\/index\.js$/, by: 'exports.BlobUploadClient = class {};' },
  // HTTP to the service of IoT Edge, and to other modules.
  { path: /\/azure-iot-http-base\/index\.js$/, by: 'exports.RestApiClient = class {};' },
  // The name of the distribution for the SDK's User-Agent, which is then "unknown". The agent sets its own productInfo.
  { path: /\/getos\/index\.js$/, by: "module.exports = (done) => done(new Error('not asked'));" },
  // MQTT over WebSocket, WeChat and Alipay: the agent has its own WebSocket (src/core/network/websocket.ts), and not the others.
  { path: /\/mqtt\/lib\/connect\/(?:ws|wx|ali)\.js$/, by: 'module.exports = undefined;' },
  // pino's outputs to files and worker threads: the agent logs to LogOutput.
  { path: /\/(?:sonic-boom|thread-stream)\/index\.js$/, by: 'module.exports = class {};' },
];

/** With it, mqtt-packet permanently caches a Buffer for each packet length below 16,384 (its issue #163): up to 3 MB. */
const LENGTH_CACHE = {
  path: /\/mqtt-packet\/writeToStream\.js$/,
  line: 'if (num < 16384) varByteIntCache[num] = buffer\n',
};

const withoutUnused: Plugin = {
  name: 'without unused modules and permanent caches',
  setup({ onLoad, onEnd }) {
    const met = new Set<RegExp>();
    for (const { path, by } of UNUSED) {
      onLoad({ filter: path }, () => {
        met.add(path);
        return { contents: by };
      });
    }
    onLoad({ filter: LENGTH_CACHE.path }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!text.includes(LENGTH_CACHE.line)) return { errors: [{ text: `${path} has no ${LENGTH_CACHE.line}` }] };
      return { contents: text.replace(LENGTH_CACHE.line, '\n') };
    });
    onEnd(() => ({
      errors: UNUSED.filter(({ path }) => !met.has(path)).map(({ path }) => ({ text: `nothing matches ${path}` })),
    }));
  },
};

/** What all bundles have in common. CommonJS: V8's code cache takes scripts, not ES modules. */
const COMMON = {
  absWorkingDir: TOP,
  bundle: true,
  format: 'cjs',
  // Node keeps sources in memory, so white space is removed; names are kept, for stack traces without source maps.
  minifyWhitespace: true,
  minifySyntax: true,
  platform: 'node',
  target: 'node20.15',
  supported: { 'dynamic-import': false }, // a script of node:vm has none
  mainFields: ['module', 'main'],
  define: { 'import.meta.url': 'ownUrl' },
  sourcemap: 'linked',
  sourcesContent: false,
  legalComments: 'none',
  metafile: true,
} satisfies BuildOptions;

/** What `program.js` is called with, by `main.js`. It is a function, so that no other module system takes part. */
const PROGRAM = { opens: '(function(require,ownUrl){"use strict";', closes: '})' };
const IN_FILE = "const ownUrl=require('node:url').pathToFileURL(__filename).href;";

/**
 * Builds the program that is shipped: `main.js`, which runs `program.js`; `reader-main.js` for the agent's child process,
 * `hardware-main.js` for that of commands with `--hardware`, source maps, licences, the pages for operators, and the parts
 * of `package.json` and `config/` that the program reads.
 *
 * @returns the folders of the npm packages whose code is in the bundle
 */
export async function bundle(folder: string): Promise<readonly string[]> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const program = await build({
    ...COMMON,
    entryPoints: { program: 'src/agent/main.ts' },
    outdir: folder,
    plugins: [withoutUnused],
  });
  const firstLine = wrap(join(folder, 'program.js'));
  const main = await build({
    ...COMMON,
    entryPoints: { main: 'src/agent/shipped-main.ts' },
    outdir: folder,
    banner: { js: `${firstLine}\n${IN_FILE}` },
    define: { ...COMMON.define, PROGRAM_DIGEST: `"${programDigest(readFileSync(join(folder, 'program.js')))}"` },
  });
  // esbuild marks what begins with a line for the shell as executable: the program before it was wrapped, but not its starter.
  chmodSync(join(folder, 'program.js'), 0o644);
  chmodSync(join(folder, 'main.js'), 0o755);
  const children = await build({
    ...COMMON,
    entryPoints: ['src/agent/reader-main.ts', 'src/agent/hardware-main.ts'],
    outdir: folder,
    banner: { js: IN_FILE },
  });
  writeFileSync(join(folder, 'package.json'), packageFile());
  const packages = packagesIn([program, main, children].map(({ metafile }) => metafile));
  writeFileSync(join(folder, 'LICENSES.txt'), licencesOf(packages));
  for (const file of ['baseline/rules.json', 'detections/attacks.json', 'detections/rules.json']) {
    cpSync(join(TOP, 'config', file), join(folder, 'config', file));
  }
  mkdirSync(join(folder, 'doc'));
  for (const { shipped, source } of Object.values(PAGES)) {
    writeFileSync(join(folder, shipped), shippedPage(source));
  }
  return packages;
}

/**
 * Converts a page for shipping: all pages are in one folder, so links between them are changed; links to other files of
 * the repository, and pictures, are removed.
 */
function shippedPage(source: string): string {
  const text = readFileSync(join(TOP, source), 'utf8').replace(/^!\[.*\n\n/gm, '');
  return text.replace(
    /\[([^\]]+)\]\((?!https?:|#)([^)#\n]+)(#[^)\n]+)?\)/g,
    (_, words: string, link: string, anchor = '') => {
      const target = join(dirname(source), link);
      const page = Object.values(PAGES).find((any) => any.source === target);
      return page === undefined ? words : `[${words}](${basename(page.shipped)}${anchor})`;
    },
  );
}

/** Replaces the path of Node in the program's first line; the flags stay the same. */
export const runBy = (node: string, program: string): string => program.replace(/^(#!.* -S )\S+/, `$1${node}`);

/**
 * Makes a function of a bundle that begins with a line for the shell. The lines stay where they were, for the source map.
 *
 * @returns that line
 */
function wrap(file: string): string {
  const [firstLine = '', ...rest] = readFileSync(file, 'utf8').split('\n');
  const map = rest.splice(rest.findIndex((line) => line.startsWith('//# sourceMappingURL=')));
  writeFileSync(file, [PROGRAM.opens, ...rest, PROGRAM.closes, ...map].join('\n'));
  return firstLine;
}

function packageFile(): string {
  const { name, version, license } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'));
  return `${JSON.stringify({ name, version, license, type: 'commonjs', private: true }, null, 2)}\n`;
}

/** The folders of the packages whose code is in the bundle, and of koffi, which is shipped beside it. */
function packagesIn(bundles: readonly Metafile[]): string[] {
  const folders = new Set([join(TOP, 'node_modules/koffi')]);
  for (const { inputs } of bundles.flatMap(({ outputs }) => Object.values(outputs))) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0];
      const isReplaced = UNUSED.some((unused) => unused.path.test(path));
      if (folder !== undefined && bytesInOutput > 0 && !isReplaced) folders.add(join(TOP, folder));
    }
  }
  return [...folders].sort();
}
