import assert from 'node:assert/strict';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { logBlindSpots } from '../../../src/agent/config/blind-spot-log.ts';
import { LiveSettings } from '../../../src/agent/config/twin-configuration.ts';
import { days } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { NO_LIMITS } from '../../../src/core/twin/limits.ts';
import { readTwin } from '../../../src/core/twin/twin.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { nameOf, publishedDialect } from './published.ts';

describe('logBlindSpots', () => {
  it('logs once what exceeds the limits, even at the start, and when it no longer does', () => {
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
