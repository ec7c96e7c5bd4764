import { collectors } from '../../../src/agent/collectors/index.ts';
import type { HubEmulator } from '../../../src/emulator/hub.ts';
import { away, type Fault, injected, once } from '../scenario/runner.ts';
import type { SmallDisk } from '../small-disk.ts';
import type { GatewayLoad } from './gateway-load.ts';

/** The environment that faults act on. */
export interface Site {
  readonly hub: HubEmulator;
  readonly load: GatewayLoad;
  /** Sets the device's clock. @param shift to this machine's, in minutes */
  readonly setClock: (shift: number) => void;
  /** Writes properties of the module twin. */
  readonly desire: (properties: Properties) => void;
  /** Restores the twin. */
  readonly restoreTwin: () => void;
  /** The state directory's disk; `undefined` if it is this machine's. */
  readonly disk: SmallDisk | undefined;
}

export type Properties = Readonly<Record<string, { readonly value: unknown }>>;

/** The fault of an hour of the day, in addition to ordinary work. */
type Hour = (site: Site) => Fault;

const PACKAGE_STARTS = 300;

/** The name of an hour without a fault. */
export const CALM = 'calm';

export const calm: Hour = () => once(CALM);
const WITHOUT_DISK = once('disk full: left out');
const packages: Hour = ({ load }) => ({
  name: 'packages',
  begin: () => load.burst(PACKAGE_STARTS),
  end: () => load.burst(PACKAGE_STARTS),
});
const hubAway: Hour = ({ hub }) => away('hub away', [hub]);
const hubAwayAtWork: Hour = ({ hub, load }) => away('hub away, packages', [hub], () => load.burst(PACKAGE_STARTS));
const clock =
  (name: string, shift: number): Hour =>
  ({ setClock }) => ({ name, begin: () => setClock(shift), end: () => setClock(0) });
const diskFull: Hour = ({ disk }) =>
  disk === undefined ? WITHOUT_DISK : { name: 'disk full', begin: () => disk.fill(), end: () => disk.free() };
const diskFullHubAway: Hour = (site) => {
  const [full, away] = [diskFull(site), hubAwayAtWork(site)];
  if (full === WITHOUT_DISK) return full;
  return {
    name: 'disk full, hub away',
    async begin() {
      await full.begin();
      await away.begin();
    },
    async end() {
      await full.end();
      await away.end();
    },
  };
};
const fault =
  (name: string, ...faults: Parameters<typeof injected>[2]): Hour =>
  ({ hub, load }) =>
    injected(name, [hub], faults, () => load.burst(20));

/** Puts every event into the other queue, disables aggregation, and changes sizes and intervals. */
const reload: Hour = ({ desire, restoreTwin, load }) => ({
  name: 'twin: everything',
  begin() {
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
  },
  end: restoreTwin,
});
const reloads: Hour = ({ desire, restoreTwin }) => ({
  name: 'twin: 40 changes',
  begin() {
    for (let change = 0; change < 40; change += 1)
      desire({
        aggregationEnabledProcessCreate: { value: change % 2 === 0 },
        maxMessageSizeInBytes: { value: change % 2 === 0 ? 65_536 : 204_800 },
      });
  },
  end: restoreTwin,
});
const logins: Hour = ({ load }) =>
  once('logins', () => {
    for (let login = 0; login < 20; login += 1) load.logIn();
  });

const other = (priority: string) => ({ value: priority === 'High' ? 'Low' : 'High' });

/** The hours of a day. */
export const TIMETABLE: readonly Hour[] = [
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
