import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { Detector } from '../../../src/agent/detections/detector.ts';
import { HarmlessStarts } from '../../../src/agent/detections/harmless-starts.ts';
import { readRuleSet } from '../../../src/agent/detections/sigma/rule-set.ts';
import type { Program } from '../../../src/agent/detections/subjects.ts';
import { subjectOf } from '../../../src/agent/detections/subjects.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { milliseconds } from '../../../src/core/base/duration.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import { heap, MEGABYTE } from './flood.ts';

const document = (value: object) => ({ file: 'r.yml', origin: 'builtin' as const, lineOf: () => undefined, value });
const detection = (name: string, selection: object, vakt: object = {}) =>
  document({
    title: name,
    name,
    level: 'high',
    logsource: { product: 'linux', category: 'process_creation' },
    detection: { s: selection, condition: 's' },
    vakt,
  });
const HARMFUL = detection('Shell', { 'Image|endswith': '/nc', 'ParentImage|endswith': '/cron' }, { alert: 'VAKT_A' });
/** A file is run that was downloaded before. */
const SEQUENCE = [
  detection('fetched', { 'DownloadTarget|contains': '/' }),
  detection('run', { 'RunTarget|contains': '/' }),
  document({
    title: 'Fetched and run',
    level: 'high',
    correlation: {
      type: 'temporal_ordered',
      rules: ['fetched', 'run'],
      'group-by': ['Target'],
      timespan: '10s',
      aliases: { Target: { fetched: 'DownloadTarget', run: 'RunTarget' } },
    },
    vakt: { alert: 'VAKT_B' },
  }),
];

const rulesOf = (...documents: ReturnType<typeof document>[]) => {
  const { rules, faults } = readRuleSet(documents);
  assert.deepEqual(faults, []);
  return rules;
};

const start = (more: Payload = {}): Payload => ({
  Executable: '/usr/bin/nc',
  CommandLine: 'nc -l 80',
  ProcessId: 20,
  ParentProcessId: 10,
  UserId: '0',
  ExtraDetails: { Sha256: 'ab' },
  ...more,
});
const CRON: Program = { executable: '/usr/sbin/cron', commandLine: 'cron -f' };
const BASH: Program = { executable: '/usr/bin/bash', commandLine: 'bash' };

