// npm run test:boards [-- ARCHITECTURE…] [--keep] [--figures]: builds the package, installs it in a Debian that runs by its
// own kernel on an emulated board, and tests it there. ARCHITECTURE is arm64, armhf or amd64; the first two when none is named.
//
// Needs root and Linux on amd64; names the Debian packages that are missing. An image is created for each run, which takes
// minutes and needs Debian's mirror. With --keep it is kept in $XDG_CACHE_HOME/vakt-boards (default ~/.cache/vakt-boards),
// and used again by the next run with --keep. --figures also measures memory, idle CPU and the start: some minutes more.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { mustHave, mustRun, setUp } from './set-up.mjs';

const [KEEP, FIGURES] = ['--keep', '--figures'];
const TOOLS = {
  mmdebstrap: 'mmdebstrap',
  'arch-test': 'arch-test',
  mke2fs: 'e2fsprogs',
  cpio: 'cpio',
  xz: 'xz-utils',
  ssh: 'openssh-client',
  'ssh-keygen': 'openssh-client',
  setpriv: 'util-linux',
  unshare: 'util-linux',
};

const args = process.argv.slice(2);
const named = args.filter((arg) => arg !== KEEP && arg !== FIGURES);
await setUp();
const { BOARDS } = await import('../dist/test/boards/architectures.js');
const wrong = named.find((name) => !Object.hasOwn(BOARDS, name));
if (wrong !== undefined) {
  console.error(`There is no board "${wrong}"; use ${Object.keys(BOARDS).join(', ')}, ${KEEP} and ${FIGURES}.`);
  process.exit(2);
}
const names = named.length > 0 ? named : ['arm64', 'armhf'];
mustHave(Object.assign({}, TOOLS, ...names.map((name) => BOARDS[name].tools)));
mustRun(process.execPath, ['dist/scripts/package.js', ...names]);

const isKept = args.includes(KEEP);
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vakt-boards');
let worst = 0;
for (const name of names) {
  const images = isKept ? cache : mkdtempSync(join(tmpdir(), 'vakt-boards-'));
  try {
    const mocha = ['node_modules/mocha/bin/mocha.js', '--reporter', 'spec', 'dist/test/boards/boards.spec.js'];
    const env = {
      ...process.env,
      VAKT_BOARD: name,
      VAKT_BOARD_IMAGES: images,
      VAKT_BOARD_FIGURES: args.includes(FIGURES) ? '1' : '',
    };
    const { status } = spawnSync(process.execPath, mocha, { stdio: ['ignore', 'inherit', 'inherit'], env });
    worst ||= status ?? 1;
  } finally {
    if (!isKept) rmSync(images, { recursive: true, force: true });
  }
}
process.exit(worst);
