import assert from 'node:assert/strict';
import { join } from 'node:path';
import fc from 'fast-check';
import sinon from 'sinon';
import { configurationError } from '../../../src/agent/collectors/configuration-error.ts';
import { TwinConfiguration } from '../../../src/agent/config/twin-configuration.ts';
import { TwinSync } from '../../../src/agent/hub/twin-sync.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import type { Payload } from '../../../src/core/contract/event.ts';
import type { TwinSection } from '../../../src/core/contract/hub.ts';
import type { Settings } from '../../../src/core/contract/settings.ts';
import { applyPatch, type Members } from '../../../src/core/twin/sections.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { look } from '../collectors/samples.ts';
import { FakeHub } from '../hub/fake-hub.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { anyDocument } from './arbitrary-twin.ts';
import { properties, publishedDialect } from './published.ts';

/* Results of a desired configuration, from the hub's answer to the reported properties: each row changes a twin in
 * which FIVE are set and applied, and lists all results. */

const OBJECT = 'ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration';

/** Returns `{"name": {"value": X}}` for `{name: X}`, the form in the twin. */
const values = (plain: Members): Members =>
  Object.fromEntries(Object.entries(plain).map(([name, value]) => [name, { value }]));

const FIVE = values({
  snapshotFrequency: 'PT6H',
  maxMessageSizeInBytes: 65_536,
  eventPriorityLogin: 'low',
  aggregationEnabledProcessCreate: false,
  hubResourceId: '/subscriptions/1',
});

/** What desired holds after the row's change. */
type Change = (desired: Members) => Members;
/** The service patches the configuration object: other properties stay. */
const patched =
  (members: Members | null): Change =>
  (desired) =>
    applyPatch(desired, { [OBJECT]: members });
const set = (plain: Members) => patched(values(plain));
/** The service patches something else. */
const elsewhere =
  (members: Members): Change =>
  (desired) =>
    applyPatch(desired, members);
/** The service replaces the object; also by what no hub should let in. */
const replaced =
  (object: unknown): Change =>
  () => ({ [OBJECT]: object });
/** Replaces the member without a check, so that tests can use members that no hub should accept. */
const member =
  (name: string, value: unknown): Change =>
  (desired) => ({ [OBJECT]: { ...(desired[OBJECT] as Members), [name]: value } });

/** All that follows from a change; what isn't named is as it was. */
interface Outcome {
  /** Changed settings, keyed by property: the new current values. */
  readonly inForce?: Members;
  /** The patch of the mirror in reported. */
  readonly reported?: Members;
  readonly errors?: readonly Payload[];
  readonly unknown?: readonly string[];
}

const obeyed = (inForce: Members, reported: Members, errors: readonly Payload[] = []): Outcome => ({
  inForce,
  reported,
  errors,
});
const unchanged: Outcome = {};
const refused = (...errors: readonly Payload[]): Outcome => ({ errors });
const listed = (...unknown: readonly string[]): Outcome => ({ unknown });

const fault =
  (ErrorType: string) =>
  (ConfigurationName: string, UsedConfiguration: string, Message: string): Payload => ({
    ConfigurationName,
    ErrorType,
    UsedConfiguration,
    Message,
  });
const mismatch = fault('TypeMismatch');
const notOptimal = fault('NotOptimal');
const conflict = fault('Conflict');

const DURATION = 'must be an ISO 8601 duration such as "PT7M"';
const SPAN = 'must be from PT1S to P365D';
const PRIORITY = 'must be "High", "Low" or "Off"';
const CACHE = 'must be an integer of at least 8192';
const MESSAGE = 'must be an integer from 8192 to 262144';
const FLAG = 'must be true or false';
const MEMBER = 'must be an object with a "value"';
const UNIT = 'is not a multiple of 4096, the unit in which the hub charges';
const TOO_SMALL_CACHE = 'is smaller than maxMessageSizeInBytes, so that no message can be filled';
const PATH = 'must be an absolute path without ".."';
const NO_FILE = 'needs baselineCustomChecksFilePath and baselineCustomChecksFileHash; only default rules are evaluated';
const CHECKS = {
  baselineCustomChecksEnabled: true,
  baselineCustomChecksFilePath: '/etc/vakt/checks.json',
  baselineCustomChecksFileHash: 'Ab'.repeat(32),
};
const BACKUP = {
  backup: { rule: 'IoT_EgressData', field: 'Image', endsWith: 'bin/restic', until: '2027-01-01T00:00:00Z' },
};
const many = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`x${n}`, { rule: 'r', field: 'f', equals: 'a' }]));
const TOO_LONG_HIGH = 'is longer than lowPriorityMessageFrequency';

