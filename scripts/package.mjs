// npm run package [-- ARCHITECTURE…]: builds the bundle, a Debian package and a tarball for each architecture, in
// build/.
import { join } from 'node:path';
import { mustRun, setUp, TOP } from './set-up.mjs';

await setUp();
mustRun(process.execPath, [join(TOP, 'dist/scripts/package.js'), ...process.argv.slice(2)]);
