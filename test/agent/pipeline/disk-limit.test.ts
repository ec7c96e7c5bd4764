import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { processCreate } from '../../../src/agent/collectors/process-create.ts';
import { Aggregator } from '../../../src/agent/pipeline/aggregator.ts';
import { EventQueues } from '../../../src/agent/pipeline/queue.ts';
import type { AppendFile, StoreFiles } from '../../../src/agent/pipeline/store-files.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { QUEUES } from '../../../src/core/contract/event.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { aggregating, liveSettings } from './memory-queues.ts';
import { HandClock } from './queue-fixture.ts';
import { systemError } from './simulated-files.ts';
import { synchronousFiles } from './synchronous-files.ts';

/** The limit for queues and counts together (contract §6). */
const limitOn = (cache: number) => cache + Math.max(2 * 1024 * 1024, 4 * Math.min(1024 * 1024, cache / 2));

/** Sums the sizes of all files after each change of one of them. */
class MeasuredFiles implements StoreFiles {
  readonly #folder: string;
  largest = 0;
  refuses = false;

  constructor(folder: string) {
    this.#folder = folder;
  }

  makeFolder = synchronousFiles.makeFolder;
  list = synchronousFiles.list;
  read = synchronousFiles.read;

  create(path: string): AppendFile {
    this.#check();
    const file = synchronousFiles.create(path);
    return {
      append: (bytes) => {
        this.#check();
        file.append(bytes);
        this.#measure();
      },
      truncate: (size) => file.truncate(size),
      sync: () => file.sync(),
      close: () => file.close(),
    };
  }

  remove(path: string): void {
    this.#check();
    synchronousFiles.remove(path);
  }

  sync = (path: string) => synchronousFiles.sync(path);
  syncNow(): void {}

  #check(): void {
    if (this.refuses) throw systemError('EROFS');
  }

  #measure(): void {
    const entries = readdirSync(this.#folder, { withFileTypes: true, recursive: true });
    const sizes = entries
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => statSync(join(parentPath, name)).size);
    this.largest = Math.max(
      this.largest,
      sizes.reduce((all, size) => all + size, 0),
    );
  }
}

describe('files of queues and counts', () => {
  for (const [cache, character, starts] of [
    [2_560_000, 'x', 240],
    [2_560_000, '\u0001', 60],
    [8_192, 'x', 120],
  ] as const) {
    const title = `${cache} bytes of cache and arguments of ${JSON.stringify(character)}`;
    it(`stay within their limit while a user starts programs with 110-KB arguments: ${title}`, async function () {
      this.timeout(60_000);
      const folder = temporaryFolder();
      const files = new MeasuredFiles(folder);
      const clock = new HandClock();
      const log = createLog({ level: 'silent' });
      const settings = liveSettings({
        maxLocalCacheSizeInBytes: cache,
        priorities: { ProcessCreate: 'Low' },
        ...aggregating(['ProcessCreate']),
      });
      const queues = new EventQueues({ directory: join(folder, 'queues'), settings, clock, log, files });
      const directory = join(folder, 'aggregates');
      const aggregator = new Aggregator({ directory, settings, queues, clock, log, files });
      await queues.start();
      await aggregator.start();
      for (let n = 0; n < starts; n += 1) {
        files.refuses = n >= starts / 3 && n < (2 * starts) / 3;
        const payload = { Executable: '/bin/true', CommandLine: `${n}${character.repeat(110_000)}`, UserId: '1001' };
        aggregator.add(processCreate, 'Low', payload, clock.now());
        if (n % 7 === 0) await nextTurn();
        if (n % 30 === 0) await clock.advance(1_000);
        const shown = QUEUES.reduce((all, queue) => all + queues.waiting(queue).bytes, 0);
        assert.ok(shown <= cache, `the status shows ${shown} bytes in the queues`);
      }
      await aggregator.stop();
      await queues.stop();
      assert.ok(files.largest > 0 && files.largest <= limitOn(cache), `${files.largest} bytes on disk`);
    });
  }
});
