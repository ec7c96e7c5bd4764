import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, minutes } from '../../src/core/base/duration.ts';
import { until } from '../harness/until.ts';

/** Poll interval, and the time that a program may need between its prompt and its read. */
const POLL_INTERVAL = milliseconds(200);
const LIMIT = minutes(1);

/**
 * Runs a program at its own terminal (script(1) of Debian's bsdutils) and answers its prompts. A program that does not exit
 * after the last answer is killed when it prompts again.
 *
 * @param answers prompts, each with its answer. Passwords are typed once the terminal does not echo: earlier input is discarded
 * @returns the program's output
 */
export async function atTerminal(command: readonly string[], ...answers: [string, string][]): Promise<string> {
  // `exec`: login(1) sets its process group, which only the session leader may do at its terminal.
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
    await systemClock.sleep(POLL_INTERVAL);
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

/** Whether the terminal of a program that script(1) runs echoes input. */
function echoes(script: number | undefined): boolean {
  const [child] = readFileSync(`/proc/${script}/task/${script}/children`, 'latin1').split(' ');
  const { stdout } = spawnSync('/usr/bin/stty', ['-F', `/proc/${child}/fd/0`, '-a'], { encoding: 'latin1' });
  return / echo\b/.test(stdout);
}

const quoted = (argument: string) => `'${argument.replaceAll("'", `'\\''`)}'`;
