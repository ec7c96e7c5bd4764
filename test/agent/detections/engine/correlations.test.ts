import assert from 'node:assert/strict';
import fc from 'fast-check';
import { collectors } from '../../../../src/agent/collectors/index.ts';
import { builtInRules } from '../../../../src/agent/detections/built-in.ts';
import { Detector, type Lists } from '../../../../src/agent/detections/detector.ts';
import type { Hit } from '../../../../src/agent/detections/subject.ts';
import { SOURCES, UNSEEN } from '../../../../src/agent/detections/subjects.ts';
import { faultOf, read, rulesOf, ruleWith, SetClock, subject } from '../rules.ts';

const BASE = [
  ruleWith('s: { Kind: a }\ncondition: s', 'name: a\n'),
  ruleWith('s: { Kind: b }\ncondition: s', 'name: b\n').replace('title: T', 'title: B'),
  ruleWith('s: { Kind: c }\ncondition: s', 'name: c\n').replace('title: T', 'title: C'),
];
const correlation = (body: string, name = 'co', more = '') =>
  `title: ${name}\nname: ${name}\n${more}correlation:\n${body
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n')}\n`;

class Bench {
  readonly clock = new SetClock();
  readonly detector: Detector;
  /** How often there was something to be saved. */
  changes = 0;
  #count: number;

  /** @param seen how many events there were before its first */
  constructor(texts: readonly string[], lists: Lists = {}, seen = 0) {
    this.#count = seen;
    const changed = () => {
      this.changes += 1;
    };
    this.detector = new Detector({ rules: rulesOf(...BASE, ...texts), lists, clock: this.clock, changed });
  }

  /** @param at seconds @returns titles of correlations that hit */
  at(at: number, fields: Record<string, string>, late = 0): string[] {
    return this.hits(at, fields, late).map(({ rule }) => rule.title);
  }

  hits(at: number, fields: Record<string, string>, late = 0): Hit[] {
    this.clock.at = at * 1_000;
    this.#count += 1;
    const time = this.clock.now().getTime() - late * 1_000;
    const names = ['T', 'B', 'C'];
    return this.detector
      .evaluate(subject(fields, { time, id: `e${this.#count}` }))
      .filter(({ rule }) => !names.includes(rule.title));
  }
}

const COUNT = correlation('type: event_count\nrules: [a]\ngroup-by: [User]\ntimespan: 10s\ncondition: { gte: 3 }');

