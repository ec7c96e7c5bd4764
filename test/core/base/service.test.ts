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

  it('starts in order, waits, and stops in reverse', async () => {
    const until = async () => {
      await nextTurn();
      happened.push('until');
    };
    await runServices([service('a'), service('b'), service('c')], until(), log());
    assert.deepEqual(happened, ['start a', 'start b', 'start c', 'until', 'stop c', 'stop b', 'stop a']);
  });

  it('starts one only when the one before works', async () => {
    const slow = service('slow', {
      async start() {
        await nextTurn();
        happened.push('slow works');
      },
    });
    await runServices([slow, service('b')], Promise.resolve(), log());
    assert.deepEqual(happened.slice(0, 2), ['slow works', 'start b']);
  });

  it('ends the run at a start that fails: what was started stops, what was not never starts', async () => {
    const never = new Promise(() => {});
    const run = runServices([service('a'), service('b', { start: fails }), service('c')], never, log());
    await assert.rejects(run, /^Error: broken$/);
    assert.deepEqual(happened, ['start a', 'stop b', 'stop a']);
  });

  it('logs a stop that fails, and stops the rest', async () => {
    await runServices([service('a'), service('b', { stop: fails }), service('c')], Promise.resolve(), log());
    assert.deepEqual(happened.slice(3), ['stop c', 'stop a']);
    assert.deepEqual(
      lines.filter(({ level }) => level === 'error').map(({ message }) => message),
      ['Could not stop. (broken)'],
    );
  });

  it('stops the rest also after a stop that throws instead of rejecting', async () => {
    const stop = () => {
      throw new Error('broken');
    };
    await runServices([service('a'), service('b', { stop })], Promise.resolve(), log());
    assert.ok(happened.includes('stop a'));
  });

  it('stops everything when what it waits for fails', async () => {
    await assert.rejects(runServices([service('a')], fails(), log()), /broken/);
    assert.deepEqual(happened, ['start a', 'stop a']);
  });
});
