import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../../src/core/base/clock.ts';
import { milliseconds, seconds } from '../../src/core/base/duration.ts';
import { temporaryFolder } from '../harness/folders.ts';

const LOG_OUTPUT = new URL('../../src/core/base/log-output.js', import.meta.url).href;

/** Logs 4,000 lines of 100 bytes and then one every 100 ms, and tells its parent of each. */
const LOGS = `
import { LogOutput } from ${JSON.stringify(LOG_OUTPUT)};
const output = new LogOutput({ descriptor: 1 });
let number = 0;
const log = () => output.write(JSON.stringify({ number: number++, filler: 'x'.repeat(80) }) + '\\n');
for (let i = 0; i < 4_000; i += 1) log();
process.send({ logged: number });
setInterval(() => { log(); process.send({ logged: number }); }, 100);
process.on('message', async () => {
  await output.flush();
  process.send({ flushed: number }, () => process.exit(0));
});
`;

describe('the log of an agent whose output nobody reads', function () {
  this.timeout(120_000);
  let folder: string;
  let child: ChildProcess | undefined;

  beforeEach(() => {
    folder = temporaryFolder();
  });
  afterEach(() => {
    child?.kill('SIGKILL');
    child = undefined;
  });

  const start = (stdout: number | Socket) => {
    child = spawn(process.execPath, ['--input-type=module', '-e', LOGS], {
      stdio: ['ignore', stdout, 'inherit', 'ipc'],
    });
    return child;
  };
  const said = async (one: ChildProcess, key: string): Promise<number> => {
    for (;;) {
      const [message] = (await systemClock.within(seconds(20), 'The process that logs', once(one, 'message'))) as [
        Record<string, number>,
      ];
      if (message[key] !== undefined) return message[key];
    }
  };
  /** Says how many lines it has dropped, and every other one is there once, in order. */
  const assertAccounted = (text: string) => {
    const records = text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { number?: number; lines?: number });
    const lost = records.reduce((all, { lines = 0 }) => all + lines, 0);
    const numbers = records.flatMap(({ number }) => number ?? []);
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
    );
    assert.ok(lost > 0, 'nothing was dropped');
    assert.equal(numbers.length + lost, (numbers.at(-1) ?? 0) + 1);
  };

  /** Nobody reads for a second or more, then somebody does. */
  const outlive = async (one: ChildProcess, read: () => string): Promise<void> => {
    await said(one, 'logged');
    for (let asked = 0; asked < 10; asked += 1) await said(one, 'logged'); // never, if it waited for a reader
    let text = '';
    const until = systemClock.monotonic() + seconds(10);
    while (!/dropped[^\n]*\n[^\n]*\n/.test(text) && systemClock.monotonic() < until) {
      text += read();
      await systemClock.sleep(milliseconds(20));
    }
    assertAccounted(text.slice(0, text.lastIndexOf('\n') + 1));
  };

  it('goes on beside a pipe, which others still find as they left it', async () => {
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(fifo, constants.O_WRONLY);
    const part = Buffer.alloc(65_536);
    try {
      await outlive(start(writer), () => {
        try {
          return part.toString('utf8', 0, readSync(reader, part));
        } catch {
          return ''; // nothing is there
        }
      });
      const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${writer}`, 'latin1'))?.[1] ?? '';
      assert.equal(Number.parseInt(flags, 8) & constants.O_NONBLOCK, 0);
    } finally {
      closeSync(writer);
      closeSync(reader);
    }
  });

  it('goes on beside a socket, as to a journal that is stopped, and ends although nobody reads', async () => {
    const server = createServer({ pauseOnConnect: true }).listen(join(folder, 'socket'));
    try {
      await once(server, 'listening');
      const accepted = once(server, 'connection');
      const client = connect(join(folder, 'socket'));
      const [reader] = (await accepted) as [Socket];
      const one = start(client);
      client.unref();
      await said(one, 'logged');
      let text = '';
      one.send('end');
      await said(one, 'flushed'); // never, if it waited for a reader
      await once(one, 'exit');
      client.destroy();
      for await (const chunk of reader) text += chunk;
      assert.ok(text.length > 0);
    } finally {
      server.close();
    }
  });

  it('goes on beside a file', async () => {
    const file = openSync(join(folder, 'log'), 'a');
    const one = start(file);
    closeSync(file);
    await said(one, 'logged');
    one.send('end');
    await said(one, 'flushed');
    await once(one, 'exit');
    const text = readFileSync(join(folder, 'log'), 'utf8');
    assert.ok(text.split('\n').length > 100);
  });
});
