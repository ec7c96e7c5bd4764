// node scripts/image.mjs FOLDER: the program that is shipped, with the native part for this machine, as the container
// image has it in /usr/lib/vakt.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setUp, TOP } from './set-up.mjs';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node scripts/image.mjs FOLDER');
  process.exit(2);
}
setUp();
const { bundle, runBy } = await import('../dist/scripts/bundle.js');
const { KOFFI } = await import('../dist/scripts/native-parts.js');

await bundle(folder);
const installed = [...KOFFI.map((path) => `koffi/${path}`), `@koromix/koffi-linux-${process.arch}`];
for (const path of installed) {
  cpSync(join(TOP, 'node_modules', path), join(folder, 'node_modules', path), { recursive: true });
}
// Run by the image's own Node, whose file carries the capabilities (Dockerfile).
const main = join(folder, 'main.js');
writeFileSync(main, runBy('/usr/lib/vakt/node', readFileSync(main, 'utf8')), { mode: 0o755 });
