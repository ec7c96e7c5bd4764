import assert from 'node:assert/strict';
import { Defects } from '../../../src/agent/commands/defects.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { runServices, type Service } from '../../../src/core/base/service.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';

describe('Defects', () => {
  let written: string[];
  let stopped: string[];
  let defects: Defects;
  const log = createLog({ level: 'info', destination: { write: (line) => written.push(line) } });

  beforeEach(() => {
    written = [];
    stopped = [];
    defects = new Defects(log);
  });

  const service = (name: string, start: () => Promise<void> = async () => {}): Service => ({
    name,
    start,
    stop: async () => void stopped.push(name),
  });
  const never = new Promise<void>(() => {});
  const planted = new Error('planted');
  const run = (...services: Service[]) => runServices(defects.guard(services), never, log);

  it('ends a start that would hang, and stops what had been started', async () => {
    const running = run(
      service('first'),
      service('second', async () => {
        setImmediate(() => defects.take(planted));
        await never;
      }),
      service('third'),
    );
    await assert.rejects(running, planted);
    assert.deepEqual(stopped, ['second', 'first']);
  });

  it('ends a start for what happens before its first service or in its last one', async () => {
    const early = new Defects(log);
    early.take(planted);
    await assert.rejects(runServices(early.guard([service('only')]), never, log), planted);
    await assert.rejects(run(service('only', async () => defects.take(planted))), planted);
  });

  it('logs what comes after the start, and goes on', async () => {
    let end = () => {};
    const until = new Promise<void>((resolve) => {
      end = resolve;
    });
    const running = runServices(defects.guard([service('only')]), until, log);
    await nextTurn();
    defects.take(planted);
    assert.deepEqual(stopped, []);
    end();
    await running;
    const { level, id, err } = JSON.parse(written[0] ?? '');
    assert.deepEqual([level, id, err.message], ['error', 'INTERNAL', 'planted']);
  });

  it('never throws, not even when the log does', async () => {
    const broken = createLog({
      level: 'info',
      destination: {
        write: () => {
          throw new Error('full');
        },
      },
    });
    const others = new Defects(broken);
    await runServices(others.guard([]), Promise.resolve(), log);
    others.take(planted);
  });
});
