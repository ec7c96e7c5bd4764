import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Metafile, type Plugin } from 'esbuild';
import { PAGES } from '../src/base/pages.ts';
import { licencesOf } from './licences.ts';

/** The clone's top folder. */
export const TOP = fileURLToPath(new URL('../..', import.meta.url));

/**
 * What the SDK and the log bring and the agent never calls: two thirds of all code, and 10 MB of memory. Each is replaced
 * by the least that still loads.
 */
const UNUSED: readonly { readonly path: RegExp; readonly by: string }[] = [
  // Uploads of files, with the storage client, its XML and its HTTP.
  { path: /\/azure-iot-device\/dist\/blob_upload\/index\.js$/, by: 'exports.BlobUploadClient = class {};' },
  // HTTP to IoT Edge's own service, and to other modules.
  { path: /\/azure-iot-http-base\/index\.js$/, by: 'exports.RestApiClient = class {};' },
  // The name of the distribution, for the SDK's own User-Agent; it then says "unknown". Ours is in productInfo.
  { path: /\/getos\/index\.js$/, by: "module.exports = (done) => done(new Error('not asked'));" },
  // MQTT by WebSocket, WeChat and Alipay: settings refuses such a transport.
  { path: /\/mqtt\/lib\/connect\/(?:ws|wx|ali)\.js$/, by: 'module.exports = undefined;' },
  // Files and worker threads to log to: the agent's log goes to its own LogOutput.
  { path: /\/(?:sonic-boom|thread-stream)\/index\.js$/, by: 'module.exports = class {};' },
];

const withoutUnused: Plugin = {
  name: 'without what is unused',
  setup({ onLoad, onEnd, onResolve }) {
    // The emulator is of development dependencies, which devices don't have: who asks for it is told that it isn't there.
    onResolve({ filter: /^\.\.\/emulator\// }, () => ({ path: './emulator.js', external: true }));
    const met = new Set<RegExp>();
    for (const { path, by } of UNUSED) {
      onLoad({ filter: path }, () => {
        met.add(path);
        return { contents: by };
      });
    }
    onEnd(() => ({
      errors: UNUSED.filter(({ path }) => !met.has(path)).map(({ path }) => ({ text: `nothing matches ${path}` })),
    }));
  },
};

/** For what is CommonJS in it: esbuild's own stand-in for `require` refuses Node's modules. */
const REQUIRE = "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);";

/**
 * Makes the program that is shipped, from the same sources as the one in `dist/`: `main.js`, `reader-main.js` for the
 * agent's child process, and beside them the parts that they load when needed, their source maps, the licences, the pages
 * for operators, and `package.json` and `config/` as far as it reads them.
 *
 * @returns the folders of the npm packages that code was taken from
 */
export async function bundle(folder: string): Promise<readonly string[]> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const { metafile } = await build({
    absWorkingDir: TOP,
    entryPoints: ['src/main.ts', 'src/reader-main.ts'],
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    // Sources stay in memory as they are; names stay, since stack traces are read without the source maps.
    minifyWhitespace: true,
    minifySyntax: true,
    platform: 'node',
    target: 'node20.15',
    mainFields: ['module', 'main'],
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'none',
    banner: { js: REQUIRE },
    metafile: true,
    plugins: [withoutUnused],
  });
  writeFileSync(join(folder, 'package.json'), packageFile());
  const packages = packagesIn(metafile);
  writeFileSync(join(folder, 'LICENSES.txt'), licencesOf(packages));
  cpSync(join(TOP, 'config/baseline'), join(folder, 'config/baseline'), {
    recursive: true,
    filter: (path) => !path.endsWith('.md'),
  });
  mkdirSync(join(folder, 'doc'));
  for (const { shipped, source } of Object.values(PAGES)) {
    writeFileSync(join(folder, shipped), shippedPage(source));
  }
  return packages;
}

/**
 * A page as it is shipped: all lie beside one another, so links between them are changed; links to other files of the
 * repository, and its pictures, are left out.
 */
function shippedPage(source: string): string {
  const text = readFileSync(join(TOP, source), 'utf8').replace(/^!\[.*\n\n/gm, '');
  return text.replace(
    /\[([^\]\n]+)\]\((?!https?:|#)([^)#\n]+)(#[^)\n]+)?\)/g,
    (_, words: string, link: string, anchor = '') => {
      const target = join(dirname(source), link);
      const page = Object.values(PAGES).find((any) => any.source === target);
      return page === undefined ? words : `[${words}](${basename(page.shipped)}${anchor})`;
    },
  );
}

/** The program's text with another Node in its first line, and the same flags. */
export const runBy = (node: string, program: string): string => program.replace(/^(#!.* -S )\S+/, `$1${node}`);

function packageFile(): string {
  const { name, version, license, type } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'));
  return `${JSON.stringify({ name, version, license, type, private: true }, null, 2)}\n`;
}

/** The folders of the packages that code was taken from, and koffi's, which goes beside it. */
function packagesIn({ outputs }: Metafile): string[] {
  const folders = new Set([join(TOP, 'node_modules/koffi')]);
  for (const { inputs } of Object.values(outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0];
      const isReplaced = UNUSED.some((unused) => unused.path.test(path));
      if (folder !== undefined && bytesInOutput > 0 && !isReplaced) folders.add(join(TOP, folder));
    }
  }
  return [...folders].sort();
}
