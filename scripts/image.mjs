// node scripts/image.mjs FOLDER: the program that is shipped, with the native part for this machine, as the container
// image has it in /usr/lib/vakt.
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setUp, TOP } from './set-up.mjs';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node scripts/image.mjs FOLDER');
  process.exit(2);
}
setUp();
const { bundle } = await import('../dist/scripts/bundle.js');
const { KOFFI } = await import('../dist/scripts/native-parts.js');

await bundle(folder);
const installed = [...KOFFI.map((path) => `koffi/${path}`), `@koromix/koffi-linux-${process.arch}`];
for (const path of installed) {
  cpSync(join(TOP, 'node_modules', path), join(folder, 'node_modules', path), { recursive: true });
}
