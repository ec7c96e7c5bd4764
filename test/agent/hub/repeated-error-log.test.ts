import assert from 'node:assert/strict';
import sinon from 'sinon';
import { RepeatedErrorLog } from '../../../src/agent/hub/repeated-error-log.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, minutes } from '../../../src/core/base/duration.ts';
import { AgentError, type FailureId } from '../../../src/core/base/errors.ts';
import { capturedLog } from './support.ts';

describe('RepeatedErrorLog', () => {
  let time: sinon.SinonFakeTimers;
  beforeEach(() => {
    time = sinon.useFakeTimers();
  });
  afterEach(() => time.restore());

  const setUp = () => {
    const log = capturedLog();
    const errors = new RepeatedErrorLog(systemClock, log.log);
    const report = (id: FailureId, remedy = 'what to do') => errors.log(new AgentError(id, 'what happened', remedy));
    return { log, errors, report, ids: () => log.messages().map(({ id }) => id) };
  };

  it('logs the line that runbooks search for, with id and remedy', () => {
    const { report, log } = setUp();
    report('CREDENTIAL_REFUSED');
    const [line] = log.messages();
    assert.equal(line?.level, 'error');
    assert.equal(
      line?.msg,
      'vakt encountered an error! Error in: Authentication, reason: Unauthorized, extra details: what happened',
    );
    assert.deepEqual([line?.id, line?.remedy], ['CREDENTIAL_REFUSED', 'what to do']);
  });

  it('logs the same once in an hour, and every change', async () => {
    const { report, ids } = setUp();
    for (let minute = 0; minute < 120; minute++) {
      report('HUB_UNREACHABLE');
      await time.tickAsync(minutes(1));
    }
    assert.deepEqual(ids(), ['HUB_UNREACHABLE', 'HUB_UNREACHABLE']);
    report('TLS_FAILED');
    report('HUB_UNREACHABLE');
    assert.equal(ids().length, 4);
  });

  it('does not log two errors that alternate each time', async () => {
    const { report, ids } = setUp();
    for (let minute = 0; minute < 59; minute++) {
      report(minute % 2 === 0 ? 'HUB_UNREACHABLE' : 'HUB_SILENT');
      await time.tickAsync(minutes(1));
    }
    assert.ok(ids().length >= 4 && ids().length <= 12, `${ids()}`);
  });

  it('logs an error with the same id and another remedy: first the connection is lost, then the hub is not reached', async () => {
    const { report, log } = setUp();
    report('HUB_UNREACHABLE', 'see who else connects');
    for (let minute = 0; minute < 60; minute++) {
      report('HUB_UNREACHABLE', 'check port 8883');
      report('HUB_UNREACHABLE', 'check port 443');
      await time.tickAsync(minutes(1));
    }
    const remedies = log.messages().map(({ remedy }) => remedy);
    assert.deepEqual(remedies, ['see who else connects', 'check port 8883', 'check port 443']);
  });

  it('treats remedies that differ only in the time as equal', async () => {
    const { report, ids } = setUp();
    for (let minute = 0; minute < 59; minute++) {
      report('CREDENTIAL_REFUSED', `Check the clock (now ${new Date().toISOString()}).`);
      await time.tickAsync(minutes(1));
    }
    assert.equal(ids().length, 1);
  });

  it('logs no more lines, and keeps no more in memory, when each remedy names something else', async () => {
    const { report, ids } = setUp();
    for (let minute = 0; minute < 180; minute++) {
      report('PROXY_REFUSED', `Ask ${minute}.`);
      await time.tickAsync(minutes(1));
    }
    assert.ok(ids().length >= 6 && ids().length <= 24, `${ids().length} lines`);
  });

  it('logs the same error again after a reset', async () => {
    const { report, errors, ids } = setUp();
    report('HUB_UNREACHABLE');
    errors.reset();
    report('HUB_UNREACHABLE');
    await time.tickAsync(hours(0));
    assert.equal(ids().length, 2);
  });
});