describe('event_count', () => {
  it('hits at the required number within the timespan, for each group separately', () => {
    const bench = new Bench([COUNT]);
    assert.deepEqual(bench.at(1, { Kind: 'a', User: 'u' }), []);
    assert.deepEqual(bench.at(2, { Kind: 'a', User: 'v' }), []);
    assert.deepEqual(bench.at(3, { Kind: 'a', User: 'u' }), []);
    assert.deepEqual(bench.at(4, { Kind: 'b', User: 'u' }), []);
    const [hit] = bench.hits(11, { Kind: 'a', User: 'u' });
    assert.equal(hit?.count, 3);
    assert.deepEqual(hit?.ids, ['e1', 'e3', 'e5']);
  });

  it('counts an event once that is read again after kill -9', () => {
    const bench = new Bench([COUNT]);
    const again = () => bench.detector.evaluate(subject({ Kind: 'a', User: 'u' }, { time: 0, id: 'again' })).slice(1);
    for (let times = 0; times < 5; times += 1) assert.deepEqual(again(), []);
    assert.deepEqual(bench.at(1, { Kind: 'a', User: 'u' }), []);
    assert.equal(bench.hits(1, { Kind: 'a', User: 'u' })[0]?.count, 3);
  });

  it('counts an event once that matches several rules, with and without an id', () => {
    const duplicate = ruleWith('s: { Kind: a }\ncondition: s', 'name: d\n').replace('title: T', 'title: B');
    for (const [asked, timespan] of [
      [3, '10s'],
      [100, '10m'],
    ] as const) {
      const counted = COUNT.replace('[a]', '[a, d]').replace('gte: 3', `gte: ${asked}`).replace('10s', timespan);
      const detector = new Detector({ rules: rulesOf(...BASE, duplicate, counted), clock: new SetClock() });
      const seen = () => detector.evaluate(subject({ Kind: 'a', User: 'u' })).some(({ rule }) => rule.title === 'co');
      const counts = Array.from({ length: asked }, seen);
      assert.equal(counts.indexOf(true), asked - 1);
    }
  });

  it('ignores matches older than the timespan', () => {
    const bench = new Bench([COUNT]);
    for (const at of [0, 1, 11.5]) assert.deepEqual(bench.at(at, { Kind: 'a', User: 'u' }), []);
  });

  it('hits again only after its window was empty', () => {
    const bench = new Bench([COUNT]);
    const seen = Array.from({ length: 30 }, (_, at) => bench.at(at, { Kind: 'a', User: 'u' }).length);
    assert.equal(
      seen.reduce((sum, one) => sum + one, 0),
      1,
    );
    assert.deepEqual(bench.at(50, { Kind: 'a', User: 'u' }), []);
    assert.deepEqual(bench.at(51, { Kind: 'a', User: 'u' }), []);
    assert.deepEqual(bench.at(52, { Kind: 'a', User: 'u' }), ['co']);
  });

  it('counts far beyond the number of stored entries', () => {
    const bench = new Bench([COUNT.replace('gte: 3', 'gt: 300').replace('10s', '5m')]);
    const seen = Array.from({ length: 301 }, (_, index) => bench.at(index / 2, { Kind: 'a', User: 'u' }).length);
    assert.equal(seen.indexOf(1), 300);
  });

  it('does not accumulate counts over a long time', () => {
    const bench = new Bench([COUNT.replace('gte: 3', 'gt: 300').replace('10s', '5m')]);
    for (let index = 0; index < 900; index += 1) assert.deepEqual(bench.at(index * 1.1, { Kind: 'a', User: 'u' }), []);
  });

  it('inserts a late event at its time', () => {
    const bench = new Bench([COUNT]);
    bench.at(0, { Kind: 'a', User: 'u' });
    bench.at(9.5, { Kind: 'a', User: 'u' });
    assert.deepEqual(bench.at(12, { Kind: 'a', User: 'u' }, 4), ['co'], '0, 8 and 9.5 s');
    const late = new Bench([COUNT]);
    late.at(0, { Kind: 'a', User: 'u' });
    late.at(9.5, { Kind: 'a', User: 'u' });
    assert.deepEqual(late.at(15.5, { Kind: 'a', User: 'u' }, 9), [], 'counts as 5 s late: 0, 9.5 and 10.5 s');
  });

  it('is independent of steps of the wall clock', () => {
    const bench = new Bench([COUNT]);
    bench.at(0, { Kind: 'a', User: 'u' });
    bench.clock.step = 3_600_000;
    bench.at(1, { Kind: 'a', User: 'u' });
    bench.clock.step = -3_600_000;
    assert.deepEqual(bench.at(2, { Kind: 'a', User: 'u' }), ['co']);
    const slow = new Bench([COUNT]);
    for (const at of [0, 20, 40]) {
      slow.clock.step = -at * 1_000; // the wall clock does not advance
      assert.deepEqual(slow.at(at, { Kind: 'a', User: 'u' }), []);
    }
  });

  it('uses number and timespan from a list in the twin', () => {
    const limited = COUNT.replace(
      'name: co\n',
      'name: co\nvakt: { limit: connectionsMax, requires: [connectionsMax] }\n',
    );
    const few = new Bench([limited], { connectionsMax: ['1/PT1M'] });
    few.at(0, { Kind: 'a', User: 'u' });
    assert.deepEqual(few.at(50, { Kind: 'a', User: 'u' }), ['co']);
    const off = new Bench([limited]);
    for (const at of [0, 1, 2, 3]) assert.deepEqual(off.at(at, { Kind: 'a', User: 'u' }), []);
    assert.equal(off.detector.rules.find(({ rule }) => rule.facts.name === 'co')?.off, 'requires');
  });

  for (const [list, limit, fields, source] of [
    ['connectionsMax', '3/PT1H30M', { RemoteAddress: '192.0.2.1' }, 'network_connection'],
    ['failedLocalLoginsMax', '3/P1D', { Result: 'Fail', UserName: 'u' }, 'login'],
  ] as const)
    it(`uses ${list} from the twin for the shipped rule`, () => {
      const hitsAt = (lists: Lists, times: readonly number[]) => {
        const clock = new SetClock();
        const detector = new Detector({ rules: builtInRules().rules, lists, clock, changed: () => {} });
        return times.flatMap((at) => {
          clock.at = at * 60_000;
          const hits = detector.evaluate(subject(fields, { source, time: clock.now().getTime() }));
          return hits.filter(({ rule }) => rule.requires.includes(list)).map(() => at);
        });
      };
      assert.deepEqual(hitsAt({ [list]: [limit] }, [0, 29, 58, 87]), [87]);
      assert.deepEqual(hitsAt({ [list]: [limit] }, [0, 1_500, 3_000, 4_500]), []);
      assert.deepEqual(
        hitsAt(
          { [list]: ['1000000/PT1H'] },
          Array.from({ length: 400 }, (_, n) => n / 100),
        ),
        [],
      );
      assert.deepEqual(hitsAt({}, [0, 1, 2, 3]), []);
    });

  it('ignores events without any group field, and groups by Device alone', () => {
    const bench = new Bench([COUNT]);
    for (const at of [0, 1, 2]) assert.deepEqual(bench.at(at, { Kind: 'a' }), []);
    const all = new Bench([COUNT.replace('[User]', '[Device]')]);
    all.at(0, { Kind: 'a' });
    all.at(1, { Kind: 'a' });
    assert.deepEqual(all.at(2, { Kind: 'a' }), ['co']);
  });
});

