import assert from 'node:assert/strict';
import sinon from 'sinon';
import type { WatchedCollector } from '../../../src/agent/detections/changes/collector-watch.ts';
import { Detections } from '../../../src/agent/detections/detections.ts';
import type { Lists } from '../../../src/agent/detections/detector.ts';
import { readRuleSet } from '../../../src/agent/detections/sigma/rule-set.ts';
import { type Hit, levelOf } from '../../../src/agent/detections/subject.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, milliseconds, minutes } from '../../../src/core/base/duration.ts';
import type { LogLine } from '../../../src/core/base/log.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import type { ProcessThen } from '../../../src/core/contract/ancestry.ts';
import type { Occurrence, OccurrenceBatch } from '../../../src/core/contract/consumers.ts';
import { quietLog } from '../pipeline/memory-queues.ts';

const OF_SIGMA = ['process_creation', 'network_connection'];
const rule = (title: string, category: string, detection: object, vakt: object = {}) => ({
  file: `${title}.yml`,
  origin: 'builtin' as const,
  lineOf: () => undefined,
  value: {
    title,
    level: 'high',
    logsource: OF_SIGMA.includes(category) ? { product: 'linux', category } : { service: 'vakt', category },
    detection: { s: detection, condition: 's' },
    vakt: { alert: `VAKT_${title}`, ...vakt },
  },
});
const { rules, faults } = readRuleSet([
  rule('Shell', 'process_creation', { 'Image|endswith': '/nc', 'ParentImage|endswith': '/cron' }),
  rule('Listed', 'process_creation', { 'Image|expand': '%allowedProcesses%' }, { requires: ['allowedProcesses'] }),
  rule('Port', 'listening_port_change', { Change: 'added' }),
  rule('Web', 'network_connection', { User: 'www-data' }),
  rule('Configuration', 'agent', { Event: 'ConfigurationError' }),
  {
    ...rule('Attempt', 'process_creation', {}),
    value: { ...rule('Attempt', 'process_creation', { 'Image|endswith': '/su' }).value, name: 'attempt' },
  },
  {
    ...rule('Attempts', 'process_creation', {}),
    value: {
      title: 'Attempts',
      level: 'high',
      correlation: {
        type: 'event_count',
        rules: ['attempt'],
        'group-by': ['Image'],
        timespan: '10m',
        condition: { gte: 3 },
      },
      vakt: { alert: 'VAKT_Attempts' },
    },
  },
  rule('Silent', 'agent', { Event: 'CollectorStatus', State: 'lost' }),
]);

const AT = new Date('2026-05-01T12:00:00Z');
/** A script of a package, its package manager, and how that was started. */
const ANCESTORS: readonly ProcessThen[] = [
  {
    pid: 31,
    parentPid: 32,
    executable: '/usr/bin/dash',
    argv: ['/bin/sh', '/var/lib/dpkg/info/a.postinst', 'configure'],
    userId: 0,
  },
  { pid: 32, parentPid: 33, executable: '/usr/bin/dpkg', argv: ['dpkg', '--configure', 'a'], userId: 0 },
  { pid: 33, parentPid: 34, executable: '/usr/bin/apt-get', userId: 0 },
  { pid: 34, parentPid: 1, executable: '/usr/bin/bash', userId: 0 },
];

const start = (executable: string, more: object = {}): Occurrence => ({
  event: 'ProcessCreate',
  payload: {
    Executable: executable,
    CommandLine: executable,
    ProcessId: 20,
    ParentProcessId: 10,
    UserId: '0',
    ...more,
  },
  time: AT,
  serial: 7,
  stream: 'starts',
});
const batch = (...occurrences: Occurrence[]): OccurrenceBatch => ({
  event: occurrences[0]?.event ?? '',
  occurrences: () => occurrences,
  count: () => occurrences.length,
  broken: [],
});
const port = (LocalPort: string) => ({ LocalAddress: '0.0.0.0', LocalPort, Protocol: 'tcp' });
const listening = (...ports: string[]) => ({ event: 'ListeningPorts', at: AT, rows: ports.map(port), leftOut: 0 });

