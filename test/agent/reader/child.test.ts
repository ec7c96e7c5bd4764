import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { ReaderChild } from '../../../src/agent/reader/child.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { minutes } from '../../../src/core/base/duration.ts';

const PROGRAM = fileURLToPath(new URL('./answers.js', import.meta.url));

describe('ReaderChild', () => {
  for (const stop of ['kill', 'dismiss'] as const) {
    it(`wakes the loop that watches its time limits on ${stop}`, async () => {
      let onExit = () => {};
      const exited = new Promise<void>((resolve) => {
        onExit = resolve;
      });
      const child = new ReaderChild(
        { maxBytes: () => 1_000, frame: () => {}, failed: () => {}, ended: () => onExit() },
        PROGRAM,
      );
      const sleeping = child.alarm.sleep(systemClock, minutes(1));
      child[stop]();
      assert.equal(child.isOver, true);
      await sleeping; // not for a minute, which exceeds the test's time limit
      await exited;
    });
  }
});
