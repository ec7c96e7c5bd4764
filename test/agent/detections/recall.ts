import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../../harness/folders.ts';
import { type BenignStart, benignStarts } from './benign-starts.ts';
import { casesFile, idOf, LIST_BOUND, type UnseenCase, unseenCases } from './unseen-cases.ts';

/** Output of `vakt rules test` for a matching rule. */
export interface Raised {
  readonly alert: string;
  readonly level: string;
  readonly rule: string;
}

/** What the built-in rules say about the unseen cases and the recorded starts. */
export interface Recall {
  readonly alerts: readonly {
    alert: string;
    found: number;
    /** Number of attacks that raise the right alert at the default minimum level. */
    visible: number;
    attacks: number;
    lookAlikes: number;
    wrong: number;
  }[];
  /** Attacks without the right alert. */
  readonly missed: readonly { one: UnseenCase; raised: readonly Raised[] }[];
  /** Look-alikes with an alert of level high or above. */
  readonly wrong: readonly { one: UnseenCase; raised: readonly Raised[] }[];
  readonly benign: number;
  /** Recorded starts with an alert of level medium or above. */
  readonly benignHits: readonly { start: BenignStart; raised: readonly Raised[] }[];
}

/** The numbers of each alert on the alerts page. */
export interface Figures {
  /** Recorded benign starts. */
  readonly benign: number;
  readonly alerts: Readonly<
    Record<
      string,
      { readonly found: number; readonly visible: number; readonly attacks: number; readonly benignHits: number }
    >
  >;
}

export function figuresOf({ alerts, benign, benignHits }: Recall): Figures {
  const hits = (of: string) => benignHits.filter(({ raised }) => raised.some(({ alert }) => alert === of)).length;
  return {
    benign,
    alerts: Object.fromEntries(
      alerts.map(({ alert, found, visible, attacks }) => [alert, { found, visible, attacks, benignHits: hits(alert) }]),
    ),
  };
}

/** The default of `detections.minimumLevel`. */
const DEFAULT_LEVEL = 'medium';

const LEVELS = ['informational', 'low', 'medium', 'high', 'critical'];

const atLeast =
  (level: string) =>
  (raised: Raised): boolean =>
    LEVELS.indexOf(raised.level) >= LEVELS.indexOf(level);

/** Evaluates all unseen cases and recorded starts with the built-in rules, in one run of the agent's program. */
export function recall(cases = unseenCases(), starts = benignStarts()): Recall {
  const answers = run(cases, starts);
  const of = (one: UnseenCase): readonly Raised[] =>
    (answers.get(idOf(one)) ?? []).filter(({ alert }) => alert === one.alert || !LIST_BOUND.includes(alert));
  const rightAlerts = (one: UnseenCase) =>
    of(one).filter(({ alert }) => [one.alert, ...(one.or ?? [])].includes(alert));
  const isFound = (one: UnseenCase) => rightAlerts(one).length > 0;
  const isVisible = (one: UnseenCase) => rightAlerts(one).some(atLeast(DEFAULT_LEVEL));
  // A login or a change that looks like one alert may rightly raise another; a process start of daily work may not.
  const isWrong = (one: UnseenCase) =>
    of(one).some((raised) => atLeast('high')(raised) && (isStart(one) || raised.alert === one.alert));
  const attacks = cases.filter(({ expect }) => expect);
  const lookAlikes = cases.filter(({ expect }) => !expect);
  return {
    alerts: [...new Set(cases.map(({ alert }) => alert))].map((alert) => {
      const its = (all: readonly UnseenCase[]) => all.filter((one) => one.alert === alert);
      return {
        alert,
        found: its(attacks).filter(isFound).length,
        visible: its(attacks).filter(isVisible).length,
        attacks: its(attacks).length,
        lookAlikes: its(lookAlikes).length,
        wrong: its(lookAlikes).filter(isWrong).length,
      };
    }),
    missed: attacks.filter((one) => !isFound(one)).map((one) => ({ one, raised: of(one) })),
    wrong: lookAlikes.filter(isWrong).map((one) => ({ one, raised: of(one) })),
    benign: starts.length,
    benignHits: starts.flatMap((start, index) => {
      const raised = (answers.get(index) ?? []).filter(({ alert }) => !LIST_BOUND.includes(alert));
      return raised.some(atLeast('medium')) ? [{ start, raised: raised.filter(atLeast('medium')) }] : [];
    }),
  };
}

const isStart = ({ events }: UnseenCase): boolean => events[0]?.event === 'ProcessCreate';

/** The alerts by the id of a case, or by the index of a recorded start. */
function run(cases: readonly UnseenCase[], starts: readonly BenignStart[]): Map<string | number, Raised[]> {
  const path = join(temporaryFolder(), 'cases.json');
  writeFileSync(
    path,
    JSON.stringify(
      casesFile(
        cases,
        starts.map((start) => ({ ...start })),
      ),
    ),
  );
  const args = ['dist/src/main.js', 'rules', 'test', '--cases', path, '--json'];
  const output = execFileSync(process.execPath, args, { encoding: 'utf8', maxBuffer: 2 ** 28 });
  const answers = output.split('\n').filter((line) => line.startsWith('{'));
  return new Map(
    answers.map((line) => {
      const answer = JSON.parse(line) as { case?: string; benign?: number; alerts: Raised[] };
      return [answer.case ?? answer.benign ?? '', answer.alerts];
    }),
  );
}

/** The table of a recall, as text for a person. */
export function recallTable({ alerts, benign, benignHits }: Recall): string {
  const sum = (key: 'found' | 'visible' | 'attacks' | 'lookAlikes' | 'wrong') =>
    alerts.reduce((all, one) => all + one[key], 0);
  const rows = [
    ['alert', 'attacks found', 'at the default level', 'look-alikes at high or above'],
    ...alerts.map((one) => [
      one.alert,
      `${one.found} of ${one.attacks}`,
      String(one.visible),
      `${one.wrong} of ${one.lookAlikes}`,
    ]),
    [
      'all',
      `${sum('found')} of ${sum('attacks')} (${((100 * sum('found')) / sum('attacks')).toFixed(1)} %)`,
      `${sum('visible')} (${((100 * sum('visible')) / sum('attacks')).toFixed(1)} %)`,
      `${sum('wrong')} of ${sum('lookAlikes')}`,
    ],
  ];
  const byRule = new Map<string, number>();
  for (const { raised } of benignHits) {
    for (const { alert, rule, level } of raised) {
      const key = `${alert} (${level}, ${rule})`;
      byRule.set(key, (byRule.get(key) ?? 0) + 1);
    }
  }
  const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  return [
    ...rows.map((row) =>
      row
        .map((cell, column) => cell.padEnd(width(column)))
        .join('  ')
        .trimEnd(),
    ),
    '',
    `Recorded benign starts: ${benign}, of which ${benignHits.length} raised an alert of level medium or above`,
    ...[...byRule].sort(([, a], [, b]) => b - a).map(([rule, hits]) => `  ${hits}  ${rule}`),
  ].join('\n');
}
