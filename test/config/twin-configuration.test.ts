import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { hours, minutes } from '../../src/base/duration.ts';
import { createLog, type LogLine } from '../../src/base/log.ts';
import { collectors } from '../../src/collectors/index.ts';
import { twinProperties } from '../../src/config/twin.ts';
import { TwinConfiguration } from '../../src/config/twin-configuration.ts';
import type { ConfigurationFault } from '../../src/contract/sources.ts';

const NAME = 'configuration';
const SIX_HOURS = { snapshotFrequency: { value: 'PT6H' } };
const BAD = { snapshotFrequency: { value: 'often' }, maxMessageSizeInBytes: { value: 1 } };

describe('TwinConfiguration', () => {
  let folder: string;
  let lastGoodFile: string;
  let told: ConfigurationFault[][];
  let lines: LogLine[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'vakt-configuration-'));
    lastGoodFile = join(folder, 'last-good.json');
    told = [];
    lines = [];
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const create = () =>
    new TwinConfiguration({
      properties: twinProperties(collectors),
      objectName: NAME,
      lastGoodFile,
      tell: (faults) => told.push([...faults]),
      clock: systemClock,
      log: createLog({ level: 'silent', tap: { level: 'debug', accept: (line) => lines.push(line) } }),
    });
  const mirrored = (configuration: TwinConfiguration, name: string) =>
    (configuration.reported()[NAME] as Record<string, unknown>)[name];

  it('starts with the defaults', () => {
    const configuration = create();
    assert.equal(configuration.settings.current().snapshotFrequency, hours(13));
    assert.deepEqual(configuration.state(), { source: 'defaults', errors: {}, warnings: {} });
    assert.deepEqual(mirrored(configuration, 'snapshotFrequency'), { value: 'PT13H' });
    assert.deepEqual([told, lines], [[], []]);
  });

  it('puts a desired configuration in force, and tells those who wait on it', () => {
    const configuration = create();
    const changes: number[][] = [];
    configuration.settings.onChange((before) =>
      changes.push([before.snapshotFrequency, configuration.settings.current().snapshotFrequency]),
    );
    configuration.obey({ $version: 7, [NAME]: SIX_HOURS });
    assert.deepEqual(changes, [[hours(13), hours(6)]]);
    assert.deepEqual(configuration.state(), { desiredVersion: 7, source: 'desired', errors: {}, warnings: {} });
    assert.deepEqual(mirrored(configuration, 'snapshotFrequency'), { value: 'PT6H' });
    assert.deepEqual(told, []);
  });

  it('shows listeners a mirror that fits the settings', () => {
    const configuration = create();
    let seen: unknown;
    configuration.settings.onChange(() => {
      seen = mirrored(configuration, 'snapshotFrequency');
    });
    configuration.obey({ $version: 7, [NAME]: SIX_HOURS });
    assert.deepEqual(seen, { value: 'PT6H' });
  });

  it('goes back to the default of a property that was removed, and of the object', () => {
    const configuration = create();
    configuration.obey({ $version: 1, [NAME]: { ...SIX_HOURS, hubResourceId: { value: 'id' } } });
    configuration.obey({ $version: 2, [NAME]: { hubResourceId: { value: 'id' } } });
    assert.equal(configuration.settings.current().snapshotFrequency, hours(13));
    assert.equal(configuration.settings.current().hubResourceId, 'id');
    for (const desired of [{ $version: 3 }, { $version: 4, [NAME]: null }]) {
      configuration.obey({ $version: 2, [NAME]: { hubResourceId: { value: 'id' } } });
      configuration.obey(desired);
      assert.equal(configuration.settings.current().hubResourceId, '');
      assert.deepEqual(mirrored(configuration, 'hubResourceId'), { value: '' });
    }
  });

  it('looks for its object among the own members only', () => {
    const configuration = create();
    configuration.obey(Object.assign(Object.create({ [NAME]: SIX_HOURS }), { $version: 1 }));
    assert.equal(configuration.settings.current().snapshotFrequency, hours(13));
  });

  it('keeps settings and mirror when it refuses', () => {
    const configuration = create();
    configuration.obey({ $version: 7, [NAME]: SIX_HOURS });
    const before = configuration.settings.current();
    const changed: unknown[] = [];
    configuration.settings.onChange((settings) => changed.push(settings));
    configuration.obey({ $version: 8, [NAME]: BAD });
    assert.equal(configuration.settings.current(), before);
    assert.deepEqual(changed, []);
    assert.deepEqual(mirrored(configuration, 'snapshotFrequency'), { value: 'PT6H' });
    assert.deepEqual(configuration.state(), {
      desiredVersion: 8,
      source: 'desired',
      errors: {
        snapshotFrequency: 'must be an ISO 8601 duration such as "PT7M"',
        maxMessageSizeInBytes: 'must be an integer from 8192 to 262144',
      },
      warnings: {},
    });
  });

  it('forgets the errors with the next good one', () => {
    const configuration = create();
    configuration.obey({ $version: 8, [NAME]: BAD });
    assert.equal(configuration.state().source, 'defaults');
    configuration.obey({ $version: 9, [NAME]: SIX_HOURS });
    assert.deepEqual(configuration.state(), { desiredVersion: 9, source: 'desired', errors: {}, warnings: {} });
  });

  it('tells of every fault once, with the value that stays in force', () => {
    const configuration = create();
    configuration.obey({ $version: 7, [NAME]: SIX_HOURS });
    configuration.obey({ $version: 8, [NAME]: BAD });
    assert.equal(told.length, 1);
    assert.deepEqual(
      told[0]?.map(({ name, type, used }) => [name, type, used]),
      [
        ['snapshotFrequency', 'TypeMismatch', '"PT6H"'],
        ['maxMessageSizeInBytes', 'TypeMismatch', '204800'],
      ],
    );
    assert.ok(told[0]?.every(({ time, message }) => time instanceof Date && message.length > 0));
    assert.deepEqual(
      lines.filter(({ level }) => level === 'error').map(({ id }) => id),
      ['TWIN_INVALID'],
    );
  });

  it('says nothing again at a change of something else, and notes its version', () => {
    const configuration = create();
    const changes: unknown[] = [];
    configuration.settings.onChange((before) => changes.push(before));
    const doubtful = { maxMessageSizeInBytes: { value: 10_000 } };
    for (const [version, object] of [doubtful, doubtful, BAD, BAD, BAD].entries()) {
      configuration.obey({ $version: version, [NAME]: structuredClone(object), other: version });
      assert.equal(configuration.state().desiredVersion, version);
    }
    assert.deepEqual(
      told.flat().map(({ name, type }) => [name, type]),
      [
        ['maxMessageSizeInBytes', 'NotOptimal'],
        ['snapshotFrequency', 'TypeMismatch'],
        ['maxMessageSizeInBytes', 'TypeMismatch'],
      ],
    );
    assert.equal(changes.length, 1);
    assert.equal(Object.keys(configuration.state().errors).length, 2);
    configuration.obey({ $version: 5, [NAME]: doubtful });
    assert.deepEqual(configuration.state().errors, {});
    assert.equal(told.length, 3);
  });

  it('tells of an object that is none', () => {
    create().obey({ $version: 8, [NAME]: 'text' });
    assert.deepEqual(
      told[0]?.map(({ name, used }) => [name, used]),
      [['(configuration)', 'null']],
    );
  });

  it('tells of doubts once, with the value in force, and of unknown names in the state', () => {
    const configuration = create();
    configuration.obey({ $version: 7, [NAME]: { maxMessageSizeInBytes: { value: 10_000 }, colour: { value: 'red' } } });
    assert.deepEqual(
      told.flat().map(({ name, type, used }) => [name, type, used]),
      [['maxMessageSizeInBytes', 'NotOptimal', '10000']],
    );
    assert.deepEqual(Object.keys(configuration.state().warnings), ['colour', 'maxMessageSizeInBytes']);
  });

  it('keeps the list of unknown names short', () => {
    const configuration = create();
    const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`unknown${n}`, n]));
    configuration.obey({ $version: 7, [NAME]: many });
    assert.equal(Object.keys(configuration.state().warnings).length, 32);
  });

  describe('the last good one', () => {
    it('is in force after a restart, as it was spelt', () => {
      create().obey({ $version: 7, [NAME]: { highPriorityMessageFrequency: { value: 'PT180S' } } });
      const again = create();
      assert.equal(again.settings.current().highPriorityMessageFrequency, minutes(3));
      assert.deepEqual(mirrored(again, 'highPriorityMessageFrequency'), { value: 'PT180S' });
      assert.deepEqual(again.state(), { source: 'lastKnownGood', errors: {}, warnings: {} });
    });

    it('survives one that is refused', () => {
      const configuration = create();
      configuration.obey({ $version: 7, [NAME]: SIX_HOURS });
      configuration.obey({ $version: 8, [NAME]: BAD });
      assert.equal(create().settings.current().snapshotFrequency, hours(6));
    });

    it('is also that there is none', () => {
      const configuration = create();
      configuration.obey({ $version: 7, [NAME]: SIX_HOURS });
      configuration.obey({ $version: 8 });
      assert.equal(create().settings.current().snapshotFrequency, hours(13));
    });

    for (const damaged of [
      '',
      '{',
      'null',
      '7',
      '"text"',
      '[]',
      '{"configuration":{"snapshotFrequency":7}}',
      '\u0000'.repeat(100),
    ]) {
      it(`is forgotten when its file holds ${JSON.stringify(damaged.slice(0, 50))}`, () => {
        writeFileSync(lastGoodFile, damaged);
        const configuration = create();
        assert.equal(configuration.settings.current().snapshotFrequency, hours(13));
        configuration.obey({ $version: 7, [NAME]: SIX_HOURS });
        assert.equal(create().settings.current().snapshotFrequency, hours(6));
      });
    }

    it('costs a warning, not the configuration, when it cannot be written', () => {
      mkdirSync(lastGoodFile);
      const configuration = create();
      lines = [];
      configuration.obey({ $version: 7, [NAME]: SIX_HOURS });
      assert.equal(configuration.settings.current().snapshotFrequency, hours(6));
      assert.deepEqual(lines.filter(({ level }) => level === 'warn').length, 1);
    });

    it('is written at the next occasion when it could not be, and not one that was refused', () => {
      mkdirSync(lastGoodFile);
      const configuration = create();
      configuration.obey({ $version: 7, [NAME]: SIX_HOURS });
      configuration.obey({ $version: 8, [NAME]: BAD });
      rmSync(lastGoodFile, { recursive: true });
      configuration.obey({ $version: 9, [NAME]: BAD, other: 1 });
      assert.equal(create().settings.current().snapshotFrequency, hours(6));
    });

    it('holds what was desired, and nothing else of the twin', () => {
      create().obey({ $version: 7, [NAME]: SIX_HOURS, other: { secret: 1 } });
      assert.ok(existsSync(lastGoodFile));
      assert.deepEqual(JSON.parse(readFileSync(lastGoodFile, 'utf8')), { configuration: SIX_HOURS });
    });
  });

  it('freezes what is in force', () => {
    const configuration = create();
    configuration.obey({ $version: 7, [NAME]: SIX_HOURS });
    assert.ok(Object.isFrozen(configuration.settings.current()));
  });
});
