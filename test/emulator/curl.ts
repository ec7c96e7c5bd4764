import { execFile } from 'node:child_process';
import type { Context } from 'mocha';
import { require } from '../harness/require.ts';

const MARK = '\n--status--';

/** Asks a service by curl, over a Unix socket. The answer's body is JSON; `exit` is curl's status without an answer. */
export function curl(
  socketPath: string,
  path: string,
  body?: unknown,
): Promise<{
  readonly exit: number;
  readonly status: number;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it
  readonly body: any;
}> {
  const post =
    body === undefined ? [] : ['-X', 'POST', '-H', 'content-type: application/json', '-d', JSON.stringify(body)];
  const args = ['-s', '--unix-socket', socketPath, '-w', `${MARK}%{http_code}`, ...post, `http://service.sock${path}`];
  return new Promise((resolve) => {
    execFile('curl', args, (error, output) => {
      const [text = '', status] = output.split(MARK);
      const exit = Number(error?.code ?? 0);
      resolve({ exit, status: Number(status), text, body: /^[{[]/.test(text) ? JSON.parse(text) : undefined });
    });
  });
}

/** Skips tests where curl is not installed. */
export async function requireCurl(context: Context): Promise<void> {
  const missing = await new Promise<boolean>((resolve) =>
    execFile('curl', ['--version'], (error) => resolve(error !== null)),
  );
  require(context, missing ? 'curl is not installed' : undefined);
}
