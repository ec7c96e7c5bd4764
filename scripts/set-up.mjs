import { spawnSync } from 'node:child_process';
import { accessSync, constants, cpSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { takeLock } from './machine-lock.mjs';

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

/** Waits until no other run changes `node_modules/`, `dist/` or `build/` of this clone; the returned function ends the wait of others. */
export const lockClone = () =>
  takeLock(`clone ${TOP}`, () => console.log('Waiting for another run, which sets up this clone.'));

/**
 * Sets up a fresh clone: installs dependencies if the lockfile is newer than the installed ones, and brings dist/ up to date
 * without checking types. Changes nothing that is up to date: another run may use it.
 */
export async function setUp() {
  process.chdir(TOP);
  const release = await lockClone();
  if (modified('node_modules/.package-lock.json') < modified('package-lock.json')) mustRun('npm', ['ci', '--no-audit']);
  const { transpile } = await import('./transpile.mjs'); // needs what was just installed
  await transpile();
  copyStatic();
  release();
}

/** Checks the types of all sources, of those that have changed since the last check if there was one. */
export async function checkTypes() {
  const release = await lockClone();
  for (const project of ['.', 'src/emulator/page/browser']) {
    mustRun(process.execPath, ['node_modules/typescript/bin/tsc', '--project', project]);
  }
  release();
}

/** Copies changed static files of the page: dist/ is complete without src/. */
function copyStatic() {
  const [from, to] = ['src/emulator/page/static', 'dist/src/emulator/page/static'];
  mkdirSync(to, { recursive: true });
  const names = readdirSync(from);
  for (const name of names) {
    if (modified(join(to, name)) < modified(join(from, name)))
      cpSync(join(from, name), join(to, name), { recursive: true });
  }
  for (const name of readdirSync(to)) if (!names.includes(name)) rmSync(join(to, name), { recursive: true });
}

const modified = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
