import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import { AccountCopy } from '../../../src/agent/pipeline/account-copy.ts';
import { Aggregator } from '../../../src/agent/pipeline/aggregator.ts';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import { createLog, type LogLine } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { QUEUES } from '../../../src/core/contract/event.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { aggregating, liveSettings } from './memory-queues.ts';
import { assertClosed, contents, event, HandClock } from './queue-fixture.ts';
import { seeded } from './simulated-files.ts';
import { synchronousFiles } from './synchronous-files.ts';

const COUNTS = 150;

describe('AccountCopy', () => {
  let folder: string;
  let lines: LogLine[];

  /** What an agent has of its state directory. */
  async function start() {
    const clock = new HandClock();
    const log = createLog({ level: 'warn', destination: { write: (line) => void lines.push(JSON.parse(line)) } });
    const settings = liveSettings({
      priorities: { ProcessCreate: 'Low' },
      ...aggregating(['ProcessCreate']),
    });
    const counted = () => copy.changed();
    const queues = new EventQueues({
      files: synchronousFiles,
      directory: join(folder, 'queues'),
      settings,
      clock,
      log,
      counted,
    });
    const directory = join(folder, 'aggregates');
    const aggregator = new Aggregator({
      files: synchronousFiles,
      directory,
      settings,
      queues,
      clock,
      log,
      saved: counted,
    });
    const note = AccountCopy.noteIn(join(folder, 'accounts.json'), undefined);
    const copy = new AccountCopy({ note, queues, aggregator, log });
    await queues.start();
    await aggregator.recovery.start();
    await copy.start();
    await aggregator.start();
    const collected = () =>
      QUEUES.reduce((all, queue) => {
        const pending = Object.values(aggregator.pending(queue)).reduce((sum, { occurrences }) => sum + occurrences, 0);
        return all + queues.account(queue).totals.collected + pending;
      }, 0);
    const dropped = () => QUEUES.reduce((all, queue) => all + (queues.account(queue).totals.dropped.corrupt ?? 0), 0);
    const stop = async () => {
      await aggregator.stop();
      await copy.stop();
      await queues.stop();
    };
    return { queues, aggregator, collected, dropped, stop };
  }

  const filesIn = () =>
    readdirSync(folder, { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name));

  /** Runs an agent that collects, and that is killed. @returns the number of collected events */
  async function collect(): Promise<number> {
    const { queues, aggregator, collected } = await start();
    for (let n = 0; n < COUNTS; n += 1) {
      const payload = { Executable: '/bin/ls', CommandLine: `ls ${n % 50}`, UserId: '0' };
      aggregator.add(processCreate, 'Low', payload, new Date(n));
    }
    for (let n = 0; n < 20; n += 1) {
      queues.put('Low', [event(200, 'Login')]);
      queues.put('High', [event(200, 'SecurityAlert')]);
      await nextTurn();
    }
    queues.take('High', 1_000, true);
    queues.settle('High', 'delivered');
    queues.put('High', [event(200, 'SecurityAlert')]);
    await nextTurn();
    await nextTurn();
    return collected();
  }

  beforeEach(() => {
    folder = temporaryFolder();
    lines = [];
  });

  const damages = {
    'is emptied': () => Buffer.alloc(0),
    'is filled with zeros': (bytes: Buffer) => Buffer.alloc(bytes.length),
    'has one flipped bit in its head': (bytes: Buffer) => Buffer.from([(bytes[0] ?? 0) ^ 8, ...bytes.subarray(1)]),
    'has a foreign head': (bytes: Buffer) => Buffer.concat([Buffer.from('NotOurs!'), bytes.subarray(8)]),
  };
  for (const [what, damage] of Object.entries(damages)) {
    for (const part of ['aggregates', 'queues/low', 'queues/high']) {
      it(`counts the missing events as corrupt and names the file when the newest of ${part} ${what}`, async () => {
        const before = await collect();
        const file =
          filesIn()
            .filter((path) => path.includes(part))
            .sort()
            .at(-1) ?? assert.fail();
        writeFileSync(file, damage(readFileSync(file)));
        const { queues, collected, dropped, stop } = await start();
        assert.equal(collected(), before);
        assertClosed(queues);
        if (what === 'has one flipped bit in its head') assert.equal(dropped(), 0, 'everything is read nevertheless');
        else {
          assert.ok(dropped() > 0);
          const isNamed = ({ files }: LogLine & { files?: unknown }) =>
            Array.isArray(files) && files.some((name) => file.endsWith(name));
          assert.ok(
            lines.some((line) => line.level === 'error' && isNamed(line)),
            JSON.stringify(lines),
          );
        }
        await stop();
        const again = await start();
        assert.deepEqual([again.collected(), again.dropped()], [collected(), dropped()]);
        await again.stop();
      });
    }
  }

  it('keeps the account closed and collected from shrinking whichever byte of whichever file is damaged', async function () {
    this.timeout(120_000);
    const before = await collect();
    const saved = new Map(filesIn().map((path) => [path, readFileSync(path)]));
    const random = seeded(41);
    for (let n = 0; n < 120; n += 1) {
      for (const path of filesIn()) rmSync(path);
      for (const [path, bytes] of saved) writeFileSync(path, bytes);
      const [path, bytes] = [...saved][n % saved.size] ?? assert.fail();
      const at = Math.floor(random() ** 2 * bytes.length);
      const damaged = Buffer.from(bytes);
      const kind = n % 3;
      if (kind === 0) damaged[at] = (damaged[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      else if (kind === 1) damaged.fill(0, at, Math.min(damaged.length, at + Math.ceil(random() * 600)));
      writeFileSync(path, kind === 2 ? damaged.subarray(0, at) : damaged);
      const { queues, collected, stop } = await start();
      const where = `${path} damaged at ${at} (${kind})`;
      assert.ok(collected() >= before, `${collected()} of ${before} collected: ${where}`);
      assertClosed(queues);
      for (const queue of QUEUES) contents(queues, queue);
      assertClosed(queues);
      await stop();
    }
  });

  it('ignores a copy that is damaged', async () => {
    const before = await collect();
    const file = join(folder, 'accounts.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"Login":\d+/, '"Login":900'));
    const { collected, dropped, stop } = await start();
    assert.deepEqual([collected(), dropped()], [before, 0]);
    await stop();
  });
});
