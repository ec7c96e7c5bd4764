import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConfigurationChange } from '../../../src/agent/config/changes.ts';
import { TwinConfiguration } from '../../../src/agent/config/twin-configuration.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { hours, minutes } from '../../../src/core/base/duration.ts';
import { createLog, type LogLine } from '../../../src/core/base/log.ts';
import type { ConfigurationFault } from '../../../src/core/contract/streams.ts';
import { type Limits, NO_LIMITS } from '../../../src/core/twin/limits.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { immediateStateFiles } from '../state/immediate-state-files.ts';
import { publishedDialect } from './published.ts';

const NAME = 'configuration';
const SIX_HOURS = { snapshotFrequency: { value: 'PT6H' } };
const BAD = { snapshotFrequency: { value: 'often' }, maxMessageSizeInBytes: { value: 1 } };

describe('TwinConfiguration', () => {
  let folder: string;
  let lastGoodFile: string;
  let reportedFaults: ConfigurationFault[][];
  let lines: LogLine[];
  /** Warnings and errors, with all their fields. */
  let written: Record<string, unknown>[];
  let changed: ConfigurationChange[];

  beforeEach(() => {
    changed = [];
    folder = temporaryFolder();
    lastGoodFile = join(folder, 'last-good.json');
    reportedFaults = [];
    lines = [];
    written = [];
  });

  const create = (limits: Limits = NO_LIMITS) =>
    new TwinConfiguration({
      files: immediateStateFiles,
      limits,
      changed: (change) => changed.push(change),
      dialect: publishedDialect(NAME),
      lastGoodFile,
      onFaults: (faults) => {
        if (faults.length > 0) reportedFaults.push([...faults]);
      },
      clock: systemClock,
      log: createLog({
        level: 'warn',
        destination: { write: (line) => written.push(JSON.parse(line)) },
        tap: { level: 'debug', accept: (line) => lines.push(line) },
      }),
    });
  const mirrored = (configuration: TwinConfiguration, name: string) =>
    (configuration.reported()[NAME] as Record<string, unknown>)[name];

  it('starts with the defaults', () => {
    const configuration = create();
    assert.equal(configuration.settings.current().snapshotFrequency, hours(13));
    assert.deepEqual(configuration.state(), { source: 'defaults', errors: {}, warnings: {} });
    assert.deepEqual(mirrored(configuration, 'snapshotFrequency'), { value: 'PT13H' });
    assert.deepEqual([reportedFaults, lines], [[], []]);
  });

  it('applies a desired configuration and notifies its listeners', () => {
    const configuration = create();
    const changes: number[][] = [];
    configuration.settings.onChange((before) =>
      changes.push([before.snapshotFrequency, configuration.settings.current().snapshotFrequency]),
    );
    configuration.apply({ $version: 7, [NAME]: SIX_HOURS });
    assert.deepEqual(changes, [[hours(13), hours(6)]]);
    assert.deepEqual(configuration.state(), { desiredVersion: 7, source: 'desired', errors: {}, warnings: {} });
    assert.deepEqual(mirrored(configuration, 'snapshotFrequency'), { value: 'PT6H' });
    assert.deepEqual(reportedFaults, []);
  });

  it('shows listeners a mirror that fits the settings', () => {
    const configuration = create();
    let seen: unknown;
    configuration.settings.onChange(() => {
      seen = mirrored(configuration, 'snapshotFrequency');
    });
    configuration.apply({ $version: 7, [NAME]: SIX_HOURS });
    assert.deepEqual(seen, { value: 'PT6H' });
  });

  it('looks for its object among the own members only', () => {
    const configuration = create();
    configuration.apply(Object.assign(Object.create({ [NAME]: SIX_HOURS }), { $version: 1 }));
    assert.equal(configuration.settings.current().snapshotFrequency, hours(13));
  });

  it('keeps settings and mirror when it refuses', () => {
    const configuration = create();
    configuration.apply({ $version: 7, [NAME]: SIX_HOURS });
    const before = configuration.settings.current();
    const changed: unknown[] = [];
    configuration.settings.onChange((settings) => changed.push(settings));
    configuration.apply({ $version: 8, [NAME]: BAD });
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
    configuration.apply({ $version: 8, [NAME]: BAD });
    assert.equal(configuration.state().source, 'defaults');
    configuration.apply({ $version: 9, [NAME]: SIX_HOURS });
    assert.deepEqual(configuration.state(), { desiredVersion: 9, source: 'desired', errors: {}, warnings: {} });
  });

  it('reports every fault once, with the value that is kept', () => {
    const configuration = create();
    configuration.apply({ $version: 7, [NAME]: SIX_HOURS });
    configuration.apply({ $version: 8, [NAME]: BAD });
    assert.equal(reportedFaults.length, 1);
    assert.deepEqual(
      reportedFaults[0]?.map(({ name, type, used }) => [name, type, used]),
      [
        ['snapshotFrequency', 'TypeMismatch', '"PT6H"'],
        ['maxMessageSizeInBytes', 'TypeMismatch', '204800'],
      ],
    );
    assert.ok(reportedFaults[0]?.every(({ time, message }) => time instanceof Date && message.length > 0));
    assert.deepEqual(
      lines.filter(({ level }) => level === 'error').map(({ id }) => id),
      ['TWIN_INVALID'],
    );
  });

  it('repeats no fault when an unrelated property changes, and notes the version', () => {
    const configuration = create();
    const changes: unknown[] = [];
    configuration.settings.onChange((before) => changes.push(before));
    const warned = { maxMessageSizeInBytes: { value: 10_000 } };
    for (const [version, object] of [warned, warned, BAD, BAD, BAD].entries()) {
      configuration.apply({ $version: version, [NAME]: structuredClone(object), other: version });
      assert.equal(configuration.state().desiredVersion, version);
    }
    assert.deepEqual(
      reportedFaults.flat().map(({ name, type }) => [name, type]),
      [
        ['maxMessageSizeInBytes', 'NotOptimal'],
        ['snapshotFrequency', 'TypeMismatch'],
        ['maxMessageSizeInBytes', 'TypeMismatch'],
      ],
    );
    assert.equal(changes.length, 1);
    assert.equal(Object.keys(configuration.state().errors).length, 2);
    configuration.apply({ $version: 5, [NAME]: warned });
    assert.deepEqual(configuration.state().errors, {});
    assert.equal(reportedFaults.length, 3);
  });

  describe('a change', () => {
    const names = () => changed.map(({ changes }) => Object.keys(changes).join(' '));

    it('a change is reported with its names and new values', () => {
      const configuration = create();
      configuration.apply({ $version: 7, [NAME]: { ...SIX_HOURS, eventPriorityLogin: { value: 'off' } } });
      assert.deepEqual(
        changed.map(({ desiredVersion, changes }) => [desiredVersion, changes]),
        [[7, { snapshotFrequency: 'PT13H to PT6H', eventPriorityLogin: 'High to off' }]],
      );
      configuration.apply({ $version: 8, [NAME]: null });
      assert.deepEqual(names()[1], 'snapshotFrequency eventPriorityLogin');
    });

    it('a change of a list is reported as additions and removals', () => {
      const configuration = create();
      const rules = Array.from({ length: 20 }, (_, at) => `VAKT_Rule${at}`);
      const reportedFaults = (version: number, value: string) => {
        configuration.apply({ $version: version, [NAME]: { detectionsDisabledRules: { value } } });
        return changed.at(-1)?.changes.detectionsDisabledRules;
      };
      assert.equal(reportedFaults(7, rules.join(',')), `added ${rules.join(',')}`);
      assert.equal(reportedFaults(8, [...rules.slice(1), 'VAKT_A'].join(',')), 'added VAKT_A, removed VAKT_Rule0');
      assert.equal(reportedFaults(9, 'VAKT_A,VAKT_Rule1'), `removed ${rules.slice(2).join(',')}`);
      assert.equal(reportedFaults(10, 'VAKT_Rule1,VAKT_A'), 'VAKT_A,VAKT_Rule1 to VAKT_Rule1,VAKT_A');
      assert.match(reportedFaults(11, 'x'.repeat(600)) ?? '', /^added x{512}…, removed VAKT_Rule1,VAKT_A$/);
    });

    it('no change is reported if only the spelling, an unrelated property, or nothing changed', () => {
      const configuration = create();
      configuration.apply({ $version: 7, [NAME]: { snapshotFrequency: { value: 'PT13H' } } });
      configuration.apply({ $version: 8, [NAME]: { snapshotFrequency: { value: 'PT780M' } }, other: 1 });
      configuration.apply({ $version: 9, [NAME]: { eventPriorityLogin: { value: 'HIGH' }, colour: 1 } });
      configuration.apply({ $version: 10, [NAME]: BAD });
      assert.deepEqual(changed, []);
    });

    it('no change is reported after a restart, unless the twin was changed in the meantime', () => {
      create().apply({ $version: 7, [NAME]: SIX_HOURS });
      changed = [];
      create().apply({ $version: 7, [NAME]: SIX_HOURS });
      assert.deepEqual(changed, []);
      create().apply({ $version: 8, [NAME]: { ...SIX_HOURS, eventPriorityProcessCreate: { value: 'Off' } } });
      assert.deepEqual(names(), ['eventPriorityProcessCreate']);
    });
  });

  describe('local limits', () => {
    const limits: Limits = { ...NO_LIMITS, shortestSnapshotFrequency: hours(1), alwaysOn: new Set(['Login']) };
    const asked = { snapshotFrequency: { value: 'PT1S' }, eventPriorityLogin: { value: 'Off' } };
    const said = () => lines.filter(({ message }) => message.startsWith('Local limits hold')).length;

    it('local limits are applied, mirrored, and reported as a warning, an event and one log line', () => {
      const configuration = create(limits);
      for (const version of [7, 8, 9]) configuration.apply({ $version: version, [NAME]: { ...asked, x: version } });
      assert.equal(configuration.settings.current().snapshotFrequency, hours(1));
      assert.deepEqual(mirrored(configuration, 'snapshotFrequency'), { value: 'PT1H' });
      assert.deepEqual(mirrored(configuration, 'eventPriorityLogin'), { value: 'High' });
      assert.match(configuration.state().warnings.snapshotFrequency ?? '', /^is PT1H, not PT1S: limits\./);
      assert.match(configuration.state().warnings.eventPriorityLogin ?? '', /^is High, not Off: limits\.alwaysOn/);
      assert.equal(reportedFaults[0]?.find(({ name }) => name === 'eventPriorityLogin')?.used, '"High"');
      assert.equal(said(), 1);
    });

    it('hold for the last good one, and for desired that is refused after it', () => {
      create().apply({ $version: 7, [NAME]: asked });
      const again = create(limits);
      assert.equal(again.settings.current().snapshotFrequency, hours(1));
      assert.deepEqual(Object.keys(again.state().warnings), ['snapshotFrequency', 'eventPriorityLogin']);
      again.apply({ $version: 8, [NAME]: BAD });
      assert.deepEqual(Object.keys(again.state().warnings), ['snapshotFrequency', 'eventPriorityLogin']);
    });
  });

  describe('a name that is not known', () => {
    const warnings = (desired: object) => {
      const configuration = create();
      configuration.apply({ $version: 7, ...desired });
      return configuration.state().warnings;
    };

    it('an unknown name is reported with the nearest known one', () => {
      assert.deepEqual(warnings({ [NAME]: { eventPriorityLogins: { value: 'Off' }, colour: 1 } }), {
        eventPriorityLogins: 'is not known to this agent; did you mean "eventPriorityLogin"?',
        colour: 'is not known to this agent',
      });
    });

    it('stays listed beside errors, and goes when it has gone', () => {
      const configuration = create();
      configuration.apply({ $version: 7, [NAME]: { ...BAD, snapshotFrequenzy: { value: 'PT1H' } } });
      assert.equal(Object.keys(configuration.state().errors).length, 2);
      assert.match(configuration.state().warnings.snapshotFrequenzy ?? '', /did you mean "snapshotFrequency"/);
      configuration.apply({ $version: 8, [NAME]: BAD });
      assert.deepEqual(configuration.state().warnings, {});
    });

    it('is said once in the log', () => {
      const configuration = create();
      for (const version of [7, 8, 9]) configuration.apply({ $version: version, [NAME]: { x: 1, y: version } });
      configuration.apply({ $version: 10, [NAME]: { z: 1 } });
      assert.equal(lines.filter(({ message }) => message.startsWith('The module twin has names')).length, 2);
    });

    it('may be that of the object', () => {
      for (const name of ['configurations', 'Configuration', 'confguration', 'config_uration']) {
        assert.deepEqual(warnings({ [name]: SIX_HOURS }), {
          [name]: `is not read by this agent; did you mean "${NAME}"?`,
        });
      }
      assert.deepEqual(warnings({ other: 1, conf: 2, [NAME]: SIX_HOURS }), {});
    });

    it('costs little, however long it is and however many there are', () => {
      const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`${'x'.repeat(1_000)}${n}`, n]));
      assert.equal(Object.keys(warnings({ ...many, [NAME]: many })).length, 32);
    });
  });

  describe('the last good one', () => {
    it('is in force after a restart, as it was spelt', () => {
      create().apply({ $version: 7, [NAME]: { highPriorityMessageFrequency: { value: 'PT180S' } } });
      const again = create();
      assert.equal(again.settings.current().highPriorityMessageFrequency, minutes(3));
      assert.deepEqual(mirrored(again, 'highPriorityMessageFrequency'), { value: 'PT180S' });
      assert.deepEqual(again.state(), { source: 'lastKnownGood', errors: {}, warnings: {} });
    });

    it('survives one that is refused', () => {
      const configuration = create();
      configuration.apply({ $version: 7, [NAME]: SIX_HOURS });
      configuration.apply({ $version: 8, [NAME]: BAD });
      assert.equal(create().settings.current().snapshotFrequency, hours(6));
    });

    it('is also that there is none', () => {
      const configuration = create();
      configuration.apply({ $version: 7, [NAME]: SIX_HOURS });
      configuration.apply({ $version: 8 });
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
        configuration.apply({ $version: 7, [NAME]: SIX_HOURS });
        assert.equal(create().settings.current().snapshotFrequency, hours(6));
      });
    }

    it('is replaced by the defaults when it is not valid any more, with a warning that names the faults', () => {
      writeFileSync(
        lastGoodFile,
        JSON.stringify({ configuration: { ...SIX_HOURS, maxMessageSizeInBytes: { value: 1 } } }),
      );
      const configuration = create();
      assert.deepEqual(configuration.state(), { source: 'defaults', errors: {}, warnings: {} });
      const [line, ...more] = written;
      assert.deepEqual([Object.keys(line?.faults ?? {}), more], [['maxMessageSizeInBytes'], []]);
    });

    it('costs a warning, not the configuration, when it cannot be written', () => {
      mkdirSync(lastGoodFile);
      const configuration = create();
      lines = [];
      configuration.apply({ $version: 7, [NAME]: SIX_HOURS });
      assert.equal(configuration.settings.current().snapshotFrequency, hours(6));
      assert.deepEqual(lines.filter(({ level }) => level === 'warn').length, 1);
    });

    it('is written at the next occasion when it could not be, and not one that was refused', () => {
      mkdirSync(lastGoodFile);
      const configuration = create();
      configuration.apply({ $version: 7, [NAME]: SIX_HOURS });
      configuration.apply({ $version: 8, [NAME]: BAD });
      rmSync(lastGoodFile, { recursive: true });
      configuration.apply({ $version: 9, [NAME]: BAD, other: 1 });
      assert.equal(create().settings.current().snapshotFrequency, hours(6));
    });

    it('holds what was desired, and nothing else of the twin', () => {
      create().apply({ $version: 7, [NAME]: SIX_HOURS, other: { secret: 1 } });
      assert.ok(existsSync(lastGoodFile));
      assert.deepEqual(JSON.parse(readFileSync(lastGoodFile, 'utf8')), { configuration: SIX_HOURS });
    });
  });

  it('freezes what is in force', () => {
    const configuration = create();
    configuration.apply({ $version: 7, [NAME]: SIX_HOURS });
    assert.ok(Object.isFrozen(configuration.settings.current()));
  });
});
