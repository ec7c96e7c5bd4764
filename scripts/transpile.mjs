import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const SOURCES = ['src', 'test', 'scripts'];
const OUTPUT = 'dist';

/** Keeps each file a module of its own; imports of sources become imports of their output. */
const eachFileByItself = {
  name: 'each file by itself',
  setup({ onResolve }) {
    onResolve({ filter: /.*/ }, ({ path, kind }) => {
      if (kind === 'entry-point') return undefined;
      return { path: /^\.\.?\/.*\.ts$/.test(path) ? path.replace(/\.ts$/, '.js') : path, external: true };
    });
  },
};

const modified = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const outputOf = (source) => join(OUTPUT, source.replace(/\.ts$/, '.js'));

/**
 * Strips the types of every source that is newer than its output, and removes the output of deleted sources. Does not check
 * types. The working directory must be the root of the repository.
 *
 * @returns the number of files written
 */
export async function transpile() {
  const sources = SOURCES.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => join(folder, file)),
  );
  const changed = sources.filter((source) => modified(outputOf(source)) < modified(source));
  if (changed.length > 0) {
    await build({
      entryPoints: changed,
      outbase: '.',
      outdir: OUTPUT,
      bundle: true,
      treeShaking: false,
      format: 'esm',
      platform: 'node',
      target: 'es2023',
      charset: 'utf8',
      sourcemap: true,
      logLevel: 'error',
      plugins: [eachFileByItself],
    });
  }
  prune(new Set(sources.map(outputOf)));
  return changed.length;
}

function prune(expected) {
  if (!existsSync(OUTPUT)) return;
  for (const file of readdirSync(OUTPUT, { recursive: true, encoding: 'utf8' })) {
    const output = join(OUTPUT, file.replace(/\.map$/, ''));
    if (output.endsWith('.js') && !expected.has(output)) rmSync(join(OUTPUT, file));
  }
}
