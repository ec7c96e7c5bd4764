import assert from 'node:assert/strict';
import { MAX_PARTS, rowLimits } from '../../../src/agent/pipeline/fit-rows.ts';
import { someSettings } from './memory-queues.ts';

const INPARTS = { inParts: true } as const;
const limits = (
  change: Parameters<typeof someSettings>[0],
  bytesPerDay = Number.POSITIVE_INFINITY,
  collector = INPARTS,
) => rowLimits(collector, someSettings(change), { bytesPerDay, isClockSet: true });

describe('rowLimits', () => {
  it('has one part for a collector that does not declare parts', () => {
    assert.equal(rowLimits({}, someSettings(), { bytesPerDay: 1e9, isClockSet: true }).maxParts, 1);
  });

  it('lets a part fill a message, and leaves space for what surrounds the rows', () => {
    assert.equal(limits({ maxMessageSizeInBytes: 8_192 }).partBytes, 8_192 - 2_048);
    assert.equal(limits({ maxMessageSizeInBytes: 262_144 }).partBytes, 250 * 1024 - 2_048);
    assert.equal(limits({ maxMessageSizeInBytes: 8_192, hubResourceId: 'é'.repeat(10) }).partBytes, 8_192 - 2_068);
  });

  it('limits the number of parts, and what all of them take of the queues', () => {
    assert.equal(limits({ maxMessageSizeInBytes: 8_192 }).maxParts, MAX_PARTS);
    const most = (maxLocalCacheSizeInBytes: number) =>
      limits({ maxMessageSizeInBytes: 204_800, maxLocalCacheSizeInBytes }).maxParts;
    assert.deepEqual([most(8_192), most(300_000), most(2_560_000), most(64 * 1024 * 1024)], [1, 1, 4, 5]);
  });

  it('limits a part, and all parts together, to a quarter of what a day allows for messages', () => {
    assert.deepEqual(limits({ maxMessageSizeInBytes: 8_192 }, 8 * 8_192), {
      partBytes: 8_192 - 2_048,
      maxParts: 2,
      extraBytes: 0,
    });
    assert.deepEqual(limits({ maxMessageSizeInBytes: 204_800 }, 4 * 8_192), {
      partBytes: 8_192 - 2_048,
      maxParts: 1,
      extraBytes: 0,
    });
  });

  it('leaves space in each row for the marks of a clock that is not set', () => {
    const { extraBytes } = rowLimits({}, someSettings(), { bytesPerDay: 1e9, isClockSet: false });
    const mark = { ClockNotSet: 'true', BootId: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f', BootTimeUtc: new Date(0) };
    assert.ok(extraBytes >= JSON.stringify({ ExtraDetails: mark }).length);
  });
});
