import assert from 'node:assert/strict';
import { join } from 'node:path';
import fc from 'fast-check';
import { collectors } from '../../../src/agent/collectors/index.ts';
import type { ConfigurationChange } from '../../../src/agent/config/changes.ts';
import { TwinConfiguration } from '../../../src/agent/config/twin-configuration.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { days, hours, minutes } from '../../../src/core/base/duration.ts';
import { type SettingId, type SettingKey, settingRows } from '../../../src/core/contract/settings.ts';
import type { ConfigurationFault } from '../../../src/core/contract/streams.ts';
import type { Dialect } from '../../../src/core/twin/dialect.ts';
import { blindSpots, NO_LIMITS } from '../../../src/core/twin/limits.ts';
import { readDefaults, readTwin } from '../../../src/core/twin/twin.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { quietLog } from '../pipeline/memory-queues.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { goodDocument } from './arbitrary-twin.ts';
import { flatDialect } from './flat-dialect.ts';
import { properties, publishedDialect } from './published.ts';

const ROWS = settingRows(collectors);
const DIALECTS: Readonly<Record<string, Dialect>> = { published: publishedDialect(), flat: flatDialect(ROWS) };

function obeyed(reading: ReturnType<typeof readTwin>) {
  if (!reading.ok) assert.fail(JSON.stringify(reading.faults));
  return reading;
}

for (const [kind, dialect] of Object.entries(DIALECTS)) {
  describe(`The ${kind} dialect`, () => {
    it('has a name of its own for every setting', () => {
      assert.deepEqual(
        dialect.properties.map(({ id }) => id),
        ROWS.map(({ id }) => id),
      );
      assert.equal(new Set(dialect.properties.map(({ name }) => name)).size, ROWS.length);
    });

    it('reads what it writes, and finds it in the section that it makes', () => {
      fc.assert(
        fc.property(goodDocument(properties), (document) => {
          // Any good configuration, whatever the dialect.
          const { settings, spellings } = obeyed(readTwin(document, publishedDialect()));
          const written = dialect.write(spellings);
          const found = dialect.documentIn({ ...dialect.sectionWith(written), $version: 7, other: { value: 1 } });
          const again = obeyed(readTwin(JSON.parse(JSON.stringify(found)), dialect));
          assert.deepEqual(again.settings, settings);
          assert.deepEqual(again.mirror, written);
          assert.deepEqual([again.unknown, dialect.unknownNames(dialect.sectionWith(written))], [[], {}]);
        }),
      );
    });

    it('has the same defaults', () => {
      const { settings, spellings } = readDefaults(dialect);
      assert.deepEqual(settings, readDefaults(publishedDialect()).settings);
      for (const { id, fallback } of ROWS) assert.equal(spellings.get(id), fallback, id);
    });

    it('never throws', () => {
      fc.assert(
        fc.property(fc.anything(), fc.dictionary(fc.string(), fc.jsonValue()), (document, desired) => {
          const reading = readTwin(document, dialect);
          if (!reading.ok) assert.ok(reading.faults.length > 0);
          assert.equal(readTwin(dialect.documentIn(desired), dialect).ok, true);
          assert.equal(typeof dialect.unknownNames(desired), 'object');
        }),
      );
    });
  });
}

