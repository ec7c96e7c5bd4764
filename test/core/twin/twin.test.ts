import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import sinon from 'sinon';
import * as v from 'valibot';
import { days, hours, milliseconds, minutes, seconds } from '../../../src/core/base/duration.ts';
import { sizeInTwin } from '../../../src/core/twin/sections.ts';
import { readTwin, type TwinReading } from '../../../src/core/twin/twin.ts';
import { anyDocument, goodDocument } from '../../agent/config/arbitrary-twin.ts';
import { properties, publishedDialect } from '../../agent/config/published.ts';
import { fuzzRuns } from '../../fuzz.ts';
import { skip } from '../../harness/require.ts';
import { NO_PUBLISHED_SCHEMAS, publishedSchemas } from '../../published-schemas.ts';

const dialect = publishedDialect();
const NAMES = properties.map(({ name }) => name);
/** Those that have no value unless desired gives them one. */
const UNSET = properties.filter(({ fallback }) => fallback === undefined).map(({ name }) => name);
const DURATION = 'must be an ISO 8601 duration such as "PT7M"';
const SPAN = 'must be from PT1S to P365D';
const PRIORITY = 'must be "High", "Low" or "Off"';
const CACHE = 'must be an integer of at least 8192';
const MESSAGE = 'must be an integer from 8192 to 262144';
const FLAG = 'must be true or false';
const MEMBER = 'must be an object with a "value"';
const PATH = 'must be an absolute path without ".."';
const DIGEST = 'must be a SHA-256 digest of 64 hexadecimal digits';
const PRINTABLE = 'must be printable ASCII characters';
const ASCII = Array.from({ length: 95 }, (_, n) => String.fromCharCode(32 + n)).join('');

/** As it comes off the wire. */
const read = (document: unknown) =>
  readTwin(document === undefined ? undefined : JSON.parse(JSON.stringify(document)), dialect);

function accepted(reading: TwinReading) {
  if (!reading.ok) assert.fail(`refused: ${JSON.stringify(reading.faults)}`);
  return reading;
}

const defaults = accepted(readTwin(undefined, dialect));