describe('Detections', () => {
  let time: sinon.SinonFakeTimers;
  let hits: Hit[];
  let logged: LogLine[];
  let lists: Lists;
  let isOn: boolean;
  let sourceIsGone: boolean;
  /** Collectors besides that of starts. */
  let collectors: readonly WatchedCollector[];
  /** Whether everything takes 50 ms. */
  let isSlow: boolean;
  let slowNow: number;
  let saves: number;
  let changes: number;
  let take: (hit: Hit) => boolean;
  let detections: Detections;

  beforeEach(async () => {
    assert.deepEqual(faults, []);
    time = sinon.useFakeTimers({ now: AT, toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
    hits = [];
    logged = [];
    lists = {};
    isOn = true;
    sourceIsGone = false;
    collectors = [];
    isSlow = false;
    slowNow = 0;
    saves = 0;
    changes = 0;
    take = (hit) => hits.push(hit) > 0;
    detections = new Detections({
      isOn: () => isOn,
      rules: { rules, faults, sha256: 'ab' },
      lists: () => lists,
      alerts: { take: (hit) => take(hit) },
      ancestry: {
        processAt: (pid) =>
          pid === 10
            ? { pid, parentPid: 1, executable: '/usr/sbin/cron', commandLine: 'cron -f', userId: 0 }
            : ANCESTORS.find((each) => each.pid === pid),
      },
      files: { isRootOwned: () => true, runsHostFile: () => true },
      userNameOf: (userId) => (userId === 33 ? 'www-data' : undefined),
      idOf: ({ serial }) => `id ${serial}`,
      collectors: () => [
        { name: 'ProcessCreate', category: 'Triggered', state: sourceIsGone ? 'unavailable' : 'on', reason: 'gone' },
        ...collectors,
      ],
      isPaused: () => false,
      snapshotPeriod: () => hours(13),
      clock: { ...systemClock, monotonic },
      log: quietLog(logged),
      changed: () => {
        changes += 1;
      },
      stateChanged: () => {
        saves += 1;
      },
    });
    await detections.start();
  });
  afterEach(async () => {
    await detections.stop();
    time.restore();
  });

  const monotonic = () => {
    if (!isSlow) return systemClock.monotonic();
    slowNow += 50;
    return milliseconds(slowNow);
  };
  const titles = () => hits.map(({ rule: { title } }) => title);

  it('lower the level for actions of a trusted actor, and report the ancestors as they were', () => {
    const stop = { 'Image|endswith': '/systemctl' };
    const set = readRuleSet([
      rule('Lowered', 'process_creation', stop, { lowered: ['packages'] }),
      rule('Kept', 'process_creation', stop, { lowered: ['init'] }),
    ]);
    detections.load({ ...set, sha256: 'x' });
    const systemctl = (more: object) => start('/usr/bin/systemctl', { ParentProcessId: 31, ...more });
    detections.accept(batch(systemctl({}), systemctl({ UserId: '1000' })));
    assert.deepEqual(
      hits.map((hit) => [hit.rule.title, hit.during, levelOf(hit)]),
      [
        ['Lowered', 'dpkg', 'medium'],
        ['Kept', undefined, 'high'],
        ['Lowered', undefined, 'high'],
        ['Kept', undefined, 'high'],
      ],
    );
    assert.deepEqual(hits[0]?.ancestors, ['/usr/bin/dash', '/usr/bin/dpkg', '/usr/bin/apt-get', '/usr/bin/bash']);
  });

  it("evaluate starts, with the parent's program and the event's id", () => {
    detections.accept(batch(start('/usr/bin/nc'), start('/usr/bin/ls'), start('/usr/bin/nc', { ParentProcessId: 11 })));
    assert.deepEqual(titles(), ['Shell']);
    assert.deepEqual(hits[0]?.subject.event.ids, ['id 7']);
    assert.equal(hits[0]?.subject.fields.ParentCommandLine, 'cron -f');
  });

  it("evaluate connections, with the user's name", () => {
    const payload = { RemoteAddress: '192.0.2.1', RemotePort: '80', Direction: 'Out', Executable: '/usr/sbin/nginx' };
    const by = (UserId: string) => ({ ...start('', {}), event: 'ConnectionCreate', payload: { ...payload, UserId } });
    detections.accept(batch(by('0'), by('33')));
    assert.deepEqual(titles(), ['Web']);
  });

  it('need saving when an event has opened a window, and only then', () => {
    detections.accept(batch(start('/usr/bin/ls')));
    assert.equal(saves, 0);
    detections.accept(batch(start('/usr/bin/su')));
    assert.deepEqual([saves, titles()], [1, []]);
  });

  it('evaluate differences between snapshots, with the first one as the base', () => {
    detections.accept(listening('22'));
    detections.accept(listening('22', '4444'));
    assert.deepEqual(titles(), ['Port']);
  });

  it('need saving when a snapshot differs, not when it is equal', () => {
    const counts = [['22'], ['22'], ['22', '4444'], ['22', '4444'], []].map((ports) => {
      detections.accept(listening(...ports));
      return saves;
    });
    assert.deepEqual(counts, [1, 1, 2, 2, 3]);
  });

  it('need saving after the first complete snapshot, so that a restart knows which rows are new', () => {
    let saved: unknown;
    const accept = (leftOut: number, ...ports: string[]) => {
      const before = saves;
      detections.accept({ ...listening(...ports), leftOut });
      if (saves > before) saved = JSON.parse(JSON.stringify(detections.toJson()));
      return saves - before;
    };
    assert.deepEqual(
      [accept(1, '22'), accept(1, '22', '23'), accept(0, '22', '23'), accept(0, '22', '23')],
      [1, 1, 1, 0],
    );
    detections.restore(saved);
    accept(0, '22', '23', '4444');
    assert.deepEqual(titles(), ['Port']);
  });

  it('request polling of snapshots with active rules on their changes', () => {
    const follows = () => ['ListeningPorts', 'LocalUsers', 'ProcessCreate'].map((event) => detections.follows(event));
    assert.deepEqual(follows(), [true, false, false]);
    isOn = false;
    assert.deepEqual(follows(), [false, false, false]);
  });

  it('let the event loop run while they compare a large snapshot, and finish it before the next one', async () => {
    isSlow = true;
    const many = Array.from({ length: 5_000 }, (_, number) => String(number + 1));
    detections.accept(listening(...many));
    let turns = 0;
    const count = () => {
      turns += 1;
      counting = setImmediate(count);
    };
    let counting = setImmediate(count);
    detections.accept(listening(...many, '10000')); // waits for the first one
    await nextTurn();
    assert.deepEqual(titles(), []);
    await detections.stop();
    clearImmediate(counting);
    assert.deepEqual(titles(), ['Port']);
    assert.ok(turns > 100, `${turns} turns`);
  });

  it('evaluate configuration errors', () => {
    detections.accept(
      batch({
        event: 'ConfigurationError',
        payload: { ConfigurationName: 'x', ErrorType: 'Conflict', UsedConfiguration: '1', Message: 'is wrong' },
        time: AT,
        serial: undefined,
        stream: 'configuration',
      }),
    );
    assert.deepEqual(titles(), ['Configuration']);
  });

  it('report the loss of an active collector', async () => {
    detections.accept(batch(start('/usr/bin/ls')));
    sourceIsGone = true;
    await time.tickAsync(minutes(11));
    assert.deepEqual(titles(), ['Silent']);
  });

  it('never reports collectors as silent whose events were not requested', async () => {
    const [silent] = readRuleSet([rule('Quiet', 'agent', { Event: 'CollectorStatus', State: 'silent' })]).rules;
    assert.ok(silent !== undefined);
    collectors = [{ name: 'ListeningPorts', category: 'Periodic', state: 'on' }];
    detections.load({ rules: [...rules, silent], faults: [], sha256: 'cd' });
    detections.accept(listening('22'));
    detections.accept(batch(start('/usr/bin/ls')));
    isOn = false;
    await time.tickAsync(hours(48));
    isOn = true;
    await time.tickAsync(hours(1));
    assert.deepEqual(titles(), []);
    // Nothing wants starts without a rule on them.
    detections.load({ rules: [silent], faults: [], sha256: 'ef' });
    await time.tickAsync(hours(26));
    assert.deepEqual(
      hits.map(({ subject }) => subject.fields.Collector),
      ['ListeningPorts'],
    );
  });

  it('request all events that rules refer to, and none while they are off', () => {
    const events = ['ProcessCreate', 'ListeningPorts', 'ConfigurationError', 'Login', 'SecurityAlert', 'Diagnostic'];
    const wanted = () => events.filter((event) => detections.wants(event));
    assert.deepEqual(wanted(), ['ProcessCreate', 'ListeningPorts', 'ConfigurationError']);
    isOn = false;
    assert.deepEqual([wanted(), detections.status().isEnabled], [[], false]);
  });

  it('distinguish starts by the bounds of their arguments, which the joined ones hide', () => {
    const shell = (...argv: string[]) => ({ ...start('/bin/dash', { CommandLine: argv.join(' ') }), argv });
    // `x` with an argument `y`, which is a script; and a shell that calls itself `x y`.
    detections.accept(batch(shell('x', 'y', '-c', 'nc 192.0.2.1; id'), shell('x', 'y', '-c', 'nc 192.0.2.1; id')));
    assert.deepEqual(titles(), []);
    detections.accept(batch(shell('x y', '-c', 'nc 192.0.2.1; id'), shell('x y', '-c', 'nc 192.0.2.1; id')));
    assert.deepEqual(titles(), ['Shell', 'Shell']);
  });

  it('use a list as soon as it is set', () => {
    detections.accept(batch(start('/usr/bin/ls')));
    lists = { allowedProcesses: ['/usr/bin/ls'] };
    detections.refresh();
    detections.accept(batch(start('/usr/bin/ls')));
    assert.deepEqual(titles(), ['Listed']);
    assert.deepEqual(detections.status().rules.off, {});
  });

  it('let the event loop run during a burst, and evaluate all events in order', async () => {
    isSlow = true; // but not so slow that a rule is switched off for it
    const many = Array.from({ length: 4 }, (_, n) => start('/usr/bin/nc', { CommandLine: `nc ${n}` }));
    detections.accept(batch(...many.slice(0, 2)));
    assert.equal(hits.length, 1);
    detections.accept(batch(...many.slice(2)));
    assert.ok(detections.isBehind());
    await detections.stop();
    assert.ok(!detections.isBehind());
    assert.deepEqual(
      hits.map(({ subject }) => subject.event.payload),
      many.map(({ payload }) => payload),
    );
  });

  it('count and report events that arrive too fast to be evaluated', async () => {
    isSlow = true;
    detections.accept(batch(...Array.from({ length: 9_000 }, (_, i) => start(`/usr/bin/${i}`))));
    // One event was evaluated before the end of the turn.
    assert.equal(detections.status().problem, `${9_000 - 4_096 - 1} events arrived too fast to be evaluated.`);
  });

  it("evaluate other users' events while one user starts many programs", async () => {
    isSlow = true;
    const flood = Array.from({ length: 9_000 }, (_, i) => start(`/usr/bin/${i}`, { UserId: '1000' }));
    detections.accept(batch(...flood, start('/usr/bin/nc')));
    isSlow = false;
    await detections.stop();
    assert.deepEqual(titles(), ['Shell']);
  });

  it('recognise harmless starts, except while events wait that could make them harmful', async () => {
    const states = () => detections.status().problem;
    detections.accept(batch(start('/usr/bin/ls')));
    isSlow = true;
    detections.accept(batch(...Array.from({ length: 9_000 }, () => start('/usr/bin/ls'))));
    assert.equal(states(), undefined);
    detections.accept(batch(start('/usr/bin/a'), start('/usr/bin/b'), start('/usr/bin/c')));
    detections.accept(batch(...Array.from({ length: 9_000 }, () => start('/usr/bin/ls'))));
    assert.equal(states(), `${2 + 9_000 - 4_096} events arrived too fast to be evaluated.`);
    isSlow = false;
    await detections.stop();
  });

  it('report correlations with more groups than they can follow', () => {
    const attempts = Array.from({ length: 513 }, (_, n) => start(`/tmp/${n}/su`));
    detections.accept(batch(...attempts.slice(1)));
    assert.deepEqual([detections.status().problem, changes], [undefined, 0]);
    detections.accept(batch(...attempts.slice(0, 2)));
    assert.match(detections.status().problem ?? '', /^2 event series of correlations were dropped early/);
    assert.equal(changes, 1);
  });

  it('continue after an internal error, and are degraded', () => {
    take = () => {
      throw new Error('defect');
    };
    detections.accept(batch(start('/usr/bin/nc'), start('/usr/bin/nc')));
    take = (hit) => hits.push(hit) > 0;
    detections.accept(batch(start('/usr/bin/nc')));
    assert.deepEqual(titles(), ['Shell']);
    assert.equal(logged.length, 1);
    assert.match(detections.status().problem ?? '', /Failed to evaluate an event: defect/);
  });

  it('report a series that continues after its hits were suppressed, and only once', () => {
    let serial = 100;
    const attempt = (times: number) => {
      for (let n = 0; n < times; n += 1) detections.accept(batch({ ...start('/usr/bin/su'), serial: ++serial }));
    };
    const report = take;
    let suppressed = 0;
    take = () => {
      suppressed += 1;
      return false;
    };
    attempt(5);
    assert.deepEqual([suppressed, titles()], [3, []]);
    take = report;
    attempt(5);
    assert.deepEqual(titles(), ['Attempts']);
  });

  it('keep the base of snapshots across a restart', () => {
    detections.accept(listening('22'));
    const saved: unknown = JSON.parse(JSON.stringify(detections.toJson()));
    detections.restore(undefined);
    detections.restore([{ changes: 7, correlations: { at: 'x' } }]);
    detections.restore(saved);
    detections.accept(listening('22', '23'));
    assert.deepEqual(titles(), ['Port']);
  });
});
