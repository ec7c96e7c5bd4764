import assert from 'node:assert/strict';
import { createLog } from '../../../src/core/base/log.ts';
import { RecentLines } from '../../../src/core/base/recent-lines.ts';

describe('RecentLines', () => {
  const recent = () => {
    const lines = new RecentLines();
    return { lines, log: createLog({ level: 'silent', tap: lines }) };
  };

  it('keeps warnings and errors with what is wrong and what to do', () => {
    const { lines, log } = recent();
    log.info('Connected.');
    log.warn({ err: new Error('ENOENT') }, 'Could not look.');
    log.error({ id: 'TWIN_INVALID', remedy: 'Correct it.' }, 'Refused.');
    assert.deepEqual(
      lines.all().map(({ level, message, id, remedy }) => [level, message, id, remedy]),
      [
        ['warn', 'Could not look. (ENOENT)', undefined, undefined],
        ['error', 'Refused.', 'TWIN_INVALID', 'Correct it.'],
      ],
    );
  });

  it('keeps the last fifty, each cut', () => {
    const { lines, log } = recent();
    for (let number = 1; number <= 60; number += 1)
      log.warn({ remedy: 'y'.repeat(600) }, `${number} ${'x'.repeat(600)}`);
    assert.deepEqual([lines.all().length, lines.all()[0]?.message.slice(0, 3)], [50, '11 ']);
    for (const { message, remedy } of lines.all()) assert.deepEqual([message.length, remedy?.length], [500, 500]);
  });
});
