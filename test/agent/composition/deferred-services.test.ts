import assert from 'node:assert/strict';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { Later } from '../../../src/agent/composition/deferred-services.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { createLog, type LogLine } from '../../../src/core/base/log.ts';
import type { Service } from '../../../src/core/base/service.ts';

describe('Later', () => {
  let timers: SinonFakeTimers;
  let happened: string[];
  let lines: LogLine[];
  let later: Later;

  beforeEach(() => {
    timers = useFakeTimers();
    happened = [];
    lines = [];
    const log = createLog({ level: 'silent', tap: { level: 'debug', accept: (line) => lines.push(line) } });
    later = new Later({ clock: systemClock, log });
  });
  afterEach(() => timers.restore());

  const inner = (start = async () => void happened.push('start')): Service => ({
    name: 'inner',
    start,
    stop: async () => void happened.push('stop'),
  });

  it('starts a service once it is started itself, and lets those in between start before', async () => {
    const service = later.service(inner());
    await service.start();
    await timers.tickAsync(19_000);
    assert.deepEqual(happened, []);
    await later.start();
    await timers.tickAsync(0);
    assert.deepEqual(happened, ['start']);
    await service.stop();
    assert.deepEqual(happened, ['start', 'stop']);
  });

  it('waits no longer than 20 s', async () => {
    await later.service(inner()).start();
    await timers.tickAsync(20_000);
    assert.deepEqual(happened, ['start']);
  });

  it('starts a service once, regardless of the number of signals', async () => {
    const service = later.service(inner());
    await Promise.all([service.start(), service.start()]);
    await later.start();
    await timers.tickAsync(0);
    assert.deepEqual(happened, ['start']);
  });

  it('does not start what was stopped before, or what another one waits for', async () => {
    const [first, second] = [later.service(inner()), later.service(inner())];
    await Promise.all([first.start(), second.start()]);
    await first.stop();
    assert.deepEqual(happened, ['stop']);
    await second.stop();
    await later.start();
    await timers.tickAsync(0);
    assert.deepEqual(happened, ['stop', 'stop']);
  });

  it('can be stopped before it was started', async () => {
    await later.service(inner()).stop();
    await later.stop();
    assert.deepEqual(happened, ['stop']);
  });

  it('logs a start that fails, as a defect', async () => {
    const fails = async () => {
      throw new Error('broken');
    };
    const service = later.service(inner(fails));
    await service.start();
    await later.start();
    await timers.tickAsync(0);
    assert.deepEqual(
      lines.map(({ level, message }) => [level, /broken/.test(message)]),
      [['error', true]],
    );
    await service.stop();
  });
});
