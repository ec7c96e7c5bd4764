import { readFileSync } from 'node:fs';

/** Processes and threads that were made since the boot, see proc_stat(5). */
export const forks = (): number => Number(/^processes (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]);
