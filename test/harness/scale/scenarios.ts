import { type Duration, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import { createLog } from '../../../src/core/base/log.ts';
import { Random } from '../scenario/random.ts';
import { Azure, type Operation, type Requests } from './azure.ts';
import type { HubLimits } from './limits.ts';
import { SimulatedAgent } from './simulated-agent.ts';
import { SimulatedClock } from './simulated-clock.ts';

/** An outage of a fleet. The times of the plots start at its end. */
export interface Scenario {
  readonly name: string;
  /** Whether devices are assigned to the hub by the provisioning service. */
  readonly isProvisioned: boolean;
  /** How long it lasts. */
  readonly lasts: Duration;
  /** How long the fleet is observed afterwards. */
  readonly watched: Duration;
  readonly begin: (fleet: Fleet) => void;
  readonly end: (fleet: Fleet) => Promise<void> | void;
}

export interface Result {
  readonly scenario: Scenario;
  readonly limits: HubLimits;
  readonly requests: Requests;
  /** Second of the simulation in which the outage ended. */
  readonly endedAt: number;
  /** Seconds from the end until a device was connected, and until its status was reported; sorted. */
  readonly connected: readonly number[];
  readonly reported: readonly number[];
  readonly devices: number;
}

/** The agents first start spread over this time, so that their phases differ. */
const STARTS_OVER = minutes(8);
const SETTLES = minutes(2);
/** After a power cut the devices of one kind boot within some seconds of one another. */
const BOOTS_WITHIN = seconds(20);

/** Many agents, and their requests. */
export class Fleet {
  readonly clock = new SimulatedClock();
  readonly azure: Azure;
  readonly #random: Random;
  readonly #log = createLog({ level: 'silent' });
  readonly #states: Map<string, unknown>[];
  readonly #keyFile: string | undefined;
  #agents: SimulatedAgent[] = [];

  constructor(devices: number, limits: HubLimits, keyFile: string | undefined, seed: number) {
    this.#random = new Random(seed);
    this.#keyFile = keyFile;
    this.azure = new Azure(limits, this.clock, () => this.#random.next());
    this.#states = Array.from({ length: devices }, () => new Map());
  }

  get agents(): readonly SimulatedAgent[] {
    return this.#agents;
  }

  /** Starts all agents within a time, each at a random moment. */
  start(within: Duration): void {
    const random = () => this.#random.next();
    this.#agents = this.#states.map((state, number) => {
      const { azure, clock } = this;
      const keyFile = this.#keyFile;
      const agent = new SimulatedAgent({ azure, clock, log: this.#log, number, random, keyFile, state });
      void clock.sleep(milliseconds(within * random())).then(() => agent.start());
      return agent;
    });
  }

  /** Cuts the power of all devices. */
  vanish(): void {
    for (const agent of this.#agents) agent.vanish();
    this.azure.hubFails();
    this.azure.hubIsUp = true;
  }
}

const hubAway = (name: string, lasts: Duration, watched: Duration): Scenario => ({
  name,
  isProvisioned: false,
  lasts,
  watched,
  begin: ({ azure }) => azure.hubFails(),
  end({ azure }) {
    azure.hubIsUp = true;
  },
});

const power = (name: string, isProvisioned: boolean): Scenario => ({
  name,
  isProvisioned,
  lasts: minutes(2),
  watched: minutes(30),
  begin: (fleet) => fleet.vanish(),
  end: (fleet) => fleet.start(BOOTS_WITHIN),
});

export const SCENARIOS = {
  restart: hubAway('the hub closes all connections, and takes new ones at once', seconds(1), minutes(50)),
  minute: hubAway('the hub is away for a minute', minutes(1), minutes(30)),
  hour: hubAway('the hub is away for an hour', minutes(60), minutes(30)),
  power: power('all devices start at once, by module keys', false),
  powerProvisioned: power('all devices start at once, assigned by the provisioning service', true),
  moved: {
    name: 'the hub is gone for good, and provisioning comes back after an hour',
    isProvisioned: true,
    lasts: minutes(60),
    watched: minutes(40),
    begin({ azure }) {
      azure.hubFails();
      azure.serviceIsUp = false;
    },
    end({ azure }) {
      azure.hub = 'hub-b.azure-devices.net';
      azure.hubIsUp = true;
      azure.serviceIsUp = true;
    },
  },
} satisfies Record<string, Scenario>;

export interface How {
  readonly devices: number;
  readonly limits: HubLimits;
  /** File with a key, for scenarios with the provisioning service. */
  readonly keyFile: string;
  readonly seed?: number;
}

export async function simulate(scenario: Scenario, { devices, limits, keyFile, seed = 1 }: How): Promise<Result> {
  const fleet = new Fleet(devices, limits, scenario.isProvisioned ? keyFile : undefined, seed);
  const { clock, azure } = fleet;
  fleet.start(STARTS_OVER);
  await clock.pass(milliseconds(STARTS_OVER + SETTLES));
  azure.isLimited = true;
  scenario.begin(fleet);
  await clock.pass(scenario.lasts);
  const endedAt = clock.monotonic();
  await scenario.end(fleet);
  // The first connection and report of each counts, not the last one.
  const connected = new Map<number, number>();
  const reported = new Map<number, number>();
  const end = endedAt + scenario.watched;
  while (clock.monotonic() < end) {
    await clock.pass(seconds(1));
    for (const [number, { isConnected, connectedAt, reportedAt }] of fleet.agents.entries()) {
      if (isConnected && connectedAt !== undefined && connectedAt > endedAt && !connected.has(number))
        connected.set(number, (connectedAt - endedAt) / 1_000);
      if (reportedAt !== undefined && reportedAt > endedAt && !reported.has(number))
        reported.set(number, (reportedAt - endedAt) / 1_000);
    }
  }
  fleet.vanish();
  await clock.pass(minutes(1));
  return {
    scenario,
    limits,
    devices,
    requests: azure.record,
    endedAt: Math.floor(endedAt / 1_000),
    connected: sorted(connected),
    reported: sorted(reported),
  };
}

/** Maximum number of requests in one second after the end; and in one minute, as requests per second. */
export function peaks({ requests, endedAt, scenario }: Result, operation: Operation, from = 0) {
  const asked = requests.asked[operation];
  const last = scenario.watched / 1_000;
  let [second, minute] = [0, 0];
  let sum = 0;
  for (let at = from; at < last; at += 1) {
    const now = asked[endedAt + at] ?? 0;
    sum += now - (at - 60 >= from ? (asked[endedAt + at - 60] ?? 0) : 0);
    second = Math.max(second, now);
    minute = Math.max(minute, sum / 60);
  }
  return { second, minute };
}

const sorted = (times: ReadonlyMap<number, number>): number[] => [...times.values()].sort((one, other) => one - other);