describe('A configuration in another dialect', () => {
  let folder: string;
  let reportedFaults: ConfigurationFault[];
  let changed: ConfigurationChange[];
  const dialect = flatDialect(ROWS);
  beforeEach(() => {
    folder = temporaryFolder();
    reportedFaults = [];
    changed = [];
  });
  const create = (limits = NO_LIMITS) =>
    new TwinConfiguration({
      files: immediateStateFiles,
      dialect,
      limits,
      lastGoodFile: join(folder, 'last-good.json'),
      onFaults: (faults) => reportedFaults.push(...faults),
      changed: (change) => changed.push(change),
      clock: systemClock,
      log: quietLog(),
    });

  it('the configuration is applied, mirrored, and kept over a restart', () => {
    const configuration = create();
    configuration.apply({
      $version: 7,
      vakt_snapshotFrequency: 'PT360M',
      vakt_priorities_Login: 'off',
      vakt_aggregationInterval_ProcessCreate: 'PT10M',
      vakt_baselineRoles: 'router',
      other: 1,
    });
    for (const each of [configuration, create()]) {
      const { snapshotFrequency, priorities, aggregationInterval, baselineRoles } = each.settings.current();
      assert.equal(snapshotFrequency, hours(6));
      assert.equal(priorities.Login, 'Off');
      assert.equal(aggregationInterval.ProcessCreate, minutes(10));
      assert.deepEqual(baselineRoles, ['router']);
      const reported = each.reported();
      assert.equal(reported.vakt_snapshotFrequency, 'PT360M');
      assert.equal(reported.vakt_priorities_Login, 'off');
      assert.equal(reported.vakt_lowPriorityMessageFrequency, 'PT5H');
      assert.equal(Object.keys(reported).length, ROWS.filter(({ fallback }) => fallback !== undefined).length);
    }
    assert.deepEqual(changed[0]?.changes, {
      vakt_snapshotFrequency: 'PT13H to PT360M',
      vakt_priorities_Login: 'High to off',
      vakt_aggregationInterval_ProcessCreate: 'PT1H to PT10M',
      vakt_baselineRoles: 'added router',
    });
  });

  it('faults, warnings, limits and misspelt names use the names of the dialect', () => {
    const configuration = create({ ...NO_LIMITS, shortestSnapshotFrequency: hours(1) });
    configuration.apply({ $version: 1, vakt_maxMessageSizeInBytes: 1, vakt_baselineCustomChecksEnabled: 'yes' });
    assert.deepEqual(configuration.state().errors, {
      vakt_maxMessageSizeInBytes: 'must be an integer from 8192 to 262144',
      vakt_baselineCustomChecksEnabled: 'must be true or false',
    });
    assert.deepEqual(
      reportedFaults.map(({ name, used }) => [name, used]),
      [
        ['vakt_maxMessageSizeInBytes', '204800'],
        ['vakt_baselineCustomChecksEnabled', 'false'],
      ],
    );
    configuration.apply({
      $version: 2,
      vakt_snapshotFrequency: 'PT1S',
      vakt_highPriorityMessageFrequency: 'PT6H',
      vakt_priority_Login: 'Off',
      vakt_baselineCustomChecksEnabled: true,
    });
    assert.deepEqual(configuration.state().warnings, {
      vakt_priority_Login: 'is not known to this agent; did you mean "vakt_priorities_Login"?',
      vakt_snapshotFrequency: 'is PT1H, not PT1S: limits.shortestSnapshotFrequency of the local configuration',
      vakt_highPriorityMessageFrequency: 'is longer than vakt_lowPriorityMessageFrequency',
      vakt_baselineCustomChecksEnabled:
        'needs vakt_baselineCustomChecksFilePath and vakt_baselineCustomChecksFileHash; only default rules are evaluated',
    });
    assert.equal(configuration.reported().vakt_snapshotFrequency, 'PT1H');
  });

  it('hidden events are reported by the names of the dialect', () => {
    const { settings } = obeyed(readTwin({ vakt_priorities_Login: 'Off' }, dialect));
    const limits = { ...NO_LIMITS, mayBeOff: new Set<string>(), longestMessageFrequency: days(1) };
    const name = (id: SettingId) => dialect.properties.find((property) => property.id === id)?.name ?? '';
    const { switchedOff, degrading } = blindSpots(settings, limits, collectors, name);
    assert.deepEqual(switchedOff, { Login: 'vakt_priorities_Login is Off' });
    assert.deepEqual(Object.keys(degrading), ['vakt_priorities_Login']);
  });
});

describe('The table of settings', () => {
  it('has rows for each event that come from its declaration', () => {
    const event = { name: 'FileChange', priority: 'High', isAggregated: true } as const;
    const added = settingRows([...collectors, event]).filter((row) => row.event === event.name);
    assert.deepEqual(
      added.map(({ id, key, fallback }) => [id, key, fallback]),
      [
        ['priorities.FileChange', 'priorities', 'High'],
        ['aggregationEnabled.FileChange', 'aggregationEnabled', true],
        ['aggregationInterval.FileChange', 'aggregationInterval', 'PT1H'],
      ],
    );
    const { settings } = readDefaults(flatDialect(settingRows([event])));
    assert.deepEqual(
      [settings.priorities, settings.aggregationEnabled, settings.aggregationInterval],
      [{ FileChange: 'High' }, { FileChange: true }, { FileChange: hours(1) }],
    );
    const never = { name: 'Heartbeat', priority: 'Low' } as const;
    assert.deepEqual(readDefaults(flatDialect(settingRows([never]))).settings.aggregationEnabled, {});
  });

  it('spells every default canonically', () => {
    const { values } = readDefaults(publishedDialect());
    for (const { id, fallback, kind } of ROWS) {
      if (fallback !== undefined) assert.deepEqual(kind.spell(values.get(id)), fallback, id);
    }
  });

  it('is a type: a misspelt setting does not compile', () => {
    // @ts-expect-error
    const id: SettingId = 'baselineRolls';
    // @ts-expect-error
    const key: SettingKey = 'priorities.Login';
    const good: SettingId = 'priorities.Login';
    assert.equal(new Set<string>([id, key, good]).size, 2);
  });
});