describe('value_count', () => {
  const values = correlation(
    'type: value_count\nrules: [a, b]\ngroup-by: [User]\ntimespan: 10s\ncondition: { field: Port, gte: 3 }',
  );
  it('counts different values', () => {
    const bench = new Bench([values]);
    for (const [at, Port] of ['1', '1', '2', '1'].entries())
      assert.deepEqual(bench.at(at, { Kind: 'a', User: 'u', Port }), []);
    assert.deepEqual(bench.at(5, { Kind: 'a', User: 'u' }), [], 'no value');
    assert.deepEqual(bench.at(6, { Kind: 'b', User: 'u', Port: '3' }), ['co']);
  });

  it('counts up to 256 values', () => {
    const many = values.replace('gte: 3', 'gte: 100').replace('field: Port', 'field: [Port]');
    const bench = new Bench([many]);
    const seen = Array.from({ length: 100 }, (_, Port) =>
      bench.at(Port / 100, { Kind: 'a', User: 'u', Port: `${Port}` }),
    );
    assert.deepEqual(seen.map(({ length }) => length).indexOf(1), 99);
    const state = JSON.parse(JSON.stringify(bench.detector.save()));
    const [group] = state.correlations.rules.co.groups;
    assert.equal(group.entries.length, 100);
    assert.match(faultOf(values.replace('gte: 3', 'gte: 257')), /"gte" of value_count takes a whole number up to 256/);
    assert.match(faultOf(values.replace('field: Port', 'field: [Port, User]')), /"field" must be a single field/);
  });

  it('keeps the last time of a value', () => {
    const bench = new Bench([values]);
    for (const [at, Port] of [
      [0, '1'],
      [5, '2'],
      [9, '1'],
      [14, '3'],
    ] as const)
      assert.deepEqual(bench.at(at, { Kind: 'a', User: 'u', Port }), at === 14 ? ['co'] : []);
  });
});

describe('temporal', () => {
  const any = correlation('type: temporal\nrules: [a, b]\ngroup-by: [User]\ntimespan: 10s');
  it('hits with events in any order', () => {
    for (const [first, second] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const bench = new Bench([any]);
      assert.deepEqual(bench.at(0, { Kind: first, User: 'u' }), []);
      assert.deepEqual(bench.at(0, { Kind: second, User: 'v' }), []);
      assert.deepEqual(bench.at(9, { Kind: second, User: 'u' }), ['co']);
    }
  });

  it('requires the number of different rules in its condition', () => {
    const two = correlation('type: temporal\nrules: [a, b, c]\ngroup-by: [User]\ntimespan: 10s\ncondition: { gte: 2 }');
    const bench = new Bench([two]);
    assert.deepEqual(bench.at(0, { Kind: 'c', User: 'u' }), []);
    assert.deepEqual(bench.at(1, { Kind: 'c', User: 'u' }), []);
    const [hit] = bench.hits(2, { Kind: 'b', User: 'u' });
    assert.equal(hit?.count, 2);
  });

  it('does not hit after the timespan', () => {
    const bench = new Bench([any]);
    bench.at(0, { Kind: 'a', User: 'u' });
    assert.deepEqual(bench.at(11, { Kind: 'b', User: 'u' }), []);
  });
});

