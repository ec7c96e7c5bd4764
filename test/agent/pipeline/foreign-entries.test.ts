import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BackgroundFiles } from '../../../src/agent/pipeline/background-files.ts';
import { fileName, freeNumber } from '../../../src/agent/pipeline/log-folder.ts';
import { BackgroundWriter } from '../../../src/agent/state/background-writer.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes } from '../../../src/core/base/duration.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { contents, event, fixture } from './queue-fixture.ts';

const FOREIGN: Readonly<Record<string, (path: string) => void>> = {
  'a file': (path) => writeFileSync(path, 'foreign'),
  'a folder': (path) => mkdirSync(path),
  'a link to nothing': (path) => symlinkSync('/nonexistent', path),
  'a named pipe': (path) => void execFileSync('mkfifo', [path]),
};

describe('Queues with a foreign entry that has the number of the next segment', () => {
  let folder: string;
  beforeEach(() => {
    folder = temporaryFolder();
    mkdirSync(join(folder, 'high'));
  });

  for (const [what, put] of Object.entries(FOREIGN)) {
    it(`skip the number at the start (${what})`, async () => {
      for (const number of [0, 1, 2 ** 46 + 1, Number.MAX_SAFE_INTEGER]) put(join(folder, 'high', fileName(number)));
      const { queues } = fixture(undefined, folder);
      await queues.start();
      assert.equal(queues.put('High', [event(1)]), 1);
      assert.equal(queues.store().place, 'disk');
      await queues.stop();
      assert.ok(existsSync(join(folder, 'high', fileName(2))));
      const { queues: next } = fixture(undefined, folder);
      await next.start();
      assert.equal(contents(next, 'High').length, 1);
      await next.stop();
    });

    it(`set it aside while the agent runs (${what})`, async () => {
      const writer = new BackgroundWriter({ clock: systemClock, maxBytes: 1_000_000 });
      const files = new BackgroundFiles(writer);
      const { queues } = fixture(files, folder);
      await queues.start();
      await files.settled();
      const used = readdirSync(join(folder, 'high')).filter((name) => name.endsWith('.log'));
      for (let number = used.length; number < used.length + 40; number += 1)
        put(join(folder, 'high', fileName(number)));
      for (let n = 0; n < 20; n += 1) queues.put('High', [event(30_000)]);
      await writer.settle(minutes(1));
      assert.equal(queues.store().place, 'disk');
      assert.equal(contents(queues, 'High').length, 20);
      assert.ok(readdirSync(join(folder, 'high')).some((name) => name.endsWith('.set-aside')));
      await queues.stop();
      const { queues: next } = fixture(undefined, folder);
      await next.start();
      assert.equal(contents(next, 'High').length, 20);
      await next.stop();
    });
  }

  it('keep low numbers beside one of the highest numbers', () => {
    assert.equal(freeNumber([3], ['000fffffffffffff.log', fileName(7), 'readme']), 8);
    assert.equal(freeNumber([], [fileName(2 ** 46 + 1)]), 0);
  });
});
