import assert from 'node:assert/strict';
import { createLog, type LogLine } from '../../../src/core/base/log.ts';
import { runServices, type Service } from '../../../src/core/base/service.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';

describe('runServices', () => {
  let happened: string[];
  let lines: LogLine[];

  beforeEach(() => {
    happened = [];
    lines = [];
  });

  const log = () => createLog({ level: 'silent', tap: { level: 'debug', accept: (line) => lines.push(line) } });
  const service = (name: string, change: Partial<Service> = {}): Service => ({
    name,
    start: async () => void happened.push(`start ${name}`),
    stop: async () => void happened.push(`stop ${name}`),
    ...change,
  });
  const fails = async () => {
    throw new Error('broken');
  };

  it('runServices starts services in order, waits, and stops them in reverse order', async () => {
    const until = async () => {
      await nextTurn();
      happened.push('until');
    };
    await runServices([service('a'), service('b'), service('c')], until(), log());
    assert.deepEqual(happened, ['start a', 'start b', 'start c', 'until', 'stop c', 'stop b', 'stop a']);
  });

  it('runServices starts a service only after the previous one has started', async () => {
    const slow = service('slow', {
      async start() {
        await nextTurn();
        happened.push('slow works');
      },
    });
    await runServices([slow, service('b')], Promise.resolve(), log());
    assert.deepEqual(happened.slice(0, 2), ['slow works', 'start b']);
  });

  it('runServices aborts if a service fails to start: it stops the started ones and starts no others', async () => {
    const never = new Promise(() => {});
    const run = runServices([service('a'), service('b', { start: fails }), service('c')], never, log());
    await assert.rejects(run, /^Error: broken$/);
    assert.deepEqual(happened, ['start a', 'stop b', 'stop a']);
  });

  it('runServices logs a stop that fails, and stops the other services', async () => {
    await runServices([service('a'), service('b', { stop: fails }), service('c')], Promise.resolve(), log());
    assert.deepEqual(happened.slice(3), ['stop c', 'stop a']);
    assert.deepEqual(
      lines.filter(({ level }) => level === 'error').map(({ message }) => message),
      ['Could not stop. (broken)'],
    );
  });

  it('runServices stops the other services even if a stop throws instead of rejecting', async () => {
    const stop = () => {
      throw new Error('broken');
    };
    await runServices([service('a'), service('b', { stop })], Promise.resolve(), log());
    assert.ok(happened.includes('stop a'));
  });

  it('runServices stops all services if the promise that it waits for rejects', async () => {
    await assert.rejects(runServices([service('a')], fails(), log()), /broken/);
    assert.deepEqual(happened, ['start a', 'stop a']);
  });
});