describe('temporal_ordered', () => {
  const ordered = correlation('type: temporal_ordered\nrules: [a, b, c]\ngroup-by: [User]\ntimespan: 10s');
  const play = (kinds: string, text = ordered) => {
    const bench = new Bench([text]);
    return [...kinds].flatMap((Kind, at) => bench.at(at / 10, { Kind, User: 'u' })).length > 0;
  };

  for (const [kinds, hits] of Object.entries({
    abc: true,
    aabbc: true,
    bac: false,
    acb: false,
    acbc: true,
    cba: false,
    abab: false,
    babac: true,
  }))
    it(`${hits ? 'hits' : 'does not hit'} at ${kinds}`, () => assert.equal(play(kinds), hits));

  for (const [kinds, hits] of Object.entries({ ab: true, ac: true, bc: true, ca: false, cba: false, cab: true }))
    it(`${hits ? 'hits' : 'does not hit'} at ${kinds} if two of three rules are required`, () =>
      assert.equal(play(kinds, `${ordered}  condition: { gte: 2 }\n`), hits));

  describe('temporal_ordered with two rules', () => {
    const two = correlation('type: temporal_ordered\nrules: [a, b]\ngroup-by: [User]\ntimespan: 10s');

    it('hits if the first event is up to 5 s late', () => {
      const play = (late: number) => {
        const bench = new Bench([two]);
        bench.at(10, { Kind: 'b', User: 'u' });
        bench.at(10, { Kind: 'b', User: 'v' });
        return bench.at(11, { Kind: 'a', User: 'u' }, late).length;
      };
      assert.deepEqual([play(2), play(4.9), play(0.5)], [1, 1, 0]);
      assert.equal(play(60), 1, 'counts as 5 s late');
    });

    it('hits in the order of the events, however late they are evaluated', () => {
      for (const [ofA, ofB] of [
        [9, 7],
        [6, 4],
        [5.1, 4.9],
        [60, 0],
        [2, 1],
      ] as const) {
        const bench = new Bench([two]);
        bench.at(10, { Kind: 'a', User: 'u' }, ofA);
        assert.deepEqual(bench.at(10, { Kind: 'b', User: 'u' }, ofB), ['co'], `${ofA} s and ${ofB} s`);
      }
    });

    it('hits with two events in the same millisecond, although the clocks advance between them', () => {
      const bench = new Bench([two]);
      const evaluate = (Kind: string, monotonic: number) => {
        bench.clock.at = monotonic;
        bench.clock.step = Math.floor(monotonic) - monotonic;
        return bench.detector
          .evaluate(subject({ Kind, User: 'u' }, { time: 1_000 }))
          .some(({ rule }) => rule.title === 'co');
      };
      assert.deepEqual([evaluate('a', 1_000.9), evaluate('b', 1_001.1)], [false, true]);
    });

    it('hits if the wall clock was set between its events, in either direction', () => {
      for (const step of [3_600_000, -3_600_000]) {
        const bench = new Bench([two]);
        bench.at(0, { Kind: 'a', User: 'u' });
        bench.clock.step = step;
        assert.deepEqual(bench.at(1, { Kind: 'b', User: 'u' }), ['co']);
        assert.deepEqual(bench.at(20, { Kind: 'a', User: 'u' }), []);
        assert.deepEqual(bench.at(31, { Kind: 'b', User: 'u' }), [], 'the timespan is over');
      }
    });

    it('hits at a second sequence although the window contains entries of the first one', () => {
      const bench = new Bench([two]);
      const kinds: readonly [number, string][] = [
        [0, 'a'],
        [4, 'b'],
        [9, 'a'],
        [9.5, 'b'],
        [18, 'b'],
        [20, 'a'],
        [21, 'b'],
      ];
      const hits = kinds.flatMap(([at, Kind]) => bench.at(at, { Kind, User: 'u' }).map(() => at));
      assert.deepEqual(hits, [4, 21]);
    });

    it('stores a limited number of matches that wait for the first rule', () => {
      const bench = new Bench([two]);
      for (let user = 0; user < 200; user += 1) bench.at(10, { Kind: 'b', User: `u${user}` });
      assert.deepEqual(bench.at(11, { Kind: 'a', User: 'u10' }, 2), []);
      assert.deepEqual(bench.at(11, { Kind: 'a', User: 'u190' }, 2), ['co']);
      assert.equal(bench.detector.droppedGroups, 0);
    });

    it('still hits with a window that is short of memory', () => {
      const long = 'l'.repeat(1_000);
      const bench = new Bench([two, ...['x', 'y', 'z'].map((name) => two.replaceAll('co\n', `${name}\n`))]);
      for (let user = 0; user < 512; user += 1)
        bench.at(10, { Kind: user % 2 === 0 ? 'b' : 'a', User: `${user}${long}` });
      assert.deepEqual(bench.at(11, { Kind: 'b', User: `511${long}` }), ['co', 'x', 'y', 'z']);
    });

    for (const rules of ['[both, a]', '[a, both]'])
      it(`hits at one event that matches both of ${rules}, in either order`, () => {
        const both = ruleWith('s: { Kind: a, More: x }\ncondition: s', 'name: both\n').replace('title: T', 'title: B');
        const bench = new Bench([both, two.replace('[a, b]', rules)]);
        assert.deepEqual(bench.at(0, { Kind: 'a', User: 'u' }), []);
        assert.deepEqual(bench.at(60, { Kind: 'a', More: 'x', User: 'u' }), ['co']);
      });
  });

  for (const repeated of ['a', 'b'])
    for (const times of [20, 21, 22, 90])
      it(`still hits after ${times} further matches of ${repeated}`, () =>
        assert.ok(play(`ab${repeated.repeat(times)}c`, ordered.replace('10s', '1m'))));

  it('stores few matches in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 70, maxLength: 200 }), (kinds) => {
        const bench = new Bench([ordered]);
        for (const Kind of kinds) bench.at(0, { Kind, User: 'u' });
        const state = JSON.parse(JSON.stringify(bench.detector.save()));
        assert.ok(state.correlations.rules.co.groups.every(({ entries }: { entries: [] }) => entries.length <= 64));
      }),
      { numRuns: 20 },
    );
  });

  it('keeps sequences with directly repeated matches', () => {
    const runs = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom(1, 2, 30)), { maxLength: 9 });
    fc.assert(
      fc.property(runs, (all) => {
        const kinds = all.map(([kind, times]) => kind.repeat(times)).join('');
        assert.equal(play(kinds, ordered.replace('10s', '10m')), /a.*b.*c/.test(kinds), kinds);
      }),
      { numRuns: 100 },
    );
  });

  it('compares fields with their aliases', () => {
    const files = new Bench([
      correlation(
        'type: temporal_ordered\nrules: [a, b]\naliases: { file: { a: Written, b: Run } }\ngroup-by: [file]\ntimespan: 1m',
      ),
    ]);
    files.at(0, { Kind: 'a', Written: '/tmp/x' });
    assert.deepEqual(files.at(1, { Kind: 'b', Run: '/tmp/y', Written: '/tmp/x' }), []);
    assert.deepEqual(files.at(2, { Kind: 'b', Run: '/tmp/x' }), ['co']);
  });
});