const noSnapshot = (message: string) => refused(mismatch('snapshotFrequency', '"PT6H"', message));
const noMessage = (message: string) => refused(mismatch('maxMessageSizeInBytes', '65536', message));
const noCache = (message: string) => refused(mismatch('maxLocalCacheSizeInBytes', '2560000', message));
const noPriority = (message: string) => refused(mismatch('eventPriorityLogin', '"low"', message));
const noFlag = (message: string) => refused(mismatch('aggregationEnabledProcessCreate', 'false', message));
const noId = (message: string) => refused(mismatch('hubResourceId', '"/subscriptions/1"', message));
const noBaseline = (name: string, message: string, used = 'null') => refused(mismatch(name, used, message));
const noObject = refused(mismatch('(configuration)', 'null', 'must be an object'));

/** Mirrored only where desired gives them a value. */
const UNSET = ['baselineCustomChecksFilePath', 'baselineCustomChecksFileHash'];

/** A removed property goes back to its default, and is mirrored with it. */
const DEFAULTS_OF_FIVE: Outcome = obeyed(
  {
    snapshotFrequency: hours(13),
    maxMessageSizeInBytes: 204_800,
    eventPriorityLogin: 'High',
    aggregationEnabledProcessCreate: true,
    hubResourceId: '',
  },
  values({
    snapshotFrequency: 'PT13H',
    maxMessageSizeInBytes: 204_800,
    eventPriorityLogin: 'High',
    aggregationEnabledProcessCreate: true,
    hubResourceId: '',
  }),
);

/** A row in which all that is set is mirrored as it is spelt. */
const obeying = (what: string, spelt: Members, inForce = spelt) =>
  [what, set(spelt), obeyed(inForce, values(spelt))] as const;