describe('HarmlessStarts', () => {
  let now: number;
  const clock = { now: () => new Date(now), monotonic: () => milliseconds(now) };
  let detector: Detector;
  let harmless: HarmlessStarts;
  const use = (...documents: ReturnType<typeof document>[]) => {
    detector = new Detector({ rules: rulesOf(...documents), clock });
    harmless = new HarmlessStarts(detector);
  };
  /** Whether it was recognised, and the titles of the hits. */
  const see = (payload: Payload, parent?: Program): { known: boolean; hits: string[] } => {
    if (harmless.has({ payload, parent }, now)) return { known: true, hits: [] };
    const subject = subjectOf({ name: 'ProcessCreate', payload, time: now, parent });
    assert(subject !== undefined);
    const evaluation = detector.match(subject);
    harmless.learn({ payload, parent }, evaluation);
    return { known: false, hits: detector.hitsOf(subject, evaluation.matches).map(({ rule: { title } }) => title) };
  };

  beforeEach(() => {
    now = systemClock.now().getTime();
    use(HARMFUL, ...SEQUENCE);
  });

  it('recognises a start that raised no alert, with any process ids', () => {
    assert.deepEqual(see(start(), BASH), { known: false, hits: [] });
    assert.deepEqual(see(start({ ProcessId: 21, ParentProcessId: 11 }), BASH), { known: true, hits: [] });
  });

  it('evaluates each start that raises an alert', () => {
    for (let i = 0; i < 3; i += 1) assert.deepEqual(see(start(), CRON), { known: false, hits: ['Shell'] });
  });

  it('evaluates a start that differs in any other field that rules can read', () => {
    see(start(), BASH);
    for (const [payload, parent] of [
      [start(), CRON],
      [start(), undefined],
      [start(), { executable: '/usr/bin/bash', commandLine: 'bash -l' }],
      [start({ UserId: '1' }), BASH],
      [start({ CommandLine: 'nc -l 81' }), BASH],
      [start({ ExtraDetails: { Sha256: 'ac' } }), BASH],
      [start({ ExtraDetails: { Sha256: 'ab', ContainerId: 'c' } }), BASH],
    ] as const) {
      assert.equal(see(payload, parent).known, false);
    }
  });

  it('distinguishes process ids if a rule reads them', () => {
    use(detection('Init', { ParentProcessId: 1 }, { alert: 'VAKT_A' }));
    see(start());
    assert.equal(see(start()).known, true);
    assert.deepEqual(see(start({ ParentProcessId: 1 })), { known: false, hits: ['Init'] });
  });

  it('evaluates a start that could continue a sequence, until the sequence has expired', () => {
    const run = start({ Executable: '/tmp/x', CommandLine: '/tmp/x' });
    see(run, BASH);
    assert.equal(see(run, BASH).known, true);
    see(start({ Executable: '/usr/bin/wget', CommandLine: 'wget -O /tmp/x http://a/b' }), BASH);
    assert.deepEqual(see(run, BASH), { known: false, hits: ['Fetched and run'] });
    now += 10_001;
    assert.equal(see(run, BASH).known, true);
  });

  it('distinguishes arguments that are equal when joined', () => {
    const seen = { payload: start(), parent: BASH, argv: ['nc', '-l', '80'] };
    harmless.learn(seen, { matches: [], isWhole: true });
    assert.equal(harmless.has(seen, now), true);
    assert.equal(harmless.has({ ...seen, argv: ['nc -l', '80'] }, now), false);
    assert.equal(harmless.has({ payload: start(), parent: BASH }, now), false);
  });

  it('drops starts that are rarely used, and keeps no long ones', () => {
    const numbered = (n: number, more = '') => ({ payload: start({ CommandLine: `nc ${n}${more}` }), parent: BASH });
    const learn = (n: number) => harmless.learn(numbered(n), { matches: [], isWhole: true });
    const has = (n: number) => harmless.has(numbered(n), now);
    learn(0);
    learn(1);
    for (let n = 2; n < 3_000; n += 1) {
      learn(n);
      assert.equal(has(0), true, `${n}`);
    }
    assert.deepEqual([has(1), has(2_999)], [false, true]);
    const long = numbered(7, ' '.repeat(5_000));
    harmless.learn(long, { matches: [], isWhole: true });
    assert.equal(harmless.has(long, now), false);
  });

  it('releases the string from which a command line was sliced', () => {
    const started = (line: string) => ({ payload: start({ CommandLine: line }), parent: BASH });
    const cutOut = (n: number) => started(`nc ${n} ${'x'.repeat(100_000)}`.slice(0, 100));
    const before = heap();
    for (let n = 0; n < 200; n += 1) harmless.learn(cutOut(n), { matches: [], isWhole: true });
    for (let n = 0; n < 1_000; n += 1) harmless.learn(started(`other ${n}`), { matches: [], isWhole: true });
    for (let n = 0; n < 200; n += 1) assert.equal(harmless.has(cutOut(n), now), true);
    assert.ok(heap() - before < 3 * MEGABYTE);
  });

  it('evaluates a start again that a rule has skipped', () => {
    const seen = { payload: start(), parent: BASH };
    harmless.learn(seen, { matches: [], isWhole: false });
    assert.equal(harmless.has(seen, now), false);
    harmless.learn(seen, { matches: [], isWhole: true });
    assert.equal(harmless.has(seen, now), true);
  });

  it('uses the saved state of a started sequence', () => {
    const run = start({ Executable: '/tmp/x', CommandLine: '/tmp/x' });
    see(start({ Executable: '/usr/bin/wget', CommandLine: 'wget -O /tmp/x http://a/b' }), BASH);
    const state = detector.save();
    use(HARMFUL, ...SEQUENCE);
    see(run, BASH);
    detector.restore(state);
    assert.deepEqual(see(run, BASH), { known: false, hits: ['Fetched and run'] });
  });

  it('changes nothing if a sequence recurs while the previous one is still in its window', () => {
    const run = start({ Executable: '/tmp/x', CommandLine: '/tmp/x' });
    const fetch = start({ Executable: '/usr/bin/wget', CommandLine: 'wget -O /tmp/x http://a/b' });
    see(fetch, BASH);
    now += 4_000;
    assert.deepEqual(see(run, BASH).hits, ['Fetched and run']);
    now += 9_999;
    assert.equal(see(run, BASH).known, true);
    now += 9_000;
    see(fetch, BASH);
    assert.deepEqual(see(run, BASH), { known: false, hits: ['Fetched and run'] });
  });

  it('never changes the result of any starts', () => {
    const programs = [
      start(),
      start({ Executable: '/tmp/x', CommandLine: '/tmp/x' }),
      start({ Executable: '/tmp/y', CommandLine: '/tmp/y -v' }),
      start({ Executable: '/usr/bin/wget', CommandLine: 'wget -O /tmp/x http://a/b' }),
      start({ Executable: '/usr/bin/curl', CommandLine: 'curl -o /tmp/y http://a/b' }),
      start({ Executable: '/usr/bin/true', CommandLine: 'true' }),
    ];
    const steps = fc.array(
      fc.record({
        payload: fc.constantFrom(...programs),
        parent: fc.constantFrom(undefined, CRON, BASH),
        later: fc.constantFrom(0, 1, 4_000, 9_999, 10_000, 10_001, 30_000),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, (all) => {
        use(HARMFUL, ...SEQUENCE);
        const alone = new Detector({ rules: rulesOf(HARMFUL, ...SEQUENCE), clock });
        for (const { payload, parent, later } of all) {
          now += later;
          const subject = subjectOf({ name: 'ProcessCreate', payload, time: now, parent });
          assert(subject !== undefined);
          const expected = alone.evaluate(subject).map(({ rule: { title } }) => title);
          assert.deepEqual(see(payload, parent).hits, expected);
        }
      }),
    );
  });
});