describe('correlations of correlations', () => {
  const inner = correlation(
    'type: event_count\nrules: [a]\ngroup-by: [User]\ntimespan: 10s\ncondition: { gte: 3 }',
    'inner',
  );
  const outer = correlation('type: temporal_ordered\nrules: [inner, b]\ngroup-by: [User]\ntimespan: 20s', 'outer');

  it('hit if the inner one held before', () => {
    const bench = new Bench([inner, outer]);
    for (const at of [0, 1, 2])
      assert.deepEqual(bench.at(at, { Kind: 'a', User: 'u' }), [], 'inner ones make no alerts');
    assert.deepEqual(bench.at(3, { Kind: 'b', User: 'v' }), []);
    assert.deepEqual(bench.at(4, { Kind: 'b', User: 'u' }), ['outer']);
  });

  it('use the state of the inner one long after its hit', () => {
    const bench = new Bench([inner, outer]);
    for (let at = 0; at < 60; at += 1) bench.at(at, { Kind: 'a', User: 'u' });
    assert.deepEqual(bench.at(61, { Kind: 'b', User: 'u' }), ['outer']);
  });

  it('optionally let the inner ones raise alerts', () => {
    const bench = new Bench([inner, outer.replace('timespan', 'generate: true\n  timespan')]);
    bench.at(0, { Kind: 'a', User: 'u' });
    bench.at(1, { Kind: 'a', User: 'u' });
    assert.deepEqual(bench.at(2, { Kind: 'a', User: 'u' }), ['inner']);
  });

  it('reject references to themselves', () => {
    const one = correlation('type: temporal\nrules: [two]\ntimespan: 1m', 'one');
    const two = correlation('type: temporal\nrules: [one]\ntimespan: 1m', 'two');
    assert.match(read(one, two).faults[0]?.reason ?? '', /refers to itself/);
  });

  it('reject layers that each refer to the whole layer below, without delay', () => {
    const layer = (of: number) => Array.from({ length: 16 }, (_, index) => `c${of}_${index}`);
    const body = (rules: readonly string[]) => `type: temporal\nrules: [${rules.join()}]\ntimespan: 1m`;
    const layers = (most: number) =>
      Array.from({ length: most }, (_, of) =>
        layer(of)
          .map((name) => correlation(body(of === 0 ? ['a'] : layer(of - 1)), name))
          .join('---\n'),
      );
    assert.deepEqual(read(...BASE, ...layers(3)).faults, []);
    const began = performance.now();
    const { faults } = read(...BASE, ...layers(6));
    assert.match(faults[0]?.reason ?? '', /leads to more than 256 rules/);
    assert.ok(performance.now() - began < 5_000);
  });

  it('reject more than 8 nested levels', () => {
    const chain = (most: number) =>
      Array.from({ length: most }, (_, at) =>
        correlation(`type: temporal\nrules: [${at === 0 ? 'a' : `d${at - 1}`}]\ntimespan: 1m`, `d${at}`),
      );
    assert.deepEqual(read(...BASE, ...chain(9)).faults, []);
    assert.match(read(...BASE, ...chain(10)).faults[0]?.reason ?? '', /more than 8 nested correlations/);
    assert.match(read(...BASE, ...chain(300).reverse()).faults[0]?.reason ?? '', /more than 8 nested correlations/);
  });

  it('rejects a correlation along with the file that it refers to', () => {
    const { faults, rules } = read('title: X\nname: a\ndetection: {}\n', COUNT);
    assert.equal(rules.length, 0);
    assert.match(faults.find(({ file }) => file === '2.yml')?.reason ?? '', /no rule "a"/);
  });
});

