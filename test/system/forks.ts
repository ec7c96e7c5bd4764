import { readFileSync } from 'node:fs';

/** Number of processes and threads started since boot; see proc_stat(5). */
export const forks = (): number => Number(/^processes (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]);
