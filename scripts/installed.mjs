// npm run test:installed: builds the packages, installs them in booted Debians (systemd-nspawn), and sees how they do.
//
// Needs root, Linux on amd64, systemd-nspawn (systemd-container) and debootstrap. VAKT_SUITE names another Debian.
import { mustRun, setUp } from './set-up.mjs';

setUp();
mustRun(process.execPath, ['dist/scripts/package.js', 'amd64']);
mustRun(process.execPath, [
  'node_modules/mocha/bin/mocha.js',
  '--reporter',
  'spec',
  'dist/test/installed/installed.spec.js',
]);
