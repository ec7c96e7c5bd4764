import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { withEither } from '../../../src/core/base/either-signal.ts';

describe('withEither', () => {
  let controllers: [AbortController, AbortController];
  beforeEach(() => {
    controllers = [new AbortController(), new AbortController()];
  });
  const signals = () => controllers.map(({ signal }) => signal) as [AbortSignal, AbortSignal];
  const listeners = () => signals().map((signal) => getEventListeners(signal, 'abort').length);

  for (const index of [0, 1] as const) {
    it(`aborts when signal ${index + 1} does, with its reason`, async () => {
      await withEither(signals(), async (either) => {
        assert.equal(either.aborted, false);
        controllers[index].abort('why');
        assert.deepEqual([either.aborted, either.reason], [true, 'why']);
      });
    });

    it(`is aborted at once if signal ${index + 1} is`, async () => {
      controllers[index].abort('why');
      await withEither(signals(), async (either) => assert.deepEqual([either.aborted, either.reason], [true, 'why']));
      assert.deepEqual(listeners(), [0, 0]);
    });
  }

  it('keeps the reason of the first one', async () => {
    for (const controller of controllers) controller.abort(controller);
    await withEither(signals(), async (either) => assert.equal(either.reason, controllers[0]));
  });

  it('leaves no listener, whether the work succeeds or fails', async () => {
    const work = async () => {
      assert.deepEqual(listeners(), [1, 1]);
      return 'done';
    };
    assert.equal(await withEither(signals(), work), 'done');
    assert.deepEqual(listeners(), [0, 0]);
    await assert.rejects(
      withEither(signals(), () => Promise.reject(new Error('failed'))),
      /failed/,
    );
    assert.deepEqual(listeners(), [0, 0]);
  });

  it('ignores what aborts later', async () => {
    const either = await withEither(signals(), async (signal) => signal);
    controllers[0].abort();
    assert.equal(either.aborted, false);
  });
});
