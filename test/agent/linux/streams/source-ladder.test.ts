import assert from 'node:assert/strict';
import { pino } from 'pino';
import sinon from 'sinon';
import { SourceLadder } from '../../../../src/agent/linux/streams/source-ladder.ts';
import { SourceSupervisor } from '../../../../src/agent/linux/streams/supervisor.ts';
import { systemClock } from '../../../../src/core/base/clock.ts';
import { AgentError } from '../../../../src/core/base/errors.ts';
import type { SourceStatus } from '../../../../src/core/contract/sources.ts';

const taken = new AgentError('AUDIT_UNAVAILABLE', 'Process 7 has it.', 'Stop it.');

const BEST: SourceStatus = { state: 'on', source: 'auditUnicast' };

describe('SourceLadder with its supervisor', () => {
  let clock: sinon.SinonFakeTimers;
  let feeds: Set<'audit' | 'starts'>;
  let audit: { open: sinon.SinonStub; refresh: sinon.SinonStub; close: sinon.SinonStub };
  let polling: { open: sinon.SinonStub; close: sinon.SinonStub };
  let lose: (reason: AgentError) => void;
  let reported: SourceStatus[];
  let ladder: SourceLadder;
  let supervisor: SourceSupervisor;

  beforeEach(() => {
    clock = sinon.useFakeTimers();
    feeds = new Set(['audit', 'starts']);
    audit = { open: sinon.stub().resolves(), refresh: sinon.stub().resolves(), close: sinon.stub().resolves() };
    polling = { open: sinon.stub(), close: sinon.stub().resolves() };
    reported = [];
    const log = pino({ level: 'silent' });
    supervisor = new SourceSupervisor({
      clock: systemClock,
      log,
      retry: () => ladder.improve(),
      status: () => ladder.wantedStatus(),
      changed: () => reported.push(ladder.status('starts')),
    });
    ladder = new SourceLadder(
      {
        supervisor,
        wanted: () => ({ rules: [{ syscalls: ['execve'] }], feeds }),
        audit: { accept: () => {}, lost: () => {} },
        auditLog: { accept: () => {}, lost: () => {} },
        sink: { accept: () => {}, drop: () => {} },
        clock: systemClock,
        log,
        hostRoot: '/',
        commandLines: { read: async () => [] },
      },
      [
        {
          name: 'audit',
          feeds: 'audit',
          make: ({ onLost }) => {
            lose = onLost;
            return { ...audit, refreshRules: audit.refresh, status: () => BEST };
          },
        },
        { name: 'procPolling', feeds: 'starts', make: () => polling },
      ],
    );
  });

  afterEach(async () => {
    await stop();
    clock.restore();
  });

  const refresh = () => supervisor.run(() => ladder.refresh());

  async function start(): Promise<void> {
    supervisor.start();
    await refresh();
  }

  async function stop(): Promise<void> {
    await supervisor.stop();
    await supervisor.run(() => ladder.close());
  }

  const SECOND = { state: 'degraded', source: 'procPolling', reason: 'Process 7 has it. Stop it.' };

  it('opens the best source', async () => {
    await start();
    assert.deepEqual(ladder.status('starts'), BEST);
    assert.equal(polling.open.callCount, 0);
    assert.deepEqual(reported, [BEST]);
  });

  it('opens the next source if the best is unavailable, and reports why', async () => {
    audit.open.rejects(taken);
    await start();
    assert.deepEqual(ladder.status('starts'), SECOND);
  });

  describe('with a source that was connected before the start', () => {
    let connect: sinon.SinonStub;
    let begin: sinon.SinonStub;

    beforeEach(() => {
      connect = sinon.stub().resolves();
      begin = sinon.stub();
      Object.assign(audit, { connect, begin });
    });

    it('reads it from the start on', async () => {
      await ladder.connect();
      assert.deepEqual([connect.callCount, begin.callCount, ladder.feed], [1, 0, undefined]);
      await start();
      assert.deepEqual([connect.callCount, begin.callCount, ladder.feed], [2, 1, 'audit']);
      await ladder.disconnect();
      assert.equal(audit.close.callCount, 0);
    });

    it('closes it and opens the next one if the start cannot set its rules', async () => {
      await ladder.connect();
      connect.rejects(taken);
      await start();
      assert.deepEqual(ladder.status('starts'), SECOND);
      assert.deepEqual([begin.callCount, audit.close.callCount], [0, 1]);
    });

    it('connects it at the start if that failed before', async () => {
      connect.onFirstCall().rejects(taken);
      await ladder.connect();
      await start();
      assert.deepEqual(ladder.status('starts'), BEST);
      assert.deepEqual([connect.callCount, begin.callCount], [2, 1]);
    });

    it('connects no unrequested source, and closes a source that the start does not need', async () => {
      feeds.delete('audit');
      await ladder.connect();
      assert.equal(connect.callCount, 0);
      feeds.add('audit');
      await ladder.connect();
      feeds.delete('audit');
      await start();
      assert.deepEqual([begin.callCount, audit.close.callCount, ladder.feed], [0, 1, 'starts']);
    });

    it('closes it if the start is cancelled', async () => {
      await ladder.connect();
      await ladder.disconnect();
      await ladder.disconnect();
      assert.equal(audit.close.callCount, 1);
    });
  });

  it('returns to a better source within a minute', async () => {
    audit.open.rejects(taken);
    await start();
    audit.open.resolves();
    await clock.tickAsync(59_000);
    assert.deepEqual(ladder.status('starts'), SECOND);
    await clock.tickAsync(1_000);
    assert.deepEqual(ladder.status('starts'), BEST);
    assert.equal(polling.close.callCount, 1);
    assert.deepEqual(reported, [SECOND, BEST]);
  });

  it('leaves audit rules to the next source that has set them', async () => {
    audit.open.rejects(taken);
    await start();
    audit.open.resolves();
    await clock.tickAsync(60_000);
    assert.deepEqual(polling.close.args, [[{ keepsRules: true }]]);
    await stop();
    assert.deepEqual(audit.close.args, [[{ willResume: true }]]);
  });

  it('opens a lesser source when its source is lost, and closes the lost one', async () => {
    await start();
    audit.open.rejects(taken);
    lose(new AgentError('AUDIT_UNAVAILABLE', 'Gone.', 'Find out.'));
    await clock.tickAsync(0);
    assert.deepEqual(ladder.status('starts'), SECOND);
    assert.equal(audit.close.callCount, 1);
  });

  it('ignores a loss that is reported after the source was closed', async () => {
    await start();
    const late = lose;
    feeds.clear();
    await refresh();
    late(taken);
    await clock.tickAsync(0);
    assert.deepEqual(ladder.status('starts'), { state: 'off' });
  });

  it('is off when no stream is requested, and on again with a request', async () => {
    feeds.clear();
    await start();
    assert.deepEqual(ladder.status('starts'), { state: 'off' });
    await clock.tickAsync(120_000);
    assert.equal(audit.open.callCount, 0);
    feeds.add('audit');
    await refresh();
    assert.deepEqual(ladder.status('audit'), BEST);
    feeds.clear();
    await refresh();
    assert.equal(audit.close.callCount, 1);
  });

  it('passes a change of the rules to the source', async () => {
    await start();
    await refresh();
    assert.equal(audit.refresh.callCount, 1);
    audit.refresh.rejects(taken);
    audit.open.rejects(taken);
    await refresh();
    assert.deepEqual(ladder.status('starts'), SECOND);
  });

  it('opens no lesser source for streams that need audit itself', async () => {
    feeds.delete('starts');
    audit.open.rejects(taken);
    await start();
    assert.equal(polling.open.callCount, 0);
    assert.deepEqual(ladder.status('audit'), { state: 'unavailable', reason: 'Process 7 has it. Stop it.' });
  });

  it('reports to streams that need audit itself that a lesser source is not enough', async () => {
    audit.open.rejects(taken);
    await start();
    assert.deepEqual(ladder.status('audit'), { state: 'unavailable', reason: 'Process 7 has it. Stop it.' });
    feeds.delete('starts');
    await refresh();
    assert.equal(polling.close.callCount, 1);
  });

  it('reports when no source is available', async () => {
    audit.open.rejects(taken);
    polling.open.throws(new Error('no /proc'));
    await start();
    assert.deepEqual(ladder.status('starts'), { state: 'unavailable', reason: 'Process 7 has it. Stop it.' });
  });

  it('closes the open source, for any number of stops', async () => {
    await stop();
    await start();
    await stop();
    await stop();
    assert.equal(audit.close.callCount, 1);
    assert.deepEqual(ladder.status('starts'), { state: 'off' });
  });
});
