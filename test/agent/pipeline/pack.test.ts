import assert from 'node:assert/strict';
import fc from 'fast-check';
import sinon from 'sinon';
import { type Pack, pack } from '../../../src/agent/pipeline/pack.ts';
import type { QueueName } from '../../../src/core/contract/event.ts';
import { sizeOf } from '../../../src/core/contract/message.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { eventOf, MemoryQueues } from './memory-queues.ts';
import { assertClosed, contents, fixture } from './queue-fixture.ts';
import { SimulatedFiles, seeded } from './simulated-files.ts';

const SENDER = { version: '0.1.0', id: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f' };
const SMALL = { maxMessageSizeInBytes: 8192, hubResourceId: '' };

describe('pack', () => {
  let queues: MemoryQueues;

  beforeEach(() => {
    queues = new MemoryQueues();
  });

  const packed = (first: QueueName, limits: Parameters<typeof pack>[3] = SMALL, from = queues): Pack => {
    const result = pack(from, first, SENDER, limits);
    if (result === 'empty' || 'tooLarge' in result) return assert.fail(String(result));
    return result;
  };
  const put = (queue: QueueName, ...sizes: number[]) => {
    const events = sizes.map((size) => eventOf(size));
    queues.put(queue, events);
    return events.map(({ json }) => JSON.parse(json));
  };
  const from = (result: Pack) => result.shares.map(({ queue }) => queue);
  const bodyOf = (result: Pack) => JSON.parse(result.message('security').body);

  it('puts events, oldest first, into the envelope of the contract', () => {
    const events = put('Low', 200, 300, 400);
    const result = packed('Low');
    assert.deepEqual(bodyOf(result), {
      AgentVersion: '0.1.0',
      AgentId: SENDER.id,
      MessageSchemaVersion: '1.0',
      Events: events,
    });
    assert.deepEqual([result.eventCount, from(result), result.priority], [3, ['Low'], 'Low']);
  });

  it('reports an empty queue', () => {
    put('High', 200);
    assert.equal(pack(queues, 'Low', SENDER, SMALL), 'empty');
  });

  it('packs only events that fit, and leaves the rest', () => {
    const events = put('Low', 3_000, 3_000, 3_000);
    assert.deepEqual(bodyOf(packed('Low')).Events, events.slice(0, 2));
    queues.settle('Low', 'delivered');
    assert.deepEqual(bodyOf(packed('Low')).Events, events.slice(2));
  });

  it('fills up from the other queue, as far as there is room', () => {
    const high = put('High', 2_000);
    const low = put('Low', 2_000, 2_000, 4_000);
    const result = packed('High');
    assert.deepEqual(bodyOf(result).Events, [...high, ...low.slice(0, 2)]);
    assert.deepEqual([result.eventCount, from(result)], [3, ['High', 'Low']]);
    queues.settle('High', 'delivered');
    queues.settle('Low', 'delivered');
    assert.deepEqual([queues.waiting('High').events, queues.waiting('Low').events], [0, 1]);
  });

  describe('filling up with Low', () => {
    const filled = (high: number[], low: number[]) => {
      put('High', ...high);
      put('Low', ...low);
      const result = packed('High', { maxMessageSizeInBytes: 200_000, hubResourceId: '' });
      return { taken: result.eventCount - high.length, size: sizeOf(result.message('security')) };
    };

    it('fills the message up to the end of a 4 KB block', () => {
      const { taken, size } = filled([600], Array(50).fill(1_000));
      assert.equal(taken, 7);
      assert.ok(size > 7_192 && size <= 8_192, String(size));
    });

    it('fills the block that it ends in', () => {
      const { taken, size } = filled([600], [6_000, 500, 500, 500, 500]);
      assert.equal(taken, 3);
      assert.ok(size > 7_000 && size <= 8_192, String(size));
    });

    it('adds nothing that the hub would charge for to a message of several blocks', () => {
      assert.equal(filled([5_000], [3_000, 100]).taken, 0);
      queues = new MemoryQueues();
      assert.equal(filled([5_000], [1_000, 1_000, 1_000]).taken, 2);
    });

    it('takes all there is when it is little', () => {
      assert.equal(filled([600], [500, 500]).taken, 2);
    });
  });

  it('fills up with all of High that fits', () => {
    put('Low', 600);
    put('High', ...Array(20).fill(1_000));
    assert.equal(packed('Low', { maxMessageSizeInBytes: 200_000, hubResourceId: '' }).eventCount, 21);
  });

  it('takes nothing from the other queue when nothing fits', () => {
    put('High', 7_000);
    put('Low', 7_000);
    assert.deepEqual(from(packed('High')), ['High']);
    assert.throws(() => queues.settle('Low', 'kept'), 'events of Low are reserved');
  });

  for (const [what, first, high, low, expected] of [
    ['High events', 'High', [200], [], 'High'],
    ['High events filled up with Low', 'High', [200], [200], 'High'],
    ['Low events filled up with High', 'Low', [200], [200], 'High'],
    ['Low events with a High one that does not fit', 'Low', [5_000], [5_000], 'Low'],
    ['Low events', 'Low', [], [200], 'Low'],
  ] as const) {
    it(`marks ${what} as ${expected}`, () => {
      put('High', ...high);
      put('Low', ...low);
      const result = packed(first);
      assert.equal(result.priority, expected);
      assert.equal(result.message('telemetry').priority, expected);
    });
  }

  it('shortens an event that alone is too large', () => {
    put('Low', 100_000, 200);
    const result = packed('Low');
    assert.equal(result.eventCount, 1);
    const [event] = bodyOf(result).Events;
    assert.equal(event.Payload[0].ExtraDetails.ShortenedField, 'Message');
    assert.ok(sizeOf(result.message('security')) <= 8192);
  });

  it('adds events after a shortened one only if there is space', () => {
    put('Low', 100_000);
    put('High', 2_000);
    const result = packed('Low');
    assert.ok(sizeOf(result.message('security')) <= 8192);
  });

  it('does not encode events to learn their sizes: the store knows them', () => {
    const text = 'Grüße €'.repeat(50);
    const events = Array.from({ length: 10 }, (_, n) => ({ ...eventOf(200), json: JSON.stringify({ Id: n, text }) }));
    queues.put('High', events);
    queues.put('Low', events);
    const limits = { maxMessageSizeInBytes: 200_000, hubResourceId: '' };
    const counts = sinon.spy(Buffer, 'byteLength');
    try {
      const result = packed('High', limits);
      const message = result.message('telemetry');
      assert.ok(sizeOf(message) > 10 * text.length);
      assert.equal(counts.args.filter(([counted]) => String(counted).includes(text)).length, 0);
      assert.ok(result.eventCount > 10);
      assert.equal(message.bodyBytes, Buffer.from(message.body).length);
    } finally {
      counts.restore();
    }
  });

  it('reports an event that cannot fit, and reserves only that one', () => {
    queues.put('Low', [
      { name: 'Odd', elements: 1, occurrences: 1, json: `{"Payload":[{"A":[${'7,'.repeat(9_000)}7]}]}` },
    ]);
    put('Low', 200);
    const result = pack(queues, 'Low', SENDER, SMALL);
    assert.ok(result !== 'empty' && 'tooLarge' in result && result.tooLarge.positions.has(0));
    queues.settle('Low', 'tooLarge');
    assert.deepEqual(queues.settled, [['Low', 'tooLarge', 1]]);
  });

  it('finds the selected events of a long queue, reads little for it, and nothing where there is none', async () => {
    const files = new SimulatedFiles(seeded(1));
    const { queues: onDisk } = fixture(files, '/q', 64_000_000);
    await onDisk.start();
    const reading = sinon.spy(files, 'read');
    const bytesRead = () => reading.args.reduce((all, [, , into]) => all + into.length, 0);
    const otherEvents = Array.from({ length: 30_000 }, () => eventOf(300));
    for (let at = 0; at < otherEvents.length; at += 5_000) {
      onDisk.put('High', otherEvents.slice(at, at + 5_000));
      if (at === 10_000) onDisk.put('High', [eventOf(400, 'SecurityAlert'), eventOf(400, 'Diagnostic')]);
    }
    const only = new Set(['SecurityAlert', 'Diagnostic']);
    const urgent = () => pack(onDisk, 'High', SENDER, SMALL, { leftOut: { High: new Map(), Low: new Map() }, only });
    const found = urgent();
    if (found === 'empty' || 'tooLarge' in found) return assert.fail(String(found));
    assert.deepEqual(
      found.shares.map(({ events }) => events.map(({ name }) => name)),
      [['SecurityAlert', 'Diagnostic']],
    );
    assert.ok(bytesRead() < 2_200_000, `${bytesRead()} bytes`);
    onDisk.settle('High', 'delivered', found.shares[0]?.positions);
    reading.resetHistory();
    assert.equal(urgent(), 'empty');
    assert.equal(bytesRead(), 0);
    assertClosed(onDisk);
    assert.ok(contents(onDisk, 'High').every(({ json }, n) => json === otherEvents[n]?.json));
    assert.equal(onDisk.waiting('High').events, otherEvents.length);
    await onDisk.stop();
  });

  describe('the message id', () => {
    const idOf = (setUp: (queues: MemoryQueues) => void, marking: 'security' | 'telemetry' = 'security') => {
      const some = new MemoryQueues();
      setUp(some);
      return packed('Low', SMALL, some).message(marking).id;
    };
    const [a, b] = [eventOf(200), eventOf(200)];

    it('is a UUID', () => {
      assert.match(
        idOf((q) => q.put('Low', [a])),
        /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      );
    });

    it('is the same for the same events, as after a restart', () => {
      const setUp = (q: MemoryQueues) => {
        q.put('Low', [a]);
        q.put('High', [b]);
      };
      assert.equal(idOf(setUp), idOf(setUp));
    });

    it('differs otherwise', () => {
      const ids = [
        idOf((q) => q.put('Low', [a])),
        idOf((q) => q.put('Low', [a]), 'telemetry'),
        idOf((q) => q.put('Low', [b])),
        idOf((q) => q.put('Low', [a, b])),
        idOf((q) => q.put('Low', [b, a])),
        idOf((q) => {
          q.put('Low', [a]);
          q.put('High', [b]);
        }),
        idOf((q) => {
          q.put('Low', [b]);
          q.put('High', [a]);
        }),
      ];
      assert.equal(new Set(ids).size, ids.length);
    });
  });

  it('names the hub resource when the twin does', () => {
    put('Low', 200, 200);
    assert.equal(
      packed('Low', { ...SMALL, hubResourceId: '/subscriptions/x' }).message('security').hubResourceId,
      '/subscriptions/x',
    );
    queues.settle('Low', 'kept');
    assert.equal('hubResourceId' in packed('Low').message('security'), false);
  });

  it('leaves 4 KB of the 256 the hub takes', () => {
    put('Low', ...Array.from({ length: 300 }, () => 1_000));
    const size = sizeOf(packed('Low', { maxMessageSizeInBytes: 262_144, hubResourceId: '' }).message('security'));
    assert.ok(size <= 252 * 1024 && size > 250 * 1024, String(size));
  });

  it('never makes a message larger than it may be, in either marking, and loses no event', () => {
    const size = fc.oneof(fc.integer({ min: 100, max: 3_000 }), fc.integer({ min: 6_000, max: 12_000 }));
    const sizes = fc.array(size, { maxLength: 25 });
    const limit = fc.oneof(fc.constant(8192), fc.integer({ min: 8192, max: 40_000 }));
    const resource = fc.oneof(fc.constant(''), fc.string({ unit: 'binary', maxLength: 300 }));
    const first = fc.constantFrom('High' as const, 'Low' as const);
    fc.assert(
      fc.property(sizes, sizes, limit, resource, first, (high, low, maxMessageSizeInBytes, hubResourceId, queue) => {
        const some = new MemoryQueues();
        some.put(
          'High',
          high.map((bytes) => eventOf(bytes)),
        );
        some.put(
          'Low',
          low.map((bytes) => eventOf(bytes)),
        );
        for (;;) {
          const result = pack(some, queue, SENDER, { maxMessageSizeInBytes, hubResourceId });
          if (result === 'empty') break;
          if ('tooLarge' in result) return assert.fail('gave up an event that could be cut');
          for (const marking of ['security', 'telemetry'] as const) {
            const message = result.message(marking);
            assert.ok(sizeOf(message) <= maxMessageSizeInBytes);
            assert.equal(message.bodyBytes, Buffer.byteLength(message.body));
            assert.equal(JSON.parse(message.body).Events.length, result.eventCount);
          }
          for (const { queue: from, positions } of result.shares) some.settle(from, 'delivered', positions);
        }
        const delivered = some.settled
          .filter(([, outcome]) => outcome === 'delivered')
          .reduce((all, [, , events]) => all + events, 0);
        const left = some.waiting(queue === 'High' ? 'Low' : 'High').events;
        assert.equal(delivered + left, high.length + low.length);
        return assert.equal(some.waiting(queue).events, 0);
      }),
      { numRuns: fuzzRuns(1_500) },
    );
  });
});