describe('the limits of correlations', () => {
  it('allow 512 groups of a rule; the least recently used is dropped and counted', () => {
    const bench = new Bench([COUNT]);
    for (let user = 0; user < 513; user += 1) bench.at(0, { Kind: 'a', User: `u${user}` });
    assert.equal(bench.detector.droppedGroups, 1);
    for (const User of ['u0', 'u512']) bench.at(1, { Kind: 'a', User });
    assert.deepEqual(bench.at(2, { Kind: 'a', User: 'u512' }), ['co']);
    assert.deepEqual(bench.at(2, { Kind: 'a', User: 'u0' }), []);
  });

  it('counts no dropped group that could not have led to a hit', () => {
    const bench = new Bench([COUNT]);
    for (let user = 0; user < 512; user += 1) bench.at(0, { Kind: 'a', User: `u${user}` });
    for (let user = 512; user < 600; user += 1) bench.at(9_999, { Kind: 'a', User: `u${user}` });
    assert.equal(bench.detector.droppedGroups, 0);
  });

  it('allow 1 MB for all rules', () => {
    const bench = new Bench([COUNT, ...['x', 'y', 'z'].map((name) => COUNT.replaceAll('co\n', `${name}\n`))]);
    const long = 'l'.repeat(1_000);
    for (let user = 0; user < 512; user += 1) bench.at(0, { Kind: 'a', User: `${user}${long}` });
    assert.ok(bench.detector.droppedGroups > 1_000);
    const { correlations } = bench.detector.save();
    assert.ok(JSON.stringify(correlations).length < 1_048_576);
  });

  it('keep groups across a restart, with their age', () => {
    const before = new Bench([COUNT]);
    before.at(100, { Kind: 'a', User: 'u' });
    before.at(104, { Kind: 'a', User: 'u' });
    const state = JSON.parse(JSON.stringify(before.detector.save()));
    const continued = (at: number) => {
      const after = new Bench([COUNT], {}, 2);
      after.clock.step = 104_000; // another boot: the monotonic clock begins again
      after.clock.at = 3_000;
      after.detector.restore(state);
      return after.at(at, { Kind: 'a', User: 'u' });
    };
    assert.deepEqual(continued(4), ['co']);
    assert.deepEqual(continued(8), []);
  });

  it('request saving of changed windows that are longer than a minute', () => {
    const bench = new Bench([COUNT.replace('10s', '2m')]);
    bench.at(0, { Kind: 'b', User: 'u' });
    assert.equal(bench.changes, 0);
    bench.at(0, { Kind: 'a', User: 'u' });
    assert.equal(bench.changes, 1);
    const short = new Bench([COUNT.replace('10s', '1m')]);
    short.at(0, { Kind: 'a', User: 'u' });
    assert.equal(short.changes, 0);
    const vakt = 'name: co\nvakt: { limit: connectionsMax, requires: [connectionsMax] }\n';
    const limited = new Bench([COUNT.replace('10s', '1m').replace('name: co\n', vakt)], { connectionsMax: ['3/PT5M'] });
    limited.at(0, { Kind: 'a', User: 'u' });
    assert.equal(limited.changes, 1);
    const ordered = new Bench([correlation('type: temporal_ordered\nrules: [a, b]\ngroup-by: [User]\ntimespan: 10m')]);
    ordered.at(0, { Kind: 'b', User: 'u' });
    assert.equal(ordered.changes, 0, 'nothing came before it');
    ordered.at(0, { Kind: 'a', User: 'u' });
    assert.equal(ordered.changes, 1);
  });

  it('drop the state of a correlation that was changed', () => {
    const ordered = (rules: string) =>
      correlation(`type: temporal_ordered\nrules: [${rules}]\ngroup-by: [User]\ntimespan: 10s`);
    for (const [before, after, isKept] of [
      [ordered('a, b'), ordered('a, b').replace('10s', '20s'), true],
      [ordered('a, b'), ordered('c, b'), false],
      [COUNT, COUNT.replace('gte: 3', 'gte: 2'), true],
      [COUNT, COUNT.replace('gte: 3', 'gte: 2').replace('[User]', '[Kind]'), false],
    ] as const) {
      const bench = new Bench([before]);
      bench.at(0, { Kind: 'a', User: 'a' });
      const next = new Bench([after], {}, 1);
      next.detector.restore(JSON.parse(JSON.stringify(bench.detector.save())));
      const second = after.includes('ordered') ? 'b' : 'a';
      assert.deepEqual(next.at(1, { Kind: second, User: 'a' }), isKept ? ['co'] : [], after);
    }
  });

  it('ignore a damaged state', () => {
    const saved = new Bench([COUNT]);
    saved.at(0, { Kind: 'a', User: 'u' });
    const { of } = saved.detector.save().correlations.rules.co ?? {};
    for (const state of [
      {},
      { at: 'x' },
      { at: 0, correlations: {} },
      { at: 0, correlations: { seed: 1, rules: { co: [{ key: 'u\0', fired: true, entries: [[0, 0, 0, 1, 'e']] }] } } },
      { at: 0, correlations: { seed: 1, rules: { co: { of, groups: [{ key: 1, entries: [[]] }] } } } },
      null,
    ]) {
      const bench = new Bench([COUNT]);
      bench.detector.restore(state as never);
      bench.at(0, { Kind: 'a', User: 'u' });
      bench.at(1, { Kind: 'a', User: 'u' });
      assert.deepEqual(bench.at(2, { Kind: 'a', User: 'u' }), ['co']);
    }
  });
});

