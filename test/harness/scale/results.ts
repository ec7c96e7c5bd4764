import { draw, type Panel } from '../chart.ts';
import type { Point } from '../slope.ts';
import type { Operation } from './azure.ts';
import { REGISTRATIONS } from './limits.ts';
import { peaks, type Result } from './scenarios.ts';

export const HEADS = [
  'what happens',
  'hub',
  'connected: half',
  '99 %',
  'all',
  'status reported: all',
  "requests a second in the busiest minute, and the hub's limit: connections",
  'twin reports',
  'messages',
  'registry',
  'registrations',
] as const;

export function rowOf(result: Result): string[] {
  const { scenario, limits, devices, connected, reported } = result;
  const at = (times: readonly number[], part: number) => {
    const index = Math.ceil(devices * part) - 1;
    return times[index] === undefined ? 'not' : inMinutes(times[index]);
  };
  const most = (operation: Operation, limit: number) => {
    const { minute } = peaks(result, operation);
    return minute === 0 ? '' : `${rounded(minute)} of ${rounded(limit)}`;
  };
  return [
    scenario.name,
    limits.name,
    at(connected, 0.5),
    at(connected, 0.99),
    at(connected, 1),
    at(reported, 1),
    most('connections', limits.connections),
    most('twinUpdates', limits.twinUpdates),
    most('messages', limits.messages),
    most('registry', limits.registry),
    most('registrations', REGISTRATIONS),
  ];
}

/** Width of a point of the plots. */
const SECONDS = 10;

const NAMES: Readonly<Record<Operation, string>> = {
  connections: 'connections',
  twinReads: 'readings of the twin',
  twinUpdates: 'twin reports',
  messages: 'messages',
  registry: "questions to the hub's registry",
  registrations: 'registrations at the provisioning service',
};

/** Requests per second over time, with the limits. @returns SVG */
export function pictureOf(result: Result): string {
  const { scenario, limits, requests, endedAt, connected, devices } = result;
  const before = scenario.lasts / 1_000 + 60;
  const last = scenario.watched / 1_000;
  const over = (counts: readonly number[]): Point[] =>
    Array.from({ length: Math.floor((before + last) / SECONDS) }, (_, index) => {
      const from = endedAt - before + index * SECONDS;
      const sum = Array.from({ length: SECONDS }, (_, second) => counts[Math.floor(from) + second] ?? 0).reduce(
        (all, one) => all + one,
        0,
      );
      return { x: (index * SECONDS - before) / 60, y: sum / SECONDS };
    });
  const panelOf = (operation: Operation): Panel => {
    const limit = operation === 'registrations' ? REGISTRATIONS : limits[operation];
    return {
      title: `${NAMES[operation]} a second`,
      series: [
        { name: 'asked', points: over(requests.asked[operation]), colour: 1 },
        { name: 'granted', points: over(requests.granted[operation]), colour: 2 },
      ],
      marks: [{ y: limit, name: `limit: ${rounded(limit)}` }],
    };
  };
  const used = (Object.keys(NAMES) as Operation[]).filter((operation) => requests.asked[operation].length > 0);
  const returned = connected.map((time, index) => ({ x: time / 60, y: (100 * (index + 1)) / devices }));
  const thinned = returned.filter((_, index) => index % 50 === 0 || index === returned.length - 1);
  return draw({
    title: `${devices.toLocaleString('en-US')} agents: ${scenario.name}`,
    comment: 'Drawn by test/bench/scale.bench.ts; docs/scale.md has the command.',
    xName: `minutes from the end of the outage, or the restart; hub: ${limits.name}`,
    panels: [
      {
        title: 'connected, %',
        series: [{ name: '', points: [{ x: 0, y: 0 }, ...thinned, { x: last / 60, y: thinned.at(-1)?.y ?? 0 }] }],
      },
      ...used.map(panelOf),
    ],
    bands: [{ from: -scenario.lasts / 60_000, to: 0, name: 'outage' }],
  });
}

const inMinutes = (seconds: number): string =>
  seconds < 90 ? `${Math.round(seconds)} s` : `${rounded(seconds / 60)} min`;
const rounded = (value: number): string =>
  value < 20 ? value.toFixed(1).replace(/\.0$/, '') : String(Math.round(value));