const DOCUMENTS: Readonly<Record<string, readonly (readonly [what: string, change: Change, outcome: Outcome])[]>> = {
  'A patch of one property': [
    obeying('of those set', { snapshotFrequency: 'PT1H' }, { snapshotFrequency: hours(1) }),
    obeying('of those not set', { lowPriorityMessageFrequency: 'PT1H' }, { lowPriorityMessageFrequency: hours(1) }),
    [
      'that removes one',
      patched({ snapshotFrequency: null }),
      obeyed({ snapshotFrequency: hours(13) }, values({ snapshotFrequency: 'PT13H' })),
    ],
    ['that removes one that is not there', patched({ lowPriorityMessageFrequency: null }), unchanged],
    ['that removes a name that it does not know', patched({ colour: null }), unchanged],
    ['that sets what is set', set({ snapshotFrequency: 'PT6H' }), unchanged],
    obeying('that spells it otherwise', { snapshotFrequency: 'PT360M' }, {}),
    obeying('that sets the default', { snapshotFrequency: 'PT13H' }, { snapshotFrequency: hours(13) }),
    obeying('that spells a default otherwise', { highPriorityMessageFrequency: 'PT420S' }, {}),
    ['that removes its value', patched({ snapshotFrequency: { value: null } }), noSnapshot(MEMBER)],
    ['that adds a member beside its value', patched({ snapshotFrequency: { comment: 'often' } }), unchanged],
    obeying(
      'of each kind at once',
      {
        snapshotFrequency: 'PT1H',
        maxMessageSizeInBytes: 8192,
        eventPriorityLogin: 'OFF',
        aggregationEnabledProcessCreate: true,
        hubResourceId: '',
      },
      {
        snapshotFrequency: hours(1),
        maxMessageSizeInBytes: 8192,
        eventPriorityLogin: 'Off',
        aggregationEnabledProcessCreate: true,
        hubResourceId: '',
      },
    ),
  ],
  'A change elsewhere': [
    ['in a section of another module', elsewhere({ other: { snapshotFrequency: { value: 'PT1S' } } }), unchanged],
    [
      'under a name much like ours',
      elsewhere({ [OBJECT.toLowerCase()]: values({ snapshotFrequency: 'PT1S' }) }),
      listed(OBJECT.toLowerCase()),
    ],
    ['of a property beside the object', elsewhere({ snapshotFrequency: { value: 'PT1S' } }), unchanged],
    ['that is no object', elsewhere({ other: 7 }), unchanged],
  ],
  'A document': [
    ['with its object removed', patched(null), DEFAULTS_OF_FIVE],
    ['with null in its place', replaced(null), DEFAULTS_OF_FIVE],
    ['with an empty object', replaced({}), DEFAULTS_OF_FIVE],
    ['without anything', () => ({}), DEFAULTS_OF_FIVE],
    ['of nulls only', replaced({ snapshotFrequency: null, hubResourceId: null }), DEFAULTS_OF_FIVE],
    ['replaced by the same', replaced(FIVE), unchanged],
    [
      'replaced by one property',
      replaced(values({ maxMessageSizeInBytes: 65_536 })),
      obeyed(
        {
          snapshotFrequency: hours(13),
          eventPriorityLogin: 'High',
          aggregationEnabledProcessCreate: true,
          hubResourceId: '',
        },
        values({
          snapshotFrequency: 'PT13H',
          eventPriorityLogin: 'High',
          aggregationEnabledProcessCreate: true,
          hubResourceId: '',
        }),
      ),
    ],
    ['that is a list', replaced([values({ snapshotFrequency: 'PT1H' })]), noObject],
    ['wrapped in a value', replaced({ value: FIVE }), { ...DEFAULTS_OF_FIVE, unknown: ['value'] }],
    ['with the object in itself', replaced({ [OBJECT]: FIVE }), { ...DEFAULTS_OF_FIVE, unknown: [OBJECT] }],
  ],
  'A name that is not known': [
    ['is listed', set({ colour: 'red' }), listed('colour')],
    ['may hold anything', patched({ colour: { deep: { deeper: [1] } } }), listed('colour')],
    ['may be of another case', set({ SnapshotFrequency: 'PT1S' }), listed('SnapshotFrequency')],
    [
      'may be an event that does not exist',
      set({ eventPriorityTimeTravel: 'High' }),
      listed('eventPriorityTimeTravel'),
    ],
    [
      'may be the aggregation of an event that has none',
      set({ aggregationEnabledLogin: true }),
      listed('aggregationEnabledLogin'),
    ],
    [
      'may mean something to JavaScript',
      replaced(JSON.parse(`{"__proto__": {"value": 1}, "constructor": 2, ${JSON.stringify(FIVE).slice(1)}`)),
      listed('__proto__', 'constructor'),
    ],
    [
      'keeps nothing from being obeyed',
      set({ colour: 'red', snapshotFrequency: 'PT1H' }),
      { ...obeyed({ snapshotFrequency: hours(1) }, values({ snapshotFrequency: 'PT1H' })), unknown: ['colour'] },
    ],
  ],
  'A duration': [
    obeying('with a comma', { snapshotFrequency: 'PT1,5S' }, { snapshotFrequency: milliseconds(1_500) }),
    obeying(
      'of an aggregation',
      { aggregationIntervalProcessCreate: 'PT10M' },
      { aggregationIntervalProcessCreate: minutes(10) },
    ),
    ['below the least', set({ snapshotFrequency: 'PT0.999S' }), noSnapshot(SPAN)],
    ['of nothing', set({ snapshotFrequency: 'PT0S' }), noSnapshot(DURATION)],
    ['without its object', member('snapshotFrequency', 'PT1H'), noSnapshot(MEMBER)],
  ],
  'A size': [
    obeying('of the largest message', { maxMessageSizeInBytes: 262_144 }),
    ['above the largest message', set({ maxMessageSizeInBytes: 262_145 }), noMessage(MESSAGE)],
    ['below the smallest cache', set({ maxLocalCacheSizeInBytes: 8191 }), noCache(CACHE)],
    [
      'of a number that JSON can say and nothing can hold',
      replaced(JSON.parse('{"maxLocalCacheSizeInBytes": {"value": 1e400}}')),
      noCache(CACHE),
    ],
  ],
  'A priority': [
    obeying('in any case', { eventPriorityLogin: 'oFf' }, { eventPriorityLogin: 'Off' }),
    obeying('in another case than before', { eventPriorityLogin: 'LOW' }, {}),
    ['that does not exist', set({ eventPriorityLogin: 'Medium' }), noPriority(PRIORITY)],
  ],
  'A flag': [
    obeying('that is true', { aggregationEnabledProcessCreate: true }),
    ['as a text', set({ aggregationEnabledProcessCreate: 'true' }), noFlag(FLAG)],
  ],
  'A text': [
    obeying('that is empty', { hubResourceId: '' }),
    ['of one more', set({ hubResourceId: 'x'.repeat(513) }), noId('must be at most 512 characters')],
    ['with a control character', set({ hubResourceId: 'a\u0000b' }), noId('must be printable ASCII characters')],
  ],
  'A list of names': [
    obeying(
      'of exceptions',
      { baselineGroupsDisabled: 'cron, ssh', baselineChecksDisabled: 'ssh.x' },
      { baselineGroupsDisabled: 'cron ssh', baselineChecksDisabled: 'ssh.x' },
    ),
    obeying('of nothing', { baselineRoles: ' , ' }, {}),
    [
      'of one more',
      set({ baselineRoles: 'x'.repeat(2049) }),
      noBaseline('baselineRoles', 'must be at most 2048 characters', '""'),
    ],
    ['as a list', set({ baselineRoles: ['router'] }), noBaseline('baselineRoles', 'must be a string', '""')],
  ],
  'Settings of detections': [
    obeying(
      'with a level in another case, and an exception',
      { detectionsMinimumLevel: 'HIGH', detectionsExceptions: BACKUP },
      { detectionsMinimumLevel: 'high', detectionsExceptions: JSON.stringify(BACKUP) },
    ),
    obeying(
      'with a list, a limit and a silence',
      {
        detectionsAllowedUsers: 'gateway, backup',
        detectionsMaximumConnections: '300/PT5M',
        detectionsSilencedUntil: '2026-12-24T08:00:00+01:00',
      },
      {
        detectionsAllowedUsers: 'gateway backup',
        detectionsMaximumConnections: '300/PT5M',
        detectionsSilencedUntil: '2026-12-24T08:00:00+01:00',
      },
    ),
    [
      'with a level that does not exist',
      set({ detectionsMinimumLevel: 'severe' }),
      refused(mismatch('detectionsMinimumLevel', '"medium"', 'must be informational, low, medium, high or critical')),
    ],
    [
      'with a limit that is none',
      set({ detectionsMaximumConnections: '300' }),
      refused(
        mismatch('detectionsMaximumConnections', '""', 'must be "" or a number and a duration, such as "100/PT5M"'),
      ),
    ],
    [
      'with a day instead of a time',
      set({ detectionsSilencedUntil: '2026-12-24' }),
      refused(
        mismatch('detectionsSilencedUntil', '""', 'must be "" or an RFC 3339 time such as "2026-12-24T08:00:00Z"'),
      ),
    ],
    ...(
      [
        [[], 'must be an object of exceptions by their ids'],
        [{ x: { rule: 'r', field: 'f' } }, 'must have one of equals, startsWith, endsWith, cidr'],
        [
          { x: { rule: 'r', field: 'f', equals: 'a', endsWith: 'b' } },
          'must have one of equals, startsWith, endsWith, cidr',
        ],
        [{ x: { rule: 'r', field: 'f', cidr: '10.0.0.0/33' } }, 'must be an address or a network such as "10.0.0.0/8"'],
        [{ 'a b': { rule: 'r', field: 'f', equals: 'a' } }, 'must have ids of 1 to 64 letters, digits, "_" and "-"'],
        [many(65), 'must have at most 64 members'],
      ] as const
    ).map(
      ([exceptions, message]) =>
        [
          `with exceptions of which this is wrong: ${message}, ${JSON.stringify(exceptions).slice(0, 40)}`,
          set({ detectionsExceptions: exceptions }),
          refused(mismatch('detectionsExceptions', '{}', message)),
        ] as const,
    ),
  ],
  'A file of checks': [
    obeying('with its digest', CHECKS, { ...CHECKS, baselineCustomChecksFileHash: 'ab'.repeat(32) }),
    ['that was never set and is removed', patched({ baselineCustomChecksFilePath: null }), unchanged],
    [
      'that is not named',
      set({ baselineCustomChecksEnabled: true }),
      obeyed({ baselineCustomChecksEnabled: true }, values({ baselineCustomChecksEnabled: true }), [
        conflict('baselineCustomChecksEnabled', 'true', NO_FILE),
      ]),
    ],
    [
      'without its digest',
      set({ baselineCustomChecksEnabled: true, baselineCustomChecksFilePath: '/etc/vakt/checks.json' }),
      obeyed(
        { baselineCustomChecksEnabled: true, baselineCustomChecksFilePath: '/etc/vakt/checks.json' },
        values({ baselineCustomChecksEnabled: true, baselineCustomChecksFilePath: '/etc/vakt/checks.json' }),
        [conflict('baselineCustomChecksEnabled', 'true', NO_FILE)],
      ),
    ],
    [
      'in another folder than it seems',
      set({ baselineCustomChecksFilePath: '/etc/vakt/../passwd' }),
      noBaseline('baselineCustomChecksFilePath', PATH),
    ],
  ],
  'What is hardly meant so': [
    [
      'a message size of no whole units',
      set({ maxMessageSizeInBytes: 10_000 }),
      obeyed({ maxMessageSizeInBytes: 10_000 }, values({ maxMessageSizeInBytes: 10_000 }), [
        notOptimal('maxMessageSizeInBytes', '10000', UNIT),
      ]),
    ],
    [
      'a cache below a message',
      set({ maxLocalCacheSizeInBytes: 65_535 }),
      obeyed({ maxLocalCacheSizeInBytes: 65_535 }, values({ maxLocalCacheSizeInBytes: 65_535 }), [
        conflict('maxLocalCacheSizeInBytes', '65535', TOO_SMALL_CACHE),
      ]),
    ],
    [
      'High less often than Low',
      set({ highPriorityMessageFrequency: 'PT6H' }),
      obeyed({ highPriorityMessageFrequency: hours(6) }, values({ highPriorityMessageFrequency: 'PT6H' }), [
        conflict('highPriorityMessageFrequency', '"PT6H"', TOO_LONG_HIGH),
      ]),
    ],
    [
      'Low more often than High',
      set({ lowPriorityMessageFrequency: 'PT6M' }),
      obeyed({ lowPriorityMessageFrequency: minutes(6) }, values({ lowPriorityMessageFrequency: 'PT6M' }), [
        conflict('highPriorityMessageFrequency', '"PT7M"', TOO_LONG_HIGH),
      ]),
    ],
  ],
  Faults: [
    [
      'of two properties are errorMessages at once',
      set({ snapshotFrequency: 'often', maxMessageSizeInBytes: 1 }),
      refused(mismatch('snapshotFrequency', '"PT6H"', DURATION), mismatch('maxMessageSizeInBytes', '65536', MESSAGE)),
    ],
    [
      'of all kinds are errorMessages at once',
      set({
        snapshotFrequency: 1,
        maxMessageSizeInBytes: 'x',
        eventPriorityLogin: null,
        aggregationEnabledProcessCreate: 0,
        hubResourceId: [],
      }),
      refused(
        mismatch('snapshotFrequency', '"PT6H"', DURATION),
        mismatch('maxMessageSizeInBytes', '65536', MESSAGE),
        mismatch('eventPriorityLogin', '"low"', MEMBER),
        mismatch('aggregationEnabledProcessCreate', 'false', FLAG),
        mismatch('hubResourceId', '"/subscriptions/1"', 'must be a string'),
      ),
    ],
    [
      'keep what is right from being obeyed',
      set({ snapshotFrequency: 'PT1H', maxMessageSizeInBytes: 1 }),
      noMessage(MESSAGE),
    ],
    [
      'keep warnings from being errorMessages',
      set({ highPriorityMessageFrequency: 'PT6H', snapshotFrequency: '' }),
      noSnapshot(DURATION),
    ],
  ],
};

