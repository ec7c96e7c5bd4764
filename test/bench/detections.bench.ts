import { spawnSync } from 'node:child_process';
import { systemClock } from '../../src/base/clock.ts';
import { builtInDocuments } from '../../src/detections/built-in.ts';
import { Detector } from '../../src/detections/detector.ts';
import type { ParsedRule } from '../../src/detections/sigma/rule.ts';
import { readRuleSet } from '../../src/detections/sigma/rule-set.ts';
import { subjectOf } from '../../src/detections/subjects.ts';
import { NODE_FLAGS } from '../node-flags.ts';
import { median, memory, range, report } from './figures.ts';

/*
 * What it costs to judge starts of programs by 200 rules: when the cache knows the line, when it does not, and with one new
 * line in ten; and to load the shipped rules. CPU, so that others on the machine don't count. The peer is a detector without
 * rules, which makes the subject and nothing else.
 */

if (!NODE_FLAGS.every((flag) => process.execArgv.includes(flag))) {
  const args = [...NODE_FLAGS, ...process.argv.slice(1)];
  process.exit(spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1);
}

const RULES = 200;
const EVENTS = 1_000;
const RUNS = 15;

/** What an idle gateway starts; a number makes a line new. */
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

const cpuMs = (work: () => void): number => {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
};

const figure = (values: readonly number[]) => `${median(values).toFixed(2)} (${range(values, 2)})`;
const repeat = (work: (run: number) => void) => Array.from({ length: RUNS }, (_, run) => cpuMs(() => work(run)));

/** The shipped rules, some twice under other ids, until there are enough. */
function enough(rules: readonly ParsedRule[]): readonly ParsedRule[] {
  const detections = rules.filter((rule) => rule.is === 'detection');
  const all: ParsedRule[] = [...rules];
  for (let i = 0; all.length < RULES; i += 1) {
    const rule = detections[i % detections.length];
    if (rule !== undefined) all.push({ ...rule, facts: { ...rule.facts, id: `${rule.facts.id}-${i}` } });
  }
  return all;
}

let sequence = 0;
function judge(detector: Detector, number: (index: number) => number | string): void {
  for (let index = 0; index < EVENTS; index += 1) {
    const [Executable, begin] = LINES[index % LINES.length] as (typeof LINES)[number];
    const payload = {
      Executable,
      CommandLine: begin + number(index),
      ProcessId: 1_000 + index,
      ParentProcessId: 900,
      UserId: '0',
      UserName: 'root',
    };
    const happened = subjectOf({
      name: 'ProcessCreate',
      payload,
      time: Date.now(),
      parent: { executable: '/usr/bin/bash', commandLine: '-bash' },
    });
    if (happened !== undefined) detector.judge(happened);
  }
}

const before = memory(process.pid).rss;
const loaded: { rules: readonly ParsedRule[] } = { rules: [] };
const load = cpuMs(() => {
  loaded.rules = readRuleSet(builtInDocuments()).rules;
  new Detector({ rules: loaded.rules, clock: systemClock });
});
const detector = new Detector({ rules: enough(loaded.rules), clock: systemClock });
const without = new Detector({ rules: [], clock: systemClock });
for (let run = 0; run < 5; run += 1) judge(detector, () => ++sequence);
const known = repeat(() => judge(detector, () => ''));
const tenth = repeat(() => judge(detector, (index) => (index % 10 === 0 ? ++sequence : '')));
const fresh = repeat(() => judge(detector, () => ++sequence));
const peer = repeat(() => judge(without, () => ++sequence));
const off = detector.rules.filter((rule) => rule.off === 'time').length;

report(
  `Detections: ${detector.rules.length} rules, CPU in ms for ${EVENTS.toLocaleString('en')} starts of programs, median of ${RUNS} (range)`,
  [
    ['lines', 'ms', 'budget'],
    ['all known', figure(known), ''],
    ['one in ten new', figure(tenth), '3'],
    ['all new', figure(fresh), ''],
    ['without rules', figure(peer), 'the peer'],
  ],
  [
    `To load the ${loaded.rules.length} shipped rules, once: ${load.toFixed(0)} ms of CPU (budget 30).`,
    `Memory since the start: ${(memory(process.pid).rss - before).toFixed(1)} MiB RSS (budget 6). Switched off: ${off} rules.`,
  ],
);
