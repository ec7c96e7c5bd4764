import { createRequire } from 'node:module';

/** The agent's version, from package.json beside the compiled output. */
export const VERSION: string = (createRequire(import.meta.url)('../../package.json') as { version: string }).version;
