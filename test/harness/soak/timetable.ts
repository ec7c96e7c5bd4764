import { collectors } from '../../../src/agent/collectors/index.ts';
import type { HubEmulator } from '../../../src/emulator/hub.ts';
import type { GatewayLoad } from './gateway-load.ts';

/** The environment that disturbances act on. */
export interface Site {
  readonly hub: HubEmulator;
  readonly load: GatewayLoad;
  /** Sets the device's clock. @param shift to this machine's, in minutes */
  readonly setClock: (shift: number) => void;
  /** Writes properties of the module twin. */
  readonly desire: (properties: Properties) => void;
  /** Restores the twin. */
  readonly restoreTwin: () => void;
  /** Fills the state directory's disk. @returns a function that ends it. Omitted if the disk is this machine's */
  readonly fillDisk?: (() => () => Promise<void>) | undefined;
}

export type Properties = Readonly<Record<string, { readonly value: unknown }>>;

/** The disturbance of an hour of the day, in addition to ordinary work. */
export interface Disturbance {
  /** `undefined`: nothing. */
  readonly name?: string;
  /** Whether it needs a separate disk. */
  readonly needsDisk?: true;
  /** @returns how it ends */
  readonly begin: (site: Site) => Promise<End> | End;
}

type End = () => Promise<unknown> | unknown;

const PACKAGE_STARTS = 300;
const nothing = () => {};

const calm: Disturbance = { begin: () => nothing };
const packages: Disturbance = {
  name: 'packages',
  begin({ load }) {
    load.burst(PACKAGE_STARTS);
    return () => load.burst(PACKAGE_STARTS);
  },
};
const hubAway: Disturbance = {
  name: 'hub away',
  async begin({ hub }) {
    await hub.offline();
    return () => hub.online();
  },
};
const hubAwayAtWork: Disturbance = {
  name: 'hub away, packages',
  async begin(site) {
    await site.hub.offline();
    site.load.burst(PACKAGE_STARTS);
    return () => site.hub.online();
  },
};
const clock = (name: string, shift: number): Disturbance => ({
  name,
  begin({ setClock }) {
    setClock(shift);
    return () => setClock(0);
  },
});
const diskFull: Disturbance = {
  name: 'disk full',
  needsDisk: true,
  begin: ({ fillDisk }) => fillDisk?.() ?? nothing,
};
const diskFullHubAway: Disturbance = {
  name: 'disk full, hub away',
  needsDisk: true,
  async begin({ hub, load, fillDisk }) {
    await hub.offline();
    const stop = fillDisk?.() ?? nothing;
    load.burst(PACKAGE_STARTS);
    return async () => {
      await stop();
      await hub.online();
    };
  },
};
const fault = (name: string, ...faults: readonly Parameters<HubEmulator['faults']['inject']>[0][]): Disturbance => ({
  name,
  begin({ hub, load }) {
    for (const one of faults) hub.faults.inject(one);
    load.burst(20);
    return () => hub.faults.clear();
  },
});

/** Puts every event into the other queue, disables aggregation, and changes sizes and intervals. */
const reload: Disturbance = {
  name: 'twin: everything',
  begin({ desire, restoreTwin, load }) {
    desire({
      ...Object.fromEntries(collectors.map(({ name, priority }) => [`eventPriority${name}`, other(priority)])),
      ...Object.fromEntries(
        ['ProcessCreate', 'ConnectionCreate', 'ProcessTerminate'].map((name) => [
          `aggregationEnabled${name}`,
          { value: false },
        ]),
      ),
      highPriorityMessageFrequency: { value: 'PT2S' },
      lowPriorityMessageFrequency: { value: 'PT5S' },
      snapshotFrequency: { value: 'PT30S' },
      maxMessageSizeInBytes: { value: 65_536 },
      maxLocalCacheSizeInBytes: { value: 1_048_576 },
      baselineGroupsDisabled: { value: 'ssh,sudo' },
      hubResourceId: { value: '/subscriptions/soak' },
    });
    load.burst(50);
    return restoreTwin;
  },
};
const reloads: Disturbance = {
  name: 'twin: 40 changes',
  begin({ desire, restoreTwin }) {
    for (let change = 0; change < 40; change += 1)
      desire({
        aggregationEnabledProcessCreate: { value: change % 2 === 0 },
        maxMessageSizeInBytes: { value: change % 2 === 0 ? 65_536 : 204_800 },
      });
    return restoreTwin;
  },
};
const logins: Disturbance = {
  name: 'logins',
  begin({ load }) {
    for (let login = 0; login < 20; login += 1) load.logIn();
    return nothing;
  },
};

const other = (priority: string) => ({ value: priority === 'High' ? 'Low' : 'High' });

/** The hours of a day. */
export const TIMETABLE: readonly Disturbance[] = [
  calm,
  packages,
  hubAway,
  reload,
  clock('clock + 15 min', 15),
  hubAwayAtWork,
  diskFull,
  logins,
  fault('hub resets at messages', { kind: 'resetOnPublish', count: 3 }),
  reloads,
  calm,
  fault('hub silent', { kind: 'mqttSilence' }, { kind: 'twinSilence' }),
  clock('clock − 15 min', -15),
  packages,
  fault('acknowledgements lost', { kind: 'dropAcknowledgements', count: 2 }),
  diskFullHubAway,
  reload,
  fault('twin throttled', { kind: 'twinStatus', status: 429 }),
  hubAway,
  calm,
  fault('hub busy', { kind: 'serverUnavailable' }, { kind: 'resetOnPublish', count: 1 }),
  packages,
  fault('acknowledgements late', { kind: 'delayAcknowledgements', ms: 1_500 }),
  calm,
];
