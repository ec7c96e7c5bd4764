import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { FileWatch } from '../../../src/agent/hub/file-watch.ts';
import { type Clock, systemClock } from '../../../src/core/base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../../src/core/base/duration.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { withCopies } from '../../harness/copies.ts';

/** Sleeps until released, so that a test controls the number of checks. */
class Pace implements Clock {
  now = systemClock.now;
  monotonic = systemClock.monotonic;
  fromKernel = systemClock.fromKernel;
  within = systemClock.within;
  readonly waits: Duration[] = [];
  #go: () => void = () => {};
  #asleep: () => void = () => {};
  #isAsleep = new Promise<void>((resolve) => {
    this.#asleep = resolve;
  });

  async sleep(wait: Duration, signal?: AbortSignal): Promise<void> {
    this.waits.push(wait);
    this.#asleep();
    await new Promise<void>((resolve) => {
      this.#go = resolve;
      signal?.addEventListener('abort', () => resolve(), { once: true });
      if (signal?.aborted) resolve();
    });
  }

  /** Resolves when the turn that is running has ended. */
  get asleep(): Promise<void> {
    return this.#isAsleep;
  }

  async turn(): Promise<void> {
    await this.#isAsleep;
    this.#isAsleep = new Promise<void>((resolve) => {
      this.#asleep = resolve;
    });
    this.#go();
    await this.#isAsleep;
  }
}

describe('FileWatch', () => {
  let folder: string;
  let file: string;
  let files: string[];
  let pace: Pace;
  let watch: FileWatch;
  let changes: number;
  let stop: AbortController;
  let done: Promise<void>;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'vakt-watch-'));
    file = join(folder, 'module.key');
    writeFileSync(file, 'one', { mode: 0o600 });
    files = [file];
    changes = 0;
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    await done;
    rmSync(folder, { recursive: true });
  });

  const start = async () => {
    pace = new Pace();
    const log = createLog({ level: 'silent' });
    watch = new FileWatch({ files: () => files, changed: () => changes++, clock: pace, log });
    done = watch.run(stop.signal);
    await pace.asleep;
  };
  /** How many changes the next look announces. */
  const seen = async (): Promise<number> => {
    const before = changes;
    await pace.turn();
    return changes - before;
  };

  it('announces nothing at its start, and nothing while nothing changes', async () => {
    await start();
    assert.deepEqual([changes, await seen(), await seen()], [0, 0, 0]);
  });

  it("watches systemd's copy of a file, which the agent uses", async () => {
    await withCopies({ '/etc/vakt/secrets/module.key': file }, async () => {
      files = ['/etc/vakt/secrets/module.key'];
      await start();
      writeFileSync(file, 'two');
      assert.equal(await seen(), 1);
    });
  });

  it('looks often enough for a change to be used within 25 s', async () => {
    await start();
    await seen();
    assert.ok(pace.waits.length >= 2);
    assert.ok(
      pace.waits.every((wait) => wait > 0 && wait <= seconds(15)),
      `${pace.waits}`,
    );
  });

  it('looks at once on request, and not again', async () => {
    await start();
    await seen();
    writeFileSync(file, 'two');
    watch.lookNow();
    while (changes === 0) await nextTurn();
    await pace.asleep;
    assert.equal(await seen(), 0);
    assert.equal(changes, 1);
  });

  it('reports once that a file was written again', async () => {
    await start();
    writeFileSync(file, 'two');
    assert.deepEqual([await seen(), await seen()], [1, 0]);
  });

  it('announces another content of the same length and time', async () => {
    utimesSync(file, 1, 1);
    await start();
    await after(milliseconds(20)); // so that the kernel's change times of the file differ
    writeFileSync(file, 'two');
    utimesSync(file, 1, 1);
    assert.equal(await seen(), 1);
  });

  it('announces that another file was renamed to its name', async () => {
    await start();
    writeFileSync(join(folder, 'next'), 'two', { mode: 0o600 });
    renameSync(join(folder, 'next'), file);
    assert.deepEqual([await seen(), await seen()], [1, 0]);
  });

  it('announces that a link leads to another folder, as when Kubernetes renews a secret', async () => {
    for (const name of ['first', 'second']) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, 'module.key'), name, { mode: 0o600 });
    }
    symlinkSync('first', join(folder, '..data'));
    unlinkSync(file);
    symlinkSync('..data/module.key', file);
    await start();
    symlinkSync('second', join(folder, '..data_tmp'));
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'));
    rmSync(join(folder, 'first'), { recursive: true });
    assert.deepEqual([await seen(), await seen()], [1, 0]);
  });

  it('announces that a file is gone, and that it is back', async () => {
    await start();
    unlinkSync(file);
    assert.deepEqual([await seen(), await seen()], [1, 0]);
    writeFileSync(file, 'one', { mode: 0o600 });
    assert.deepEqual([await seen(), await seen()], [1, 0]);
  });

  it('does not announce what has the same content: touched, written again, or renamed', async () => {
    await start();
    utimesSync(file, new Date(), new Date());
    assert.equal(await seen(), 0);
    writeFileSync(file, 'one');
    assert.equal(await seen(), 0);
    writeFileSync(join(folder, 'next'), 'one', { mode: 0o600 });
    renameSync(join(folder, 'next'), file);
    assert.equal(await seen(), 0);
  });

  it('announces that others may read it, and that they no longer may', async () => {
    await start();
    chmodSync(file, 0o644);
    assert.equal(await seen(), 1);
    chmodSync(file, 0o600);
    assert.equal(await seen(), 1);
  });

  it('does not wait for a writer of a named pipe', async () => {
    await start();
    unlinkSync(file);
    execFileSync('mkfifo', [file]);
    assert.equal(await seen(), 1);
  });

  it('announces several changes of one look as one', async () => {
    files = [file, join(folder, 'secondary.key')];
    await start();
    for (const each of files) writeFileSync(each, 'two', { mode: 0o600 });
    assert.equal(await seen(), 1);
  });

  it('watches a file that comes into its list, from then on', async () => {
    await start();
    files = [file, join(folder, 'ca.pem')];
    assert.equal(await seen(), 0);
    writeFileSync(join(folder, 'ca.pem'), 'one');
    assert.equal(await seen(), 1);
    files = [file];
    assert.equal(await seen(), 0);
  });

  it('continues if its callback throws', async () => {
    await start();
    files = [];
    let calls = 0;
    const log = createLog({ level: 'silent' });
    stop.abort();
    await done;
    stop = new AbortController();
    pace = new Pace();
    watch = new FileWatch({
      files: () => [file],
      changed: () => {
        calls++;
        throw new Error('a defect');
      },
      clock: pace,
      log,
    });
    done = watch.run(stop.signal);
    await pace.asleep;
    writeFileSync(file, 'two');
    await pace.turn(); // it pauses after the error
    await pace.turn();
    writeFileSync(file, 'three');
    await pace.turn();
    assert.equal(calls, 2);
  });
});