describe('rules on sources without a collector', () => {
  const onFiles = (name: string) =>
    `title: ${name}\nname: ${name}\nlogsource: { category: file_event }\ndetection: { s: { TargetFilename: /x }, condition: s }\n`;
  const off = (...texts: readonly string[]) => {
    const { rules } = new Detector({ rules: rulesOf(...BASE, ...texts), clock: new SetClock() });
    return rules.flatMap(({ rule, off: why }) => (why === undefined ? [] : [`${rule.facts.id}: ${why}`]));
  };

  it('disables rules and the correlations that require them', () => {
    const needing = (type: string, more = '') =>
      correlation(`type: ${type}\nrules: [a, files]\ngroup-by: [Device]\ntimespan: 10s${more}`);
    assert.deepEqual(off(onFiles('files')), ['files: noEvent']);
    for (const type of ['temporal', 'temporal_ordered'])
      assert.deepEqual(off(needing(type), onFiles('files')), ['co: noEvent', 'files: noEvent']);
    assert.deepEqual(off(needing('event_count', '\ncondition: { gte: 3 }'), onFiles('files')), ['files: noEvent']);
  });

  it('disables rules that require a field that no collector fills', () => {
    const on = (detection: string) =>
      `title: names\nname: names\nlogsource: { category: network_connection }\ndetection: { ${detection} }\n`;
    const name = 'n: { DestinationHostname|endswith: .example }';
    for (const needing of [
      `${name}, condition: n`,
      `s: [{ DestinationHostname: a }, { DestinationHostname: b }], o: { Initiated: true }, condition: s and o`,
    ])
      assert.deepEqual(off(on(needing)), ['names: noEvent'], needing);
    for (const other of [
      `${name}, o: { DestinationPort: 1 }, condition: n or o`,
      `${name}, o: { DestinationPort: 1 }, condition: o and not n`,
      'n: { DestinationHostname: null }, condition: n',
      'n: { DestinationHostname|exists: false }, condition: n',
    ])
      assert.deepEqual(off(on(other)), [], other);
  });

  it('enables rules if there is a collector', () => {
    const seen = new Set(collectors.map(({ name }) => SOURCES[name]));
    for (const source of UNSEEN) assert.ok(!seen.has(source), `${source} is seen now`);
    for (const [event, source] of Object.entries(SOURCES))
      if (source !== undefined && !seen.has(source)) assert.ok(UNSEEN.includes(source), `nothing makes ${event}`);
  });
});

