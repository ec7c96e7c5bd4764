import sinon from 'sinon';
import { type Duration, days, hours, minutes } from '../../../src/core/base/duration.ts';
import { Gateway, type Life } from './gateway.ts';
import type { Desired, Figures } from './simulated-agent.ts';

/* What a day costs a device at the hub, by settings. docs/cost.md has the tables. */

const AGGREGATED = ['ProcessCreate', 'ProcessTerminate', 'ConnectionCreate'];

const aggregationEvery = (interval: string): Desired =>
  Object.fromEntries(AGGREGATED.map((name) => [`aggregationInterval${name}`, { value: interval }]));

export interface Choice {
  readonly name: string;
  readonly desired: Desired;
  /** `highPriorityMessageFrequency`, which is also how often the status is reported at most. */
  readonly reportsEvery: Duration;
}

export const CHOICES: readonly Choice[] = [
  {
    name: 'sparing',
    desired: {
      highPriorityMessageFrequency: { value: 'PT1H' },
      lowPriorityMessageFrequency: { value: 'P1D' },
      snapshotFrequency: { value: 'P1D' },
      ...aggregationEvery('P1D'),
    },
    reportsEvery: hours(1),
  },
  { name: 'default', desired: {}, reportsEvery: minutes(7) },
  {
    name: 'prompt',
    desired: {
      highPriorityMessageFrequency: { value: 'PT1M' },
      lowPriorityMessageFrequency: { value: 'PT15M' },
      snapshotFrequency: { value: 'PT6H' },
      ...aggregationEvery('PT15M'),
    },
    reportsEvery: minutes(1),
  },
  {
    name: 'every occurrence',
    desired: Object.fromEntries(AGGREGATED.map((name) => [`aggregationEnabled${name}`, { value: false }])),
    reportsEvery: minutes(7),
  },
];

export const LIVES: readonly (Life & { readonly name: string })[] = [
  { name: 'a gateway at work', processesPerHour: 1_000, connectionsPerHour: 300, sessionsPerDay: 2 },
  { name: 'a device that does little', processesPerHour: 60, connectionsPerHour: 12, sessionsPerDay: 1 },
];

export interface DayCosts extends Omit<Figures, 'under4KB'> {
  readonly choice: string;
  /** Maximum number of status reports; each costs one unit if it is not larger than 4 KB. */
  readonly reports: number;
}

/** Days that are measured, after one that is not: what is sent once a day falls into one day or the next. */
const DAYS = 4;

/** The mean of some days, on simulated time. */
export async function measureDay(life: (typeof LIVES)[number], choice: Choice): Promise<DayCosts> {
  const time = sinon.useFakeTimers({
    now: new Date('2026-03-04T05:06:07Z'),
    toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
  });
  try {
    const gateway = new Gateway({ desired: choice.desired });
    await gateway.start();
    await time.tickAsync(0);
    await gateway.live(time, life);
    const morning = Date.now();
    for (let day = 0; day < DAYS; day += 1) await gateway.live(time, life);
    const { messages, bytes, units } = gateway.figures(morning);
    gateway.assertClosed();
    await gateway.stop(time);
    return {
      choice: choice.name,
      messages: messages / DAYS,
      bytes: bytes / DAYS,
      units: units / DAYS,
      reports: Math.ceil(days(1) / choice.reportsEvery),
    };
  } finally {
    time.restore();
  }
}

/** Messages that a unit of the tier S1 takes in a day. Source: "IoT Hub quotas and throttling". */
const S1_UNIT = 400_000;
const FLEET = 5_000;

export const HEADS = [
  'settings',
  'messages',
  'KB',
  'units of 4 KB',
  'reports, at most',
  'units of S1 for 5,000 devices',
] as const;

/** A row of a table of docs/cost.md. */
export const rowOf = ({ choice, messages, bytes, units, reports }: DayCosts): readonly string[] => [
  choice,
  Math.round(messages).toLocaleString('en-US'),
  Math.round(bytes / 1024).toLocaleString('en-US'),
  Math.round(units).toLocaleString('en-US'),
  reports.toLocaleString('en-US'),
  (((units + reports) * FLEET) / S1_UNIT).toFixed(1),
];
