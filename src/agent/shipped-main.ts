import '../core/base/no-inspector.ts'; // must be first, see there
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { CODE_CACHE_FILE, MAKES_CODE_CACHE, readCodeCache, sealCodeCache, tellUse } from '../core/base/code-cache.ts';

/*
 * Main module of the shipped program, `main.js` there: runs `program.js`, which scripts/bundle.ts makes of main.ts, by V8's
 * code cache (commands/make-code-cache.ts) if one is there that fits. Without it, a quarter of a start is compiling.
 */

/** `programDigest` of `program.js`, from scripts/bundle.ts. */
declare const PROGRAM_DIGEST: string;

type Program = (require: NodeJS.Require, url: string) => void;

/** In a function, so that neither the cache nor what is read of it stays in memory. */
function compiled(): Program {
  const at = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const file = at('./program.js');
  const cachedData = readCodeCache(at(`./${CODE_CACHE_FILE}`), PROGRAM_DIGEST, statSync(file).uid);
  const script = new Script(readFileSync(file, 'latin1'), {
    filename: file,
    ...(cachedData === undefined ? {} : { cachedData }),
  });
  tellUse(cachedData !== undefined && script.cachedDataRejected === false);
  const { variable, value, descriptor } = MAKES_CODE_CACHE;
  if (process.env[variable] === value) {
    delete process.env[variable]; // no setting, and not for children
    process.on('exit', () => writeFileSync(descriptor, sealCodeCache(script.createCachedData(), PROGRAM_DIGEST)));
  }
  return script.runInThisContext() as Program;
}

compiled()(createRequire(import.meta.url), import.meta.url);