describe('invalid correlations', () => {
  for (const [from, to, why] of [
    ['type: event_count', 'type: near', /"near" is not known/],
    ['timespan: 10s', 'timespan: soon', /a time such as/],
    ['timespan: 10s', 'timespan: 10s\n  window: sliding', /"window" is not known/],
    ['{ gte: 3 }', '{ lt: 3 }', /without events/],
    ['{ gte: 3 }', '{ gte: 3.5 }', /whole number/],
    ['{ gte: 3 }', '{ more: 3 }', /"more" is not known/],
    ['{ gte: 3 }', '{ field: X, gte: 3 }', /only valid for value_count/],
    ['event_count', 'value_count', /needs a "field"/],
    ['type: event_count', 'type: temporal', /"gte" of temporal takes a whole number up to 1/],
    ['{ gte: 3 }', '{ gte: 1000001 }', /"gte" of event_count takes a whole number up to 1000000/],
    ['rules: [a]', 'rules: []', /1 to 16 rules/],
    ['rules: [a]', 'rules: [nobody]', /no rule "nobody"/],
    ['rules: [a]', 'rules: [b, a, b]', /the rule "b" is listed twice/],
    ['rules: [a]', 'rules: [a, T]', /the rule "T" is listed twice/],
    ['group-by: [User]', 'aliases: { x: { a: User } }', /not in "group-by"/],
  ] as const)
    it(`reject ${to.slice(0, 30)}`, () => {
      const { faults } = read(...BASE, COUNT.replace(from, to));
      assert.match(faults[0]?.reason ?? 'no fault', why);
    });

  describe('correlations by their fields', () => {
    const rule = (name: string, category: string, selection: string) =>
      `title: ${name}\nname: ${name}\nlogsource: { category: ${category} }\ndetection: { s: { ${selection} }, condition: s }\n`;
    const RULES = [
      rule('start', 'process_creation', 'Image: x'),
      rule('connection', 'network_connection', 'Image: x'),
      rule('audit', 'process_creation', 'type: EXECVE').replace('category: process_creation', 'service: auditd'),
    ];
    const fault = (body: string, more = '') => {
      const [first] = read(...RULES, correlation(`timespan: 10s\n${body}`, 'co', more)).faults;
      return first === undefined ? 'no fault' : `${first.line}: ${first.reason}`;
    };
    const COUNTED = 'condition: { gte: 3 }';
    for (const [body, expected] of [
      [`type: event_count\nrules: [start]\ngroup-by: [Bogus]\n${COUNTED}`, /^7: "group-by": .* have no field "Bogus"/],
      [
        'type: value_count\nrules: [start]\ngroup-by: [User]\ncondition: { field: Bogus, gte: 3 }',
        /^8: "field": events of process_creation/,
      ],
      [
        'type: temporal\nrules: [start, connection]\ngroup-by: [User, DestinationIp]',
        /^7: .*process_creation have no field "Dest/,
      ],
      [
        'type: temporal\nrules: [start, connection]\naliases: { p: { start: Image } }\ngroup-by: [p]',
        /network_connection have no field "p"/,
      ],
      [
        'type: temporal\nrules: [start, connection]\naliases: { p: { start: CommandLine, connection: Image } }\ngroup-by: [p]',
        /no fault/,
      ],
      [`type: event_count\nrules: [start, connection]\ngroup-by: [DestinationIp]\n${COUNTED}`, /no fault/],
      [`type: event_count\nrules: [audit]\ngroup-by: [User, a1, type, Device]\n${COUNTED}`, /no fault/],
      [`type: event_count\nrules: [start]\ngroup-by: [a1]\n${COUNTED}`, /no field "a1"/],
    ] as const)
      it(`return ${String(expected)} for ${body.replaceAll('\n', ', ')}`, () => assert.match(fault(body), expected));

    it('reject unknown key fields of alerts as well', () => {
      const counted = (rules: string, key: string) =>
        fault(`type: event_count\nrules: [${rules}]\n${COUNTED}`, `vakt: { key: [${key}] }\n`);
      assert.match(counted('start', 'DestinationIp'), /^3: "key": events of process_creation have no field "Dest/);
      assert.equal(counted('start, connection', 'DestinationIp'), 'no fault');
    });
  });

  it('report the line', () => assert.match(faultOf(COUNT.replace('10s', 'soon')), /^7: /));
});
