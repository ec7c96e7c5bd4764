import { spawnSync } from 'node:child_process';
import { accessSync, constants, cpSync, existsSync, rmSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the repository. */
export const TOP = fileURLToPath(new URL('..', import.meta.url));

/** Runs a program in the repository; if it fails, exits with its status. */
export function mustRun(program, args) {
  const { status, error } = spawnSync(program, args, { cwd: TOP, stdio: ['ignore', 'inherit', 'inherit'] });
  if (error !== undefined) console.error(`${program}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

/**
 * Ends this program with the command that installs what is missing, unless it runs as root and finds all programs.
 *
 * @param packages the Debian package of each program
 */
export function mustHave(packages) {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const missing = Object.keys(packages).filter(
    (program) => !folders.some((folder) => isProgram(join(folder, program))),
  );
  const install = [...new Set(missing.map((program) => packages[program]))].join(' ');
  if (missing.length > 0) {
    console.error(`These programs are missing: ${missing.join(', ')}. On Debian: sudo apt-get install ${install}`);
  }
  const isRoot = process.getuid?.() === 0;
  if (!isRoot) console.error('This test must be run by root.');
  if (missing.length > 0 || !isRoot) process.exit(2);
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Sets up a fresh clone: installs dependencies if the lockfile is newer than the installed ones, and brings dist/ up to date
 * without checking types.
 */
export async function setUp() {
  process.chdir(TOP);
  const changed = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);
  if (changed('node_modules/.package-lock.json') < changed('package-lock.json')) mustRun('npm', ['ci', '--no-audit']);
  const { transpile } = await import('./transpile.mjs'); // needs what was just installed
  await transpile();
  copyStatic();
}

/** Checks the types of all sources, of those that have changed since the last check if there was one. */
export function checkTypes() {
  for (const project of ['.', 'src/emulator/page/browser']) {
    mustRun(process.execPath, ['node_modules/typescript/bin/tsc', '--project', project]);
  }
}

/** Copies the static files of the page: dist/ is complete without src/. */
function copyStatic() {
  rmSync('dist/src/emulator/page/static', { recursive: true, force: true });
  cpSync('src/emulator/page/static', 'dist/src/emulator/page/static', { recursive: true });
}