describe('readTwin', () => {
  it('has the defaults of the contract', () => {
    // The contract's events; later events have their own.
    sinon.assert.match(defaults.settings, {
      highPriorityMessageFrequency: minutes(7),
      lowPriorityMessageFrequency: hours(5),
      snapshotFrequency: hours(13),
      maxLocalCacheSizeInBytes: 2_560_000,
      maxMessageSizeInBytes: 204_800,
      hubResourceId: '',
      priorities: {
        ProcessCreate: 'Low',
        ProcessTerminate: 'Low',
        ConnectionCreate: 'Low',
        Login: 'High',
        ListeningPorts: 'High',
        LocalUsers: 'High',
        FirewallConfiguration: 'Low',
        SystemInformation: 'Low',
        ConnectedHardware: 'Low',
        OSBaseline: 'Low',
        Diagnostic: 'Low',
        ConfigurationError: 'Low',
        DroppedEventsStatistics: 'Low',
        MessageStatistics: 'Low',
      },
      aggregationEnabled: { ProcessCreate: true, ProcessTerminate: true, ConnectionCreate: true },
      aggregationInterval: { ProcessCreate: hours(1), ProcessTerminate: hours(1), ConnectionCreate: hours(1) },
      baselineGroupsDisabled: [],
      baselineChecksDisabled: [],
      baselineRoles: [],
      baselineCustomChecksEnabled: false,
    });
    assert.deepEqual([defaults.warnings, defaults.unknown], [[], []]);
  });

  it('mirrors every property, defaults included, but not what is unset', () => {
    assert.deepEqual(
      Object.keys(defaults.mirror),
      NAMES.filter((name) => !UNSET.includes(name)),
    );
    assert.deepEqual(defaults.mirror.snapshotFrequency, { value: 'PT13H' });
    assert.deepEqual(defaults.mirror.aggregationEnabledProcessCreate, { value: true });
    assert.deepEqual(defaults.mirror.hubResourceId, { value: '' });
  });

  it('has the defaults of the published schemas', function () {
    if (publishedSchemas === undefined) return skip(this, NO_PUBLISHED_SCHEMAS);
    const file = join(publishedSchemas, 'module-twin', 'azureiotsecurity_default.json');
    const { desired } = JSON.parse(readFileSync(file, 'utf8')).properties;
    const published = desired['ms_iotn:urn_azureiot_Security_SecurityAgentConfiguration'];
    const common = NAMES.filter((name) => Object.hasOwn(published, name));
    assert.ok(common.length >= 15, `only ${common}`);
    for (const name of common) assert.deepEqual(defaults.mirror[name], published[name], name);
    assert.equal(accepted(read(published)).settings.priorities.ListeningPorts, 'High');
  });

  describe('applies', () => {
    const sane = { ...defaults.settings };
    for (const [what, document, expected] of [
      ['no object', undefined, {}],
      ['a removed object', null, {}],
      ['an empty object', {}, {}],
      ['a removed property', { snapshotFrequency: null }, {}],
      ['the least of a duration', { snapshotFrequency: { value: 'PT1S' } }, { snapshotFrequency: seconds(1) }],
      ['the most of a duration', { snapshotFrequency: { value: 'P365D' } }, { snapshotFrequency: days(365) }],
      ['a year', { snapshotFrequency: { value: 'P1Y' } }, { snapshotFrequency: days(365) }],
      ['a month', { snapshotFrequency: { value: 'P1M' } }, { snapshotFrequency: days(30) }],
      ['a minute', { snapshotFrequency: { value: 'PT1M' } }, { snapshotFrequency: minutes(1) }],
      ['zeros before it', { snapshotFrequency: { value: 'PT007M' } }, { snapshotFrequency: minutes(7) }],
      ['longer than a timer', { snapshotFrequency: { value: 'P25D' } }, { snapshotFrequency: days(25) }],
      [
        'every unit',
        { snapshotFrequency: { value: 'P0Y1M1W1DT1H1M1S' } },
        { snapshotFrequency: milliseconds(days(38) + hours(1) + minutes(1) + seconds(1)) },
      ],
      ['weeks', { lowPriorityMessageFrequency: { value: 'P2W' } }, { lowPriorityMessageFrequency: days(14) }],
      ['a fraction', { snapshotFrequency: { value: 'PT1.5S' } }, { snapshotFrequency: milliseconds(1_500) }],
      ['an odd spelling', { highPriorityMessageFrequency: { value: 'PT420S' } }, {}],
      ['the smallest cache', { maxLocalCacheSizeInBytes: { value: 8192 } }, { maxLocalCacheSizeInBytes: 8192 }],
      ['a huge cache', { maxLocalCacheSizeInBytes: { value: 2 ** 53 - 1 } }, { maxLocalCacheSizeInBytes: 2 ** 53 - 1 }],
      ['the smallest message', { maxMessageSizeInBytes: { value: 8192 } }, { maxMessageSizeInBytes: 8192 }],
      ['the largest message', { maxMessageSizeInBytes: { value: 262_144 } }, { maxMessageSizeInBytes: 262_144 }],
      [
        'a whole number with a point',
        JSON.parse('{"maxMessageSizeInBytes":{"value":8192.0}}'),
        { maxMessageSizeInBytes: 8192 },
      ],
      ['the longest id', { hubResourceId: { value: 'a'.repeat(512) } }, { hubResourceId: 'a'.repeat(512) }],
      ['every character of an id', { hubResourceId: { value: ASCII } }, { hubResourceId: ASCII }],
      ['members beside value', { hubResourceId: { value: 'id', x: 1, $comment: [] } }, { hubResourceId: 'id' }],
    ] as const) {
      it(what, () => assert.deepEqual(accepted(read(document)).settings, { ...sane, ...expected }));
    }

    for (const [spelling, expected] of [
      ['high', 'High'],
      ['HIGH', 'High'],
      ['LoW', 'Low'],
      ['oFF', 'Off'],
      ['Off', 'Off'],
    ] as const) {
      it(`applies the priority ${spelling}, and mirrors it as it was spelt`, () => {
        const reading = accepted(read({ eventPriorityLocalUsers: { value: spelling } }));
        assert.equal(reading.settings.priorities.LocalUsers, expected);
        assert.equal(reading.settings.priorities.ListeningPorts, 'High');
        assert.deepEqual(reading.mirror.eventPriorityLocalUsers, { value: spelling });
      });
    }

    it('applies the settings of aggregation', () => {
      const reading = accepted(
        read({
          aggregationEnabledProcessCreate: { value: false },
          aggregationIntervalProcessCreate: { value: 'PT10M' },
        }),
      );
      const { aggregationEnabled, aggregationInterval } = reading.settings;
      assert.deepEqual([aggregationEnabled.ProcessCreate, aggregationInterval.ProcessCreate], [false, minutes(10)]);
    });
  });

  describe('settings of the hardening checks', () => {
    const DIGEST = 'AB'.repeat(32);
    for (const [what, document, expected] of [
      ['exceptions', { baselineGroupsDisabled: { value: 'cron,ssh' } }, { baselineGroupsDisabled: ['cron', 'ssh'] }],
      [
        'a list with blanks, gaps and one name twice',
        { baselineChecksDisabled: { value: ' ssh.x , ,ssh.y,,ssh.x,' } },
        { baselineChecksDisabled: ['ssh.x', 'ssh.y'] },
      ],
      ['an empty list', { baselineRoles: { value: '' } }, {}],
      ['a list of nothing', { baselineRoles: { value: ' , ,' } }, {}],
      ['roles', { baselineRoles: { value: 'router' } }, { baselineRoles: ['router'] }],
      [
        'a name that no rule has, for others to warn of',
        { baselineRoles: { value: 'rooter!' } },
        { baselineRoles: ['rooter!'] },
      ],
      [
        'a file of checks',
        {
          baselineCustomChecksEnabled: { value: true },
          baselineCustomChecksFilePath: { value: '/etc/vakt/..checks.json' },
          baselineCustomChecksFileHash: { value: DIGEST },
        },
        {
          baselineCustomChecksEnabled: true,
          baselineCustomChecksFilePath: '/etc/vakt/..checks.json',
          baselineCustomChecksFileHash: DIGEST.toLowerCase(),
        },
      ],
      [
        'a file that is not enabled',
        { baselineCustomChecksFilePath: { value: '/x' } },
        { baselineCustomChecksFilePath: '/x' },
      ],
    ] as const) {
      it(what, () => {
        const { settings, mirror, warnings } = accepted(read(document));
        assert.deepEqual(settings, { ...defaults.settings, ...expected });
        assert.deepEqual(mirror, { ...defaults.mirror, ...document });
        assert.deepEqual(warnings, []);
      });
    }
  });

  describe('refuses', () => {
    const TOO_LARGE = JSON.parse('1e400');
    for (const [name, member, message] of [
      ['snapshotFrequency', {}, MEMBER],
      ['snapshotFrequency', { value: null }, MEMBER],
      ['snapshotFrequency', { Value: 'PT1S' }, MEMBER],
      ['snapshotFrequency', 'PT1S', MEMBER],
      ['snapshotFrequency', [], MEMBER],
      ['snapshotFrequency', [{ value: 'PT1S' }], MEMBER],
      ['snapshotFrequency', 7, MEMBER],
      ['snapshotFrequency', true, MEMBER],
      ['snapshotFrequency', { value: 13 }, DURATION],
      ['snapshotFrequency', { value: ['PT1S'] }, DURATION],
      ['snapshotFrequency', { value: { value: 'PT1S' } }, DURATION],
      ['snapshotFrequency', { value: '' }, DURATION],
      ['snapshotFrequency', { value: '13h' }, DURATION],
      ['snapshotFrequency', { value: 'pt13h' }, DURATION],
      ['snapshotFrequency', { value: 'PT0S' }, DURATION],
      ['snapshotFrequency', { value: 'P1H' }, DURATION],
      ['snapshotFrequency', { value: 'PT' }, DURATION],
      ['snapshotFrequency', { value: 'PT1S1H' }, DURATION],
      ['snapshotFrequency', { value: ' PT1H ' }, DURATION],
      ['snapshotFrequency', { value: 'PT１H' }, DURATION],
      ['snapshotFrequency', { value: '13:00:00' }, DURATION],
      ['snapshotFrequency', { value: '-PT1H' }, DURATION],
      ['snapshotFrequency', { value: 'PT1.5H1S' }, DURATION],
      [
        'snapshotFrequency',
        { value: `PT${'0'.repeat(70)}1S` },
        'must be an ISO 8601 duration of at most 64 characters',
      ],
      ['snapshotFrequency', { value: 'PT0.999S' }, SPAN],
      ['snapshotFrequency', { value: 'PT0.9996S' }, SPAN],
      ['snapshotFrequency', { value: 'P365DT0.0004S' }, SPAN],
      ['snapshotFrequency', { value: 'P365DT1S' }, SPAN],
      ['snapshotFrequency', { value: 'P999999999999999Y' }, SPAN],
      ['highPriorityMessageFrequency', { value: 'PT0.1S' }, SPAN],
      ['lowPriorityMessageFrequency', { value: 'P366D' }, SPAN],
      ['aggregationIntervalProcessCreate', { value: 'PT0.5S' }, SPAN],
      ['aggregationIntervalProcessCreate', { value: false }, DURATION],
      ['maxLocalCacheSizeInBytes', { value: 8191 }, CACHE],
      ['maxLocalCacheSizeInBytes', { value: 0 }, CACHE],
      ['maxLocalCacheSizeInBytes', { value: -8192 }, CACHE],
      ['maxLocalCacheSizeInBytes', { value: 8192.5 }, CACHE],
      ['maxLocalCacheSizeInBytes', { value: '2560000' }, CACHE],
      ['maxLocalCacheSizeInBytes', { value: 1e300 }, CACHE],
      ['maxLocalCacheSizeInBytes', { value: 2 ** 53 }, CACHE],
      ['maxMessageSizeInBytes', { value: 8191 }, MESSAGE],
      ['maxMessageSizeInBytes', { value: 262_145 }, MESSAGE],
      ['maxMessageSizeInBytes', { value: true }, MESSAGE],
      ['maxMessageSizeInBytes', { value: [8192] }, MESSAGE],
      ['eventPriorityProcessCreate', { value: 'Medium' }, PRIORITY],
      ['eventPriorityProcessCreate', { value: '' }, PRIORITY],
      ['eventPriorityProcessCreate', { value: ' High' }, PRIORITY],
      ['eventPriorityProcessCreate', { value: 1 }, PRIORITY],
      ['eventPriorityProcessCreate', { value: false }, PRIORITY],
      ['eventPriorityProcessCreate', { value: 'constructor' }, PRIORITY],
      ['eventPriorityProcessCreate', { value: '__proto__' }, PRIORITY],
      ['aggregationEnabledProcessCreate', { value: 'true' }, FLAG],
      ['aggregationEnabledProcessCreate', { value: 1 }, FLAG],
      ['aggregationEnabledProcessCreate', { value: {} }, FLAG],
      ['baselineCustomChecksEnabled', { value: 'true' }, FLAG],
      ['baselineCustomChecksFilePath', { value: null }, MEMBER],
      ['baselineCustomChecksFilePath', { value: '' }, PATH],
      ['baselineCustomChecksFilePath', { value: 'checks.json' }, PATH],
      ['baselineCustomChecksFilePath', { value: '/etc/../checks.json' }, PATH],
      ['baselineCustomChecksFilePath', { value: '/etc/..' }, PATH],
      ['baselineCustomChecksFilePath', { value: `/${'x'.repeat(1024)}` }, 'must be at most 1024 characters'],
      ['baselineCustomChecksFilePath', { value: '/etc/\u0000' }, PRINTABLE],
      ['baselineCustomChecksFilePath', { value: ['/etc/x'] }, 'must be a string'],
      ['baselineCustomChecksFileHash', { value: 'ab'.repeat(31) }, DIGEST],
      ['baselineCustomChecksFileHash', { value: `${'ab'.repeat(32)} ` }, DIGEST],
      ['baselineCustomChecksFileHash', { value: 'xy'.repeat(32) }, DIGEST],
      ['baselineCustomChecksFileHash', { value: 0 }, DIGEST],
      ['baselineGroupsDisabled', { value: ['cron'] }, 'must be a string'],
      ['baselineChecksDisabled', { value: 'x'.repeat(2049) }, 'must be at most 2048 characters'],
      ['baselineRoles', { value: 'router\n' }, PRINTABLE],
      ['hubResourceId', { value: 7 }, 'must be a string'],
      ['hubResourceId', { value: 'a'.repeat(513) }, 'must be at most 512 characters'],
      ['hubResourceId', { value: '/subscriptions/\ud800' }, PRINTABLE],
      ['hubResourceId', { value: '\udc00' }, PRINTABLE],
      ['hubResourceId', { value: '/subscriptions/é' }, PRINTABLE],
      ['hubResourceId', { value: '/subscriptions/x\n' }, PRINTABLE],
      ['hubResourceId', { value: 'a\u0000b' }, PRINTABLE],
      ['hubResourceId', { value: 'a\u007f' }, PRINTABLE],
    ] as const) {
      it(`${name}: ${JSON.stringify(member).slice(0, 60)}`, () => {
        assert.deepEqual(read({ [name]: member }), { ok: false, faults: [{ name, type: 'TypeMismatch', message }] });
      });
    }

    for (const number of [Number.NaN, TOO_LARGE, Number.NEGATIVE_INFINITY]) {
      it(`${number}, which JSON can bring although it cannot write it`, () => {
        for (const name of ['maxLocalCacheSizeInBytes', 'maxMessageSizeInBytes'])
          assert.equal(readTwin({ [name]: { value: number } }, dialect).ok, false);
      });
    }

    for (const whole of [[], [1], 'text', '', 7, 0, true, false]) {
      it(`${JSON.stringify(whole)} in the object's place`, () => {
        const faults = [{ name: '(configuration)', type: 'TypeMismatch', message: 'must be an object' }];
        assert.deepEqual(read(whole), { ok: false, faults });
      });
    }

    it('everything that is wrong at once', () => {
      const reading = read(Object.fromEntries(NAMES.map((name) => [name, { value: [] }])));
      assert.ok(!reading.ok);
      assert.deepEqual(
        reading.faults.map(({ name }) => name),
        NAMES,
      );
    });
  });

  describe('lists what it does not know', () => {
    it('ignores inherited properties', () => {
      const inherited = Object.create({ snapshotFrequency: { value: 'PT1S' } });
      assert.deepEqual(accepted(readTwin(inherited, dialect)).settings, defaults.settings);
      const valueless = { snapshotFrequency: Object.create({ value: 'PT1S' }) };
      assert.equal(readTwin(valueless, dialect).ok, false);
    });

    it('ignores inherited values', () => {
      const reading = readTwin(JSON.parse('{"snapshotFrequency": {"__proto__": {"value": "PT1S"}}}'), dialect);
      assert.equal(reading.ok, false);
    });
  });

  describe('warnings', () => {
    for (const [what, document] of [
      ['a cache of just a message', { maxLocalCacheSizeInBytes: { value: 204_800 } }],
      ['High as often as Low', { highPriorityMessageFrequency: { value: 'PT5H' } }],
      ['a message size of whole units', { maxMessageSizeInBytes: { value: 12_288 } }],
    ] as const) {
      it(`${what} causes no warning`, () => assert.deepEqual(accepted(read(document)).warnings, []));
    }

    it('warns of several conflicts at once', () => {
      const reading = accepted(
        read({
          maxMessageSizeInBytes: { value: 262_143 },
          maxLocalCacheSizeInBytes: { value: 8192 },
          lowPriorityMessageFrequency: { value: 'PT1S' },
        }),
      );
      assert.equal(reading.warnings.length, 3);
    });
  });

  it('mirrors every desired value to the letter, and every other property with its default', () => {
    fc.assert(
      fc.property(goodDocument(properties), (document) => {
        const { mirror } = accepted(read(document));
        for (const name of NAMES) {
          const desired = (document[name] ?? undefined) as { value: unknown } | undefined;
          assert.deepEqual(mirror[name], desired === undefined ? defaults.mirror[name] : { value: desired.value });
        }
      }),
    );
  });

  it('treats its own mirror as the same configuration', () => {
    fc.assert(
      fc.property(goodDocument(properties), (document) => {
        const { settings, mirror } = accepted(read(document));
        const again = accepted(read(mirror));
        assert.deepEqual(again.settings, settings);
        assert.deepEqual(again.mirror, mirror);
      }),
    );
  });

  it('refuses as a whole what would leave too little of the reported section for the status', () => {
    const long = { value: 'a'.repeat(2_048) };
    const lists = Object.fromEntries(
      properties.filter(({ kind }) => v.safeParse(kind.schema, long.value).success).map(({ name }) => [name, long]),
    );
    assert.ok(Object.keys(lists).length >= 8);
    const { mirror } = accepted(read(lists));
    const exception = { rule: 'r', field: 'f', equals: 'x', comment: 'c'.repeat(500) };
    const exceptions = Object.fromEntries(Array.from({ length: 10 }, (_, n) => [`e${n}`, exception]));
    const reading = read({ ...lists, detectionsExceptions: { value: exceptions } });
    assert.ok(!reading.ok);
    const size = sizeInTwin({ ...mirror, detectionsExceptions: { value: exceptions } });
    assert.deepEqual(reading.faults, [
      {
        name: '(configuration)',
        type: 'TypeMismatch',
        message: `has ${size} bytes with its defaults, more than the 20000 that may be reported`,
      },
    ]);
  });

  it('never throws, and never lets anything out of its range', () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything(), anyDocument(properties)), (document) => {
        const reading = readTwin(document, dialect);
        if (!reading.ok) return assert.ok(reading.faults.length > 0);
        const { settings } = reading;
        for (const span of [
          settings.highPriorityMessageFrequency,
          settings.lowPriorityMessageFrequency,
          settings.snapshotFrequency,
          ...Object.values(settings.aggregationInterval),
        ]) {
          assert.ok(span >= seconds(1) && span <= days(365));
        }
        assert.ok(settings.maxMessageSizeInBytes >= 8192 && settings.maxMessageSizeInBytes <= 262_144);
        assert.ok(settings.maxLocalCacheSizeInBytes >= 8192);
        assert.match(settings.hubResourceId, /^[ -~]{0,512}$/);
        const { baselineGroupsDisabled: groups, baselineChecksDisabled: checks, baselineRoles: roles } = settings;
        const { baselineCustomChecksFilePath: path, baselineCustomChecksFileHash: hash } = settings;
        for (const name of [groups, checks, roles].flat()) assert.match(name, /^[!-+\--~](?:[ -+\--~]*[!-+\--~])?$/);
        if (path !== undefined) assert.match(path, /^(?!.*\/\.\.(?:\/|$))\/[ -~]{0,1023}$/);
        if (hash !== undefined) assert.match(hash, /^[0-9a-f]{64}$/);
        for (const priority of Object.values(settings.priorities)) assert.match(priority, /^(High|Low|Off)$/);
        return undefined;
      }),
      { numRuns: fuzzRuns(5_000) },
    );
  });
});
