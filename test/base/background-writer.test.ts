import assert from 'node:assert/strict';
import sinon from 'sinon';
import { BackgroundWriter } from '../../src/base/background-writer.ts';
import { systemClock } from '../../src/base/clock.ts';
import { seconds } from '../../src/base/duration.ts';

describe('operations on the disk that may be deferred', () => {
  let time: sinon.SinonFakeTimers;
  let writer: BackgroundWriter;
  let begun: string[];

  beforeEach(() => {
    time = sinon.useFakeTimers();
    writer = new BackgroundWriter({ clock: systemClock, maxBytes: 1_000_000 });
    begun = [];
  });
  afterEach(() => {
    time.restore();
  });

  const add = (name: string, { isDeferrable = true, bytes = 1 } = {}) => {
    writer.add({ isDeferrable, bytes, run: async () => void begun.push(name) });
  };
  const afterFirst = async () => {
    add('first');
    await time.tickAsync(0);
    assert.deepEqual(begun, ['first']);
  };

  it('begin at once after a time without any', async () => {
    await afterFirst();
    await time.tickAsync(25);
    add('second');
    await time.tickAsync(0);
    assert.deepEqual(begun, ['first', 'second']);
  });

  it('begin 25 ms apart under load, and can be extended until then', async () => {
    await afterFirst();
    add('second');
    await time.tickAsync(24);
    assert.deepEqual(begun, ['first']);
    assert.notEqual(writer.last, undefined);
    await time.tickAsync(1);
    assert.deepEqual(begun, ['first', 'second']);
  });

  it('begin at once when another that cannot be deferred is added, in order', async () => {
    await afterFirst();
    add('second');
    add('urgent', { isDeferrable: false });
    await time.tickAsync(0);
    assert.deepEqual(begun, ['first', 'second', 'urgent']);
  });

  it('begin at once when something waits for them', async () => {
    await afterFirst();
    add('second');
    await time.tickAsync(1);
    const reached = writer.reached();
    await time.tickAsync(0);
    assert.deepEqual(begun, ['first', 'second']);
    await reached;
  });

  it('begin at once when they hold more than 64 KiB', async () => {
    await afterFirst();
    add('second');
    await time.tickAsync(1);
    add('third', { bytes: 64 * 1024 });
    await time.tickAsync(0);
    assert.deepEqual(begun, ['first', 'second', 'third']);
  });

  it('are not deferred at shutdown', async () => {
    await afterFirst();
    for (const name of ['a', 'b', 'c']) add(name);
    await time.tickAsync(1);
    const settled = writer.settle(seconds(10));
    await time.tickAsync(0);
    assert.deepEqual(begun, ['first', 'a', 'b', 'c']);
    await time.tickAsync(10);
    assert.equal(await settled, 0);
  });

  it('are deferred again after an urgent one is done or cancelled', async () => {
    await afterFirst();
    add('urgent', { isDeferrable: false });
    await time.tickAsync(0);
    const owner = {};
    writer.add({ owner, bytes: 0, run: async () => void begun.push('cancelled') });
    writer.cancel((operation) => operation.owner === owner);
    await time.tickAsync(0);
    add('second');
    await time.tickAsync(30);
    add('third');
    await time.tickAsync(0);
    add('fourth');
    await time.tickAsync(24);
    assert.deepEqual(begun, ['first', 'urgent', 'second', 'third']);
  });
});
