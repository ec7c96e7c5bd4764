// npm run test:kernels: boots older kernels of Debian's in QEMU, and holds what the agent says and sees on them.
//
// Needs root and Linux on amd64; names the Debian packages that are missing. Fetches each kernel once, 70 MB, into build/kernels.
// -- SUITE… names other suites than bullseye and bookworm.
import { mustHave, mustRun, setUp } from './set-up.mjs';
import { withShippedProgram } from './shipped-program.mjs';

mustHave({
  'qemu-system-x86_64': 'qemu-system-x86',
  busybox: 'busybox-static',
  cpio: 'cpio',
  xz: 'xz-utils',
  depmod: 'kmod',
  'apt-get': 'apt',
  gcc: 'gcc',
});
await setUp();
Object.assign(process.env, await withShippedProgram());
if (process.argv.length > 2) process.env.VAKT_SUITES = process.argv.slice(2).join(' ');
mustRun(process.execPath, [
  'node_modules/mocha/bin/mocha.js',
  '--reporter',
  'spec',
  'dist/test/installed/kernels.spec.js',
]);
