// npm run demo [-- --duration PT30S]: sets up a fresh clone and runs the agent against a local hub.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setUp, TOP } from './set-up.mjs';

await setUp();
const program = join(TOP, 'dist/src/main.js');
const [first] = readFileSync(program, 'utf8').split('\n', 1);
const flags = first.split(' ').filter((word) => word.startsWith('--'));
const demo = spawn(process.execPath, [...flags, program, 'demo', ...process.argv.slice(2)], { stdio: 'inherit' });
// Ctrl-C signals the whole process group; the demo then prints its summary and exits by itself.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => demo.kill(signal));
demo.on('exit', (status) => process.exit(status ?? 1));
