import assert from 'node:assert/strict';
import { verdict } from '../../../src/agent/commands/verdict.ts';
import type { LocalStatus } from '../../../src/agent/status/schema.ts';

const NOW = new Date('2024-05-01T12:00:00.000Z');
const say = (change: object = {}) =>
  verdict(
    {
      state: 'running',
      hub: { state: 'connected' },
      delivery: {
        queued: { highEvents: 1, lowEvents: 20 },
        messagesSent: 5,
        messagesFailed: 1,
        lastSentAt: '2024-05-01T11:58:00.000Z',
      },
      store: { place: 'disk', isNearlyFull: false },
      memory: { residentBytes: 1, budgetBytes: 2, isOver: false },
      next: { highAt: '2024-05-01T12:05:00.123Z', lowAt: '2024-05-01T15:00:00.000Z' },
      routing: 'telemetry',
      ...change,
    } as unknown as LocalStatus,
    NOW,
  );

describe('The verdict of vakt status', () => {
  it('the verdict shows the next messages, their destination and when the last message was accepted', () => {
    assert.equal(
      say(),
      "SENDING; next messages: High at 2024-05-01T12:05:00Z (1 event waits), Low at 2024-05-01T15:00:00Z (20 events wait); they go to your own routes (messageType = 'SecurityEvents'); last one accepted at 2024-05-01T11:58:00.000Z",
    );
  });

  it('the verdict explains why the agent does not send', () => {
    const hub = { state: 'refused', error: 'hub.example refused the credentials of d/m.' };
    assert.match(
      say({ hub, next: undefined }),
      /^NOT SENDING: hub\.example refused the credentials of d\/m; 1 High and 20 Low events wait; /,
    );
    assert.match(say({ hub: { state: 'connecting' }, next: undefined }), /^NOT SENDING: connecting to the hub; /);
    assert.match(say({ state: 'stopping' }), /^STOPPING/);
    const pause = { until: '2024-05-01T14:00:00.000Z', reason: 'x', skipped: 3 };
    assert.match(say({ pause }), /^PAUSED until 2024-05-01T14:00:00\.000Z: Security events are not collected; /);
  });

  it('the verdict reports that the hub has not accepted any message yet', () => {
    const delivery = { queued: { highEvents: 0, lowEvents: 0 }, messagesSent: 0, messagesFailed: 0 };
    assert.match(say({ delivery }), /^SENDING; .*; none accepted since the start$/);
    assert.match(
      say({ delivery: { ...delivery, messagesFailed: 3, lastError: 'no answer' } }),
      /^NOT ACCEPTED: no answer; /,
    );
  });

  const until = '2024-05-02T00:00:00.000Z';
  const delivery = (change: object) => ({
    queued: { highEvents: 5000, lowEvents: 20 },
    messagesSent: 5,
    messagesFailed: 1,
    lastSentAt: '2024-05-01T11:58:00.000Z',
    ...change,
  });
  const held = (queues: string) => ({ queues, until, reason: `Held until ${until}, since the budget is used up: x.` });

  it('the verdict reports that the daily budget holds all messages, with the reason and the end', () => {
    const all = delivery({ held: held('High, Low'), lastError: 'an old failure' });
    assert.match(
      say({ delivery: all, next: { highAt: NOW.toISOString(), lowAt: NOW.toISOString() } }),
      /^HELD \(High, Low\): Held until 2024-05-02T00:00:00\.000Z, since the budget is used up: x; next messages: High held until 2024-05-02T00:00:00Z \(5000 events wait\), Low held until 2024-05-02T00:00:00Z \(20 events wait\); /,
    );
    const pause = { until: '2024-05-01T14:00:00.000Z', reason: 'x', skipped: 3 };
    assert.match(say({ delivery: all, pause }), /^PAUSED until .*; HELD \(High, Low\): /);
  });

  it('the verdict reports that Low is held, and the time of the next High message', () => {
    const low = delivery({ held: held('Low') });
    assert.match(
      say({ delivery: low }),
      /^HELD \(Low\): .*; next messages: High at 2024-05-01T12:05:00Z \(5000 events wait\), Low held until 2024-05-02T00:00:00Z /,
    );
    assert.match(
      say({ delivery: delivery({ held: held('Low'), lastError: '403' }) }),
      /^NOT ACCEPTED: 403; HELD \(Low\): /,
    );
  });

  it('the verdict reports that the hub no longer accepts messages', () => {
    assert.match(
      say({ delivery: delivery({ lastError: '403002: quota\nexceeded.' }) }),
      /^NOT ACCEPTED: 403002: quota exceeded; /,
    );
    const pause = { until: '2024-05-01T14:00:00.000Z', reason: 'x', skipped: 3 };
    assert.match(say({ pause, delivery: delivery({ lastError: '403' }) }), /^PAUSED until .*; NOT ACCEPTED: 403; /);
  });

  it('the verdict does not report SENDING while Low events are dropped for lack of memory', () => {
    const memory = { residentBytes: 3, budgetBytes: 2, isOver: true };
    assert.match(
      say({ memory }),
      /^DROPPING LOW EVENTS: the agent uses more memory than memoryBudgetInMegabytes; next/,
    );
    const low = delivery({ held: held('Low') });
    assert.match(say({ memory, delivery: low }), /^HELD \(Low\): .*; DROPPING LOW EVENTS: /);
  });

  it('the verdict names the user whose Low events wait for a share of the message units', () => {
    const waiting = delivery({ overShare: 'user 2001' });
    assert.match(
      say({ delivery: waiting }),
      /^HELD \(Low events of user 2001\): the share of the message units is used up;/,
    );
  });

  it('the verdict names the destination of messages', () => {
    assert.match(say({ routing: 'security' }), /they go to Microsoft's security service only/);
    assert.match(
      say({ routing: 'both' }),
      /they go to your own routes \(messageType = 'SecurityEvents'\) and Microsoft's/,
    );
    assert.doesNotMatch(say({ routing: undefined }), /they go/); // an older agent
  });

  it('the verdict reports that a message is due now, or that the agent was held up', () => {
    const next = { highAt: NOW.toISOString(), lowAt: '2024-05-01T15:00:00.000Z' };
    assert.match(say({ next }), /High now \(1 event waits\)/);
    const heldUp = { seconds: 241, at: '2024-05-01T11:59:00.000Z', why: 'held up for 241 s (computing)' };
    assert.match(say({ heldUp }), /; the agent was held up for 241 s \(computing\) until 2024-05-01T11:59:00\.000Z$/);
  });

  it('the verdict is one line, even if the error of the hub contains control characters', () => {
    assert.doesNotMatch(say({ hub: { state: 'refused', error: 'a\nb\u001b[2J' } }), /\p{Cc}/u);
  });
});
