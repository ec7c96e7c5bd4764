import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { systemClock } from '../../src/base/clock.ts';
import { milliseconds, seconds } from '../../src/base/duration.ts';

/** How long a program may take to put its terminal as it wants it after it has asked. */
const SETTLED = milliseconds(200);
const LIMIT = seconds(15);

/**
 * Runs a program at a terminal of its own (script(1), of Debian's bsdutils), and answers what it asks. It ends by itself,
 * or is ended once it asks for more.
 *
 * @param answers what is waited for, and what is typed then
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
  for (let [seen, next] = [0, answers.shift()]; next !== undefined && script.exitCode === null; ) {
    const at = output.indexOf(next[0], seen);
    if (systemClock.monotonic() > limit) break;
    await systemClock.sleep(SETTLED);
    if (at === -1) continue;
    seen = at + next[0].length;
    script.stdin.write(`${next[1]}\n`);
    next = answers.shift();
  }
  await systemClock.within(seconds(6), command.join(' '), ended).catch(() => script.kill('SIGTERM'));
  await ended;
  return output;
}

const quoted = (argument: string) => `'${argument.replaceAll("'", `'\\''`)}'`;
