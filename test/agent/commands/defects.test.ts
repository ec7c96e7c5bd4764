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

  it('a defect aborts a start that would hang, and the services already started are stopped', async () => {
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

  it('a defect before the first service or in the last service aborts the start', async () => {
    const early = new Defects(log);
    early.take(planted);
    await assert.rejects(runServices(early.guard([service('only')]), never, log), planted);
    await assert.rejects(run(service('only', async () => defects.take(planted))), planted);
  });

  it('a defect after the start is logged, and the services continue', async () => {
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

  it('a defect is not thrown, even if the log throws', async () => {
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
