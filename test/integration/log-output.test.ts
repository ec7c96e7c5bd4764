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

/** Logs 4,000 lines of 100 bytes and then one every 100 ms, and sends each to its parent. */
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

describe('The log of an agent whose output is not read', function () {
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
  const messageOf = async (one: ChildProcess, key: string): Promise<number> => {
    for (;;) {
      const [message] = (await systemClock.within(seconds(20), 'The process that logs', once(one, 'message'))) as [
        Record<string, number>,
      ];
      if (message[key] !== undefined) return message[key];
    }
  };
  /** Checks that the number of dropped lines is logged, and that all other lines occur once, in order. */
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

  /** Waits until the agent has logged for a second without a reader. */
  const outlive = async (one: ChildProcess, read: () => string): Promise<void> => {
    await messageOf(one, 'logged');
    for (let count = 0; count < 10; count += 1) await messageOf(one, 'logged'); // never, if it waited for a reader
    let text = '';
    const until = systemClock.monotonic() + seconds(10);
    while (!/dropped[^\n]*\n[^\n]*\n/.test(text) && systemClock.monotonic() < until) {
      text += read();
      await systemClock.sleep(milliseconds(20));
    }
    assertAccounted(text.slice(0, text.lastIndexOf('\n') + 1));
  };

  it('does not block the agent if it is a pipe, and keeps the pipe blocking for other processes', async () => {
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
          return ''; // the pipe is empty
        }
      });
      const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${writer}`, 'latin1'))?.[1] ?? '';
      assert.equal(Number.parseInt(flags, 8) & constants.O_NONBLOCK, 0);
    } finally {
      closeSync(writer);
      closeSync(reader);
    }
  });

  it('does not block the agent or its exit if it is a socket, like that of a stopped journal', async () => {
    const server = createServer({ pauseOnConnect: true }).listen(join(folder, 'socket'));
    try {
      await once(server, 'listening');
      const accepted = once(server, 'connection');
      const client = connect(join(folder, 'socket'));
      const [reader] = (await accepted) as [Socket];
      const one = start(client);
      client.unref();
      await messageOf(one, 'logged');
      let text = '';
      one.send('end');
      await messageOf(one, 'flushed'); // never, if it waited for a reader
      await once(one, 'exit');
      client.destroy();
      for await (const chunk of reader) text += chunk;
      assert.ok(text.length > 0);
    } finally {
      server.close();
    }
  });

  it('does not block the agent if it is a file', async () => {
    const file = openSync(join(folder, 'log'), 'a');
    const one = start(file);
    closeSync(file);
    await messageOf(one, 'logged');
    one.send('end');
    await messageOf(one, 'flushed');
    await once(one, 'exit');
    const text = readFileSync(join(folder, 'log'), 'utf8');
    assert.ok(text.split('\n').length > 100);
  });
});
