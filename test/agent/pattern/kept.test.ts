import assert from 'node:assert/strict';
import { Kept, MemoryLimit } from '../../../src/agent/pattern/kept.ts';

describe('what is kept within a limit of memory', () => {
  const use = (kept: Kept<{ bytes: number }>, more = 0) =>
    kept.use((one) => {
      one.bytes += more;
      return one.bytes;
    });

  it('is made once, and again after it was dropped', () => {
    const limit = new MemoryLimit(10);
    const made: string[] = [];
    const [a, b] = ['a', 'b'].map(
      (name) =>
        new Kept(limit, () => {
          made.push(name);
          return { bytes: 6 };
        }),
    ) as [Kept<{ bytes: number }>, Kept<{ bytes: number }>];
    for (const kept of [a, a, b, b, a]) use(kept);
    assert.deepEqual([made, limit.bytes, limit.remade], [['a', 'b', 'a'], 6, 6]);
  });

  it('drops others when it grows, never itself, however large it is', () => {
    const limit = new MemoryLimit(100);
    const all = Array.from({ length: 20 }, () => new Kept(limit, () => ({ bytes: 5 })));
    for (const kept of all) use(kept);
    assert.deepEqual([limit.bytes, limit.remade], [100, 0]);
    const [one] = all as [Kept<{ bytes: number }>];
    use(one, 30);
    assert.deepEqual([limit.bytes, use(one)], [100, 35]);
    use(one, 200);
    assert.deepEqual([limit.bytes, use(one), limit.remade], [235, 235, 0]);
  });

  it('is as if it had never been made when all are dropped', () => {
    const limit = new MemoryLimit(10);
    const all = Array.from({ length: 3 }, () => new Kept(limit, () => ({ bytes: 4 })));
    for (const kept of all) use(kept);
    limit.empty();
    assert.equal(limit.bytes, 0);
    for (const kept of all.slice(0, 2)) use(kept);
    assert.deepEqual([limit.bytes, limit.remade], [8, 0]);
  });

  it('gives back what it refers to when it is dropped', () => {
    let dropped = 0;
    const kept = new Kept(new MemoryLimit(10), () => ({ bytes: 5, drop: () => (dropped += 1) }));
    use(kept);
    kept.drop();
    kept.drop();
    assert.equal(dropped, 1);
  });

  it('an object is mostly still kept if all are needed in turn and exceed the limit by a quarter', () => {
    const limit = new MemoryLimit(400);
    const all = Array.from({ length: 500 }, () => new Kept(limit, () => ({ bytes: 1 })));
    const rounds = 20;
    for (let round = 0; round <= rounds; round += 1) for (const kept of all) use(kept);
    assert.ok(limit.remade < rounds * all.length * 0.5, `${limit.remade / rounds / all.length}`);
  });
});
