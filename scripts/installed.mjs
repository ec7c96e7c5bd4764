// npm run test:installed: builds the packages, installs them in booted Debian systems (systemd-nspawn), and tests them.
//
// Needs root and Linux on amd64; names the Debian packages that are missing. VAKT_SUITE names another Debian.
// -- FILTER runs only the tests whose description contains it: -- 'its own Node'
import { mustHave, mustRun, setUp } from './set-up.mjs';

mustHave({
  'systemd-nspawn': 'systemd-container',
  debootstrap: 'debootstrap',
  xz: 'xz-utils',
  nsenter: 'util-linux',
});
await setUp();
mustRun(process.execPath, ['dist/scripts/package.js', '--with-node', 'amd64']);
mustRun(process.execPath, [
  'node_modules/mocha/bin/mocha.js',
  '--reporter',
  'spec',
  'dist/test/installed/installed.spec.js',
  ...process.argv.slice(2).flatMap((filter) => ['--fgrep', filter]),
]);
