// npm run package [-- ARCHITECTURE…]: the bundle, and a Debian package of it for each architecture, in build/.
import { join } from 'node:path';
import { mustRun, setUp, TOP } from './set-up.mjs';

setUp();
mustRun(process.execPath, [join(TOP, 'dist/scripts/package.js'), ...process.argv.slice(2)]);
