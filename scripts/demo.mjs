// npm run demo [-- --duration PT30S]: from a fresh clone to a running agent that talks to a local hub.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setUp, TOP } from './set-up.mjs';

setUp();
const args = ['--max-semi-space-size=1', join(TOP, 'dist/src/main.js'), 'demo', ...process.argv.slice(2)];
const demo = spawn(process.execPath, args, { stdio: 'inherit' });
// Ctrl-C reaches the whole process group; the demo ends by itself and says what it saw.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => demo.kill(signal));
demo.on('exit', (status) => process.exit(status ?? 1));
