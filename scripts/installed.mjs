// npm run test:installed: builds the packages, installs them in booted Debians (systemd-nspawn), and sees how they do.
//
// Needs root, Linux on amd64, systemd-nspawn (systemd-container), debootstrap and xz. VAKT_SUITE names another Debian.
// -- FILTER runs only the ways whose description contains it: -- 'its own Node'
import { mustRun, setUp } from './set-up.mjs';

setUp();
mustRun(process.execPath, ['dist/scripts/package.js', '--with-node', 'amd64']);
mustRun(process.execPath, [
  'node_modules/mocha/bin/mocha.js',
  '--reporter',
  'spec',
  'dist/test/installed/installed.spec.js',
  ...process.argv.slice(2).flatMap((filter) => ['--fgrep', filter]),
]);
