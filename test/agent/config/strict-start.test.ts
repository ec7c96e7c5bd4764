import assert from 'node:assert/strict';
import sinon from 'sinon';
import { StrictStart } from '../../../src/agent/config/strict-start.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { seconds } from '../../../src/core/base/duration.ts';
import { AgentError } from '../../../src/core/base/errors.ts';

describe('StrictStart', () => {
  let time: sinon.SinonFakeTimers;
  let judge: (refusal: AgentError | undefined) => void;
  let startBlocker: AgentError | undefined;
  let abort: AbortController;
  let outcome: unknown;

  beforeEach(() => {
    time = sinon.useFakeTimers();
    startBlocker = undefined;
    outcome = 'waits';
    abort = new AbortController();
    const verdict = new Promise<AgentError | undefined>((resolve) => {
      judge = resolve;
    });
    const strict = new StrictStart({
      verdict,
      startBlocker: () => startBlocker,
      clock: systemClock,
      signal: abort.signal,
    });
    strict.start().then(
      () => {
        outcome = 'started';
      },
      (error: unknown) => {
        outcome = error;
      },
    );
  });
  afterEach(async () => {
    await time.tickAsync(0);
    const timers = time.countTimers();
    time.restore();
    assert.equal(timers, 0);
  });

  const failure = () => {
    assert.ok(outcome instanceof AgentError, String(outcome));
    return outcome;
  };

  it('waits until the desired configuration is in force', async () => {
    await time.tickAsync(seconds(59));
    assert.equal(outcome, 'waits');
    judge(undefined);
    await time.tickAsync(0);
    assert.equal(outcome, 'started');
  });

  it('fails with what is wrong with it', async () => {
    const refusal = new AgentError('TWIN_INVALID', 'snapshotFrequency must be …', 'Correct it.');
    judge(refusal);
    await time.tickAsync(0);
    assert.equal(failure(), refusal);
    assert.equal(refusal.exitStatus, 76);
  });

  it('fails when it cannot be read within a minute, and says what is in the way', async () => {
    startBlocker = new AgentError('HUB_UNREACHABLE', 'cannot reach the hub: ECONNREFUSED', 'Wait.');
    await time.tickAsync(seconds(60));
    const { id, message, exitStatus } = failure();
    assert.deepEqual([id, exitStatus], ['TWIN_UNREADABLE', 76]);
    assert.equal(message, 'the desired configuration cannot be read: cannot reach the hub: ECONNREFUSED');
  });

  it('fails even if the cause is unknown', async () => {
    await time.tickAsync(seconds(60));
    assert.match(failure().message, /longer than 60 s/);
  });

  it('does not keep the agent from ending', async () => {
    abort.abort();
    await time.tickAsync(0);
    assert.equal(outcome, 'started');
  });
});