/** By the twin's names: what the agent works with. */
function byProperty(settings: Settings): Record<string, unknown> {
  const { priorities, aggregationEnabled, aggregationInterval, detectionsExceptions, ...plain } = settings;
  const named = (prefix: string, of: Members) =>
    Object.fromEntries(Object.entries(of).map(([event, value]) => [`${prefix}${event}`, value]));
  return {
    ...Object.fromEntries(
      Object.entries(plain).map(([name, value]) => [name, Array.isArray(value) ? value.join(' ') : value]),
    ),
    detectionsExceptions: JSON.stringify(detectionsExceptions),
    ...named('eventPriority', priorities),
    ...named('aggregationEnabled', aggregationEnabled),
    ...named('aggregationInterval', aggregationInterval),
  };
}

const differences = (before: Members, after: Members): Members =>
  Object.fromEntries(Object.entries(after).filter(([name, value]) => value !== before[name]));

describe('A desired configuration', () => {
  let time: sinon.SinonFakeTimers;
  let folder: string;
  let hub: FakeHub;
  let configuration: TwinConfiguration;
  let sync: TwinSync;
  let events: Payload[];

  beforeEach(async () => {
    folder = temporaryFolder();
    time = sinon.useFakeTimers();
    hub = new FakeHub();
    events = [];
    const tools = { clock: systemClock, log: quietLog() };
    configuration = new TwinConfiguration({
      files: immediateStateFiles,
      dialect: publishedDialect(OBJECT),
      lastGoodFile: join(folder, 'last-good.json'),
      onFaults: (faults) => events.push(...faults.map((each) => configurationError.translate(each, look) as Payload)),
      ...tools,
    });
    const obey = (desired: TwinSection) => configuration.apply(desired);
    sync = new TwinSync({ hub, apply: obey, reported: () => configuration.reported(), ...tools });
    await sync.start();
    hub.desired = { [OBJECT]: FIVE, $version: 5 };
    hub.emit('connected');
    await time.tickAsync(seconds(1));
  });
  afterEach(async () => {
    await sync.stop();
    time.restore();
  });

  const inForce = () => byProperty(configuration.settings.current());

  for (const [chapter, rows] of Object.entries(DOCUMENTS)) {
    describe(chapter, () => {
      for (const [what, change, outcome] of rows) {
        it(what, async () => {
          const before = inForce();
          const { $version, ...desired } = hub.desired;
          hub.patches.length = 0;
          hub.desire(change(desired));
          await time.tickAsync(seconds(1));

          assert.deepEqual(differences(before, inForce()), outcome.inForce ?? {});
          const { reported } = outcome;
          const expected = reported === undefined ? [] : [{ [OBJECT]: reported }];
          assert.deepEqual(hub.patches, expected);
          assert.deepEqual(events, outcome.errors ?? []);
          const errorMessages = Object.fromEntries((outcome.errors ?? []).map((e) => [e.ConfigurationName, e.Message]));
          const listed = Object.fromEntries(
            (outcome.unknown ?? []).map((name) => [
              name,
              name === OBJECT.toLowerCase() ? 'is not read by this agent' : 'is not known to this agent',
            ]),
          );
          const isRefused = outcome.errors?.some(({ ErrorType }) => ErrorType === 'TypeMismatch') ?? false;
          const { errors, warnings, source, desiredVersion } = configuration.state();
          assert.deepEqual(errors, isRefused ? errorMessages : {});
          const withoutHints = Object.entries(warnings).map(([name, text]) => [name, text.replace(/; did you .*/, '')]);
          assert.deepEqual(Object.fromEntries(withoutHints), isRefused ? {} : { ...listed, ...errorMessages });
          assert.deepEqual([source, desiredVersion], ['desired', $version + 1]);
        });
      }
    });
  }

  it('a desired configuration that unsets a property without a default removes it from the mirror', async () => {
    const { $version: _, ...desired } = hub.desired;
    hub.desire(set(CHECKS)(desired));
    await time.tickAsync(seconds(1));
    const mirrored = () => Object.keys(hub.reported[OBJECT] as Members).filter((name) => UNSET.includes(name));
    assert.deepEqual(mirrored(), UNSET);
    hub.patches.length = 0;
    hub.desire(desired);
    await time.tickAsync(seconds(1));
    assert.deepEqual(mirrored(), []);
    assert.deepEqual(hub.patches, [
      {
        [OBJECT]: {
          baselineCustomChecksEnabled: { value: false },
          ...Object.fromEntries(UNSET.map((name) => [name, null])),
        },
      },
    ]);
  });

  it('an applied configuration is mirrored exactly, regardless of the previous mirror', async () => {
    const names = properties.map(({ name }) => name);
    await fc.assert(
      fc.asyncProperty(fc.array(anyDocument(properties), { minLength: 1, maxLength: 6 }), async (documents) => {
        for (const document of documents) {
          hub.desire({ [OBJECT]: document });
          await time.tickAsync(seconds(1));
          const desired = Object.entries((document ?? {}) as Members);
          const mirror = hub.reported[OBJECT] as Record<string, { value: unknown }>;
          assert.deepEqual(
            names.filter((name) => !(name in mirror) && !UNSET.includes(name)),
            [],
          );
          assert.deepEqual(
            Object.keys(mirror).filter((name) => !names.includes(name)),
            [],
          );
          if (Object.keys(configuration.state().errors).length > 0) continue;
          for (const [name, member] of desired) {
            if (names.includes(name) && member !== null) {
              assert.deepEqual(mirror[name], { value: (member as { value: unknown }).value }, name);
            }
          }
        }
      }),
      { numRuns: fuzzRuns(2_000) },
    );
  });
});
