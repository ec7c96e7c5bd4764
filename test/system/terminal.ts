import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, minutes } from '../../src/core/base/duration.ts';
import { until } from '../harness/until.ts';

/** How often the terminal is looked at, and how long a program may take to begin to read after it has asked. */
const EVERY = milliseconds(200);
const LIMIT = minutes(1);

/**
 * Runs a program at a terminal of its own (script(1), of Debian's bsdutils), and answers what it asks. It ends by itself,
 * or is ended once it asks for more.
 *
 * @param answers what is waited for, and what is typed then: to who asks for a password, once the terminal does not echo, since
 *   what was typed before that is thrown away
 * @returns what was on the terminal
 */
export async function atTerminal(command: readonly string[], ...answers: [string, string][]): Promise<string> {
  // `exec`: login(1) makes itself a process group, and only the leader of the session may do so at its terminal.
  const script = spawn('/usr/bin/script', ['-qec', `exec ${command.map(quoted).join(' ')}`, '/dev/null'], {
    cwd: '/',
    env: { PATH: '/usr/bin:/bin:/usr/sbin', TERM: 'dumb' },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  let output = '';
  script.stdout.on('data', (part) => {
    output += part;
  });
  script.stdin.on('error', () => {});
  const ended = once(script, 'close');
  const limit = systemClock.monotonic() + LIMIT;
  const [first] = answers;
  let seen = 0;
  for (let next = answers.shift(); next !== undefined && script.exitCode === null; ) {
    const at = output.indexOf(next[0], seen);
    if (systemClock.monotonic() > limit) break;
    await systemClock.sleep(EVERY);
    if (at === -1 || (next[0].includes('assword') && echoes(script.pid))) continue;
    seen = at + next[0].length;
    script.stdin.write(`${next[1]}\n`);
    next = answers.shift();
  }
  const asksAgain = () => first !== undefined && output.includes(first[0], seen);
  const isOver = () => script.exitCode !== null || asksAgain();
  await until(`the end of ${command.join(' ')}`, isOver).catch(() => {});
  script.kill('SIGTERM');
  await ended;
  return output;
}

/** Whether the terminal of a program that script(1) runs shows what is typed. */
function echoes(script: number | undefined): boolean {
  const [child] = readFileSync(`/proc/${script}/task/${script}/children`, 'latin1').split(' ');
  const { stdout } = spawnSync('/usr/bin/stty', ['-F', `/proc/${child}/fd/0`, '-a'], { encoding: 'latin1' });
  return / echo\b/.test(stdout);
}

const quoted = (argument: string) => `'${argument.replaceAll("'", `'\\''`)}'`;
