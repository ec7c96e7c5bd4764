import { spawnSync } from 'node:child_process';
import { builtInRules } from '../../src/agent/detections/built-in.ts';
import { Detections, type RuleSet } from '../../src/agent/detections/detections.ts';
import { Detector } from '../../src/agent/detections/detector.ts';
import type { ParsedRule } from '../../src/agent/detections/sigma/rule.ts';
import { systemClock } from '../../src/core/base/clock.ts';
import { hours } from '../../src/core/base/duration.ts';
import { createLog } from '../../src/core/base/log.ts';
import { nextTurn } from '../../src/core/base/waiting.ts';
import type { Occurrence } from '../../src/core/contract/consumers.ts';
import { NODE_FLAGS } from '../node-flags.ts';
import { median, memory, range, report } from './figures.ts';

/*
 * Cost of evaluating 200 rules for starts of programs, as the agent does: it recognises starts that raised no alert before by
 * their fields. Measured when all starts are known, when one in ten is new, and when all are new; also the cost of loading the
 * shipped rules. CPU time, so that other load does not count. The peer has no rules and runs the same code.
 */

if (!NODE_FLAGS.every((flag) => process.execArgv.includes(flag))) {
  const args = [...NODE_FLAGS, ...process.argv.slice(1)];
  process.exit(spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1);
}

const RULES = 200;
const EVENTS = 1_000;
const WARM_UP = 20;
const RUNS = 41;

/** Programs that an idle gateway starts; a number makes a line new. */
const LINES: readonly (readonly [string, string])[] = [
  ['/usr/bin/dash', 'sh -c test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily #'],
  ['/usr/bin/curl', 'curl -fsS --max-time 10 https://example.com/health?n='],
  ['/usr/bin/grep', 'grep -q running /run/state/'],
  ['/usr/bin/systemctl', 'systemctl is-active gateway.service --lines='],
  ['/usr/bin/python3.13', 'python3 /opt/gateway/collect.py --interval 30 --sequence '],
  ['/usr/bin/busybox', 'busybox cat /proc/net/dev '],
  ['/usr/bin/cp', 'cp -a /var/lib/gateway/state.json /var/lib/gateway/state.json.'],
  ['/usr/sbin/xtables-nft-multi', 'iptables -w -L INPUT -n --line-numbers -m '],
];
const PARENT = { pid: 10, parentPid: 1, executable: '/usr/bin/bash', commandLine: '-bash' };

const cpuMs = async (work: () => Promise<void> | void): Promise<number> => {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
};

/** The shipped rules, some of them repeated under other ids until the number is reached. */
function enough(rules: readonly ParsedRule[]): readonly ParsedRule[] {
  const detections = rules.filter((rule) => rule.is === 'detection');
  const all: ParsedRule[] = [...rules];
  for (let i = 0; all.length < RULES; i += 1) {
    const rule = detections[i % detections.length];
    if (rule !== undefined) all.push({ ...rule, facts: { ...rule.facts, id: `${rule.facts.id}-${i}` } });
  }
  return all;
}

const detectionsWith = (rules: RuleSet): Detections =>
  new Detections({
    isOn: () => true,
    rules,
    lists: () => ({}),
    alerts: { take: () => true },
    ancestry: { processAt: () => PARENT },
    files: { isRootOwned: () => false, runsHostFile: () => undefined },
    userNameOf: () => undefined,
    idOf: () => undefined,
    collectors: () => [],
    isPaused: () => false,
    snapshotPeriod: () => hours(13),
    clock: systemClock,
    log: createLog({ level: 'error', destination: { write: () => {} } }),
    changed: () => {},
    stateChanged: () => {},
  });

let sequence = 0;
const start = (index: number, number: number | string): Occurrence => {
  const [Executable, begin] = LINES[index % LINES.length] as (typeof LINES)[number];
  const payload = {
    Executable,
    CommandLine: begin + number,
    ProcessId: 1_000 + index,
    ParentProcessId: 900,
    UserId: '0',
    UserName: 'root',
  };
  return { event: 'ProcessCreate', payload, time: systemClock.now(), serial: index, stream: 'starts' };
};

async function evaluate(detections: Detections, occurrences: readonly Occurrence[]): Promise<void> {
  const { length } = occurrences;
  detections.accept({ event: 'ProcessCreate', occurrences: () => occurrences, count: () => length, broken: [] });
  while (detections.isBehind()) await nextTurn();
}

const ROWS: readonly { readonly name: string; readonly isNew: (index: number) => boolean; readonly budget: string }[] =
  [
    { name: 'all known', isNew: () => false, budget: '' },
    { name: 'one in ten new', isNew: (index) => index % 10 === 0, budget: '3' },
    { name: 'all new', isNew: () => true, budget: '' },
  ];

const before = memory(process.pid).rss;
const loaded: { set?: RuleSet } = {};
const load = await cpuMs(() => {
  loaded.set = builtInRules();
  new Detector({ rules: loaded.set.rules, clock: systemClock });
});
const { set = builtInRules() } = loaded;
const grown = memory(process.pid).rss - before;
const all = { ...set, rules: enough(set.rules) };
// Each row has its own detections: new starts evict known ones from the cache.
const contenders = ROWS.flatMap(({ name, isNew }) => [
  { which: name, isNew, detections: detectionsWith(all) },
  { which: `${name}, without rules`, isNew, detections: detectionsWith({ ...set, rules: [] }) },
]);

const costs = new Map<string, number[]>();
for (let run = 0; run < WARM_UP + RUNS; run += 1) {
  for (const { which, isNew, detections } of contenders) {
    const starts = Array.from({ length: EVENTS }, (_, index) => start(index, isNew(index) ? ++sequence : ''));
    const cost = await cpuMs(() => evaluate(detections, starts));
    if (run >= WARM_UP) costs.set(which, [...(costs.get(which) ?? []), cost]);
  }
}
const figure = (name: string) => `${median(costs.get(name) ?? []).toFixed(2)} (${range(costs.get(name) ?? [], 2)})`;
const off = contenders.reduce((sum, { detections }) => sum + (detections.status().rules.off.time ?? 0), 0);

report(
  `Detections: ${all.rules.length} rules, CPU in ms for ${EVENTS.toLocaleString('en')} starts of programs, median of ${RUNS} (range)`,
  [
    ['starts', 'with rules', 'the peer: without', 'budget'],
    ...ROWS.map(({ name, budget }) => [name, figure(name), figure(`${name}, without rules`), budget]),
  ],
  [
    `To load the ${set.rules.length} shipped rules, once: ${load.toFixed(0)} ms of CPU (budget 30), ${grown.toFixed(1)} MiB RSS (budget 6).`,
    `Disabled for being slow: ${off} rules.`,
  ],
);
