// node scripts/image.mjs FOLDER: writes the shipped program, with the native part for this machine, for /usr/lib/vakt
// in the container image.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setUp, TOP } from './set-up.mjs';

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node scripts/image.mjs FOLDER');
  process.exit(2);
}
await setUp();
const { bundle, runBy } = await import('../dist/scripts/bundle.js');
const { KOFFI } = await import('../dist/scripts/native-parts.js');

await bundle(folder);
const installed = [...KOFFI.map((path) => `koffi/${path}`), `@koromix/koffi-linux-${process.arch}`];
for (const path of installed) {
  cpSync(join(TOP, 'node_modules', path), join(folder, 'node_modules', path), { recursive: true });
}
// The program is run by the image's Node, which has file capabilities (Dockerfile). It is the one that runs this
// script.
const main = join(folder, 'main.js');
const [noSignal] = ['--disable-sigusr1'].filter((flag) => process.allowedNodeEnvironmentFlags.has(flag));
const node = ['/usr/lib/vakt/node', ...(noSignal === undefined ? [] : [noSignal])].join(' ');
writeFileSync(main, runBy(node, readFileSync(main, 'utf8')));
