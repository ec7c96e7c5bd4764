import assert from 'node:assert/strict';
import { days } from '../../src/base/duration.ts';
import type { LogLine } from '../../src/base/log.ts';
import { collectors } from '../../src/collectors/index.ts';
import { logBlindSpots } from '../../src/config/blind-spot-log.ts';
import { NO_LIMITS } from '../../src/config/limits.ts';
import { LiveSettings } from '../../src/config/settings.ts';
import { readTwin } from '../../src/config/twin.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { nameOf, publishedDialect } from './published.ts';

describe('logBlindSpots', () => {
  it('says once what is beyond the limits, also at the start, and when that ends', () => {
    const reading = readTwin({ eventPriorityLogin: { value: 'Off' } }, publishedDialect());
    assert.ok(reading.ok);
    const settings = new LiveSettings(reading.settings);
    const lines: LogLine[] = [];
    const limits = { ...NO_LIMITS, mayBeOff: new Set(['Diagnostic']), longestMessageFrequency: days(1) };
    const levels = () => lines.map(({ level }) => level);
    logBlindSpots({ settings, limits, collectors, nameOf, log: quietLog(lines) });
    settings.replace({ ...settings.current() });
    assert.deepEqual(levels(), ['warn']);
    settings.replace({ ...settings.current(), lowPriorityMessageFrequency: days(2) });
    assert.deepEqual(levels(), ['warn', 'warn']);
    const priorities = { ...settings.current().priorities, Login: 'High' } as const;
    settings.replace({ ...settings.current(), priorities, lowPriorityMessageFrequency: days(1) });
    assert.deepEqual(levels(), ['warn', 'warn', 'info']);
  });
});
