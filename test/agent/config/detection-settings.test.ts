import assert from 'node:assert/strict';
import sinon from 'sinon';
import { collectors } from '../../../src/agent/collectors/index.ts';
import { ruleLists, settingRows } from '../../../src/core/contract/settings.ts';
import { blindSpots, limitsInForce, NO_LIMITS } from '../../../src/core/twin/limits.ts';
import { publishedObject } from '../../../src/core/twin/published-object.ts';
import { readTwin } from '../../../src/core/twin/twin.ts';

const dialect = publishedObject(settingRows(collectors));
const read = (members: Record<string, unknown>, limits = NO_LIMITS) =>
  readTwin(Object.fromEntries(Object.entries(members).map(([name, value]) => [name, { value }])), dialect, limits);
const applied = (members: Record<string, unknown>, limits = NO_LIMITS) => {
  const reading = read(members, limits);
  assert.ok(reading.ok, JSON.stringify(reading));
  return reading;
};
const nameOf = (id: string) => dialect.properties.find((property) => property.id === id)?.name ?? id;

const EXCEPTION = { rule: 'IoT_CryptoMiner', field: 'Image', equals: '/usr/bin/x' };

describe('Settings of the detections', () => {
  it('the settings are read, and mirrored as they are spelt', () => {
    const desired = {
      detectionsEnabled: false,
      detectionsMinimumLevel: 'LOW',
      detectionsDisabledRules: 'IoT_CryptoMiner, x',
      detectionsExceptions: { a: EXCEPTION, b: { ...EXCEPTION, until: '2026-05-01T12:00:00+02:00', comment: 'why' } },
      detectionsSilencedUntil: '2026-05-01T12:00:00Z',
      detectionsMaximumConnections: '100/PT5M',
      detectionsRulesHash: 'AB'.repeat(32),
    };
    const { settings, mirror } = applied(desired);
    sinon.assert.match(settings, {
      detectionsEnabled: false,
      detectionsMinimumLevel: 'low',
      detectionsDisabledRules: ['IoT_CryptoMiner', 'x'],
      detectionsExceptions: desired.detectionsExceptions,
      detectionsMaximumConnections: ['100/PT5M'],
      detectionsRulesHash: 'ab'.repeat(32),
    });
    assert.deepEqual(ruleLists(settings), {
      allowedUsers: [],
      allowedProcesses: [],
      allowedRemotes: [],
      allowedPorts: [],
      connectionsMax: ['100/PT5M'],
      failedLocalLoginsMax: [],
    });
    for (const [name, value] of Object.entries(desired)) assert.deepEqual(mirror[name], { value }, name);
  });

  for (const id of ['__proto__', 'constructor', 'prototype']) {
    it(`refuses the exception ${id}, which cannot apply`, () => {
      const exceptions: unknown = JSON.parse(JSON.stringify({ x: EXCEPTION }).replace('"x"', `"${id}"`));
      const reading = read({ detectionsExceptions: exceptions });
      assert.ok(!reading.ok);
      const [fault] = reading.faults;
      assert.equal(fault?.name, 'detectionsExceptions');
      assert.match(fault?.message ?? '', /^must have other ids than .*__proto__/);
    });
  }

  const { equals: _, ...WITHOUT_COMPARISON } = EXCEPTION;

  it('rejects an exception for a short path or a large network', () => {
    const faults = (more: object) => {
      const reading = read({ detectionsExceptions: { a: { ...WITHOUT_COMPARISON, field: 'Image', ...more } } });
      return reading.ok ? '' : reading.faults.map(({ message }) => message).join();
    };
    for (const text of ['', '/', '/u', '/usr', '/usr/', '//usr//', 'bash'])
      for (const place of ['startsWith', 'endsWith'])
        assert.match(faults({ [place]: text }), /at least two components/, `${place} ${text}`);
    assert.match(faults({ field: 'CommandLine', startsWith: '/u' }), /at least two components/);
    for (const cidr of ['0.0.0.0/1', '::/0', '::ffff:0.0.0.0/96', '10.0.0.0/7'])
      assert.match(faults({ field: 'RemoteAddress', cidr }), /at most a network of \/8/, cidr);
    for (const more of [
      { startsWith: '/opt/backup/' },
      { endsWith: 'bin/restic' },
      { field: 'CommandLine', startsWith: 'restic ' },
      { field: 'RemoteAddress', cidr: '10.0.0.0/8' },
    ])
      assert.equal(faults(more), '', JSON.stringify(more));
  });

  it('contradictory settings are applied with a warning', () => {
    const warnings = (members: Record<string, unknown>) =>
      applied(members).warnings.map(({ name, type }) => `${name} ${type}`);
    assert.deepEqual(warnings({ eventPrioritySecurityAlert: 'Off' }), ['eventPrioritySecurityAlert Conflict']);
    assert.deepEqual(warnings({ detectionsEnabled: false, detectionsSilencedUntil: '2026-05-01T12:00:00Z' }), [
      'detectionsSilencedUntil Conflict',
    ]);
    assert.deepEqual(warnings({ detectionsMinimumLevel: 'critical' }), ['detectionsMinimumLevel NotOptimal']);
    for (const field of [
      'Result',
      'Kind',
      'Direction',
      'Initiated',
      'Protocol',
      'State',
      'Action',
      'Enabled',
      'Source',
    ])
      assert.deepEqual(warnings({ detectionsExceptions: { a: { ...EXCEPTION, field } } }), [
        'detectionsExceptions NotOptimal',
      ]);
    assert.deepEqual(warnings({ detectionsExceptions: { a: EXCEPTION }, detectionsMinimumLevel: 'low' }), []);
  });

  it('make the agent degraded when they switch detections off, unless the local file allows it', () => {
    const spots = (mayBeOff: readonly string[]) =>
      blindSpots(
        applied({ detectionsEnabled: false }).settings,
        { ...NO_LIMITS, mayBeOff: new Set(mayBeOff) },
        [],
        nameOf,
      );
    assert.deepEqual(spots(['SecurityAlert']).degrading, {});
    assert.deepEqual(spots(['SecurityAlert']).switchedOff, { detections: 'detectionsEnabled is false' });
    assert.deepEqual(Object.keys(spots([]).degrading), ['detectionsEnabled']);
    assert.deepEqual(blindSpots(applied({}).settings, NO_LIMITS, [], nameOf).switchedOff, {});
  });

  it('make it degraded when alerts must wait, and when only critical ones are left', () => {
    const degrading = (members: Record<string, unknown>, mayBeOff: readonly string[] = []) =>
      blindSpots(applied(members).settings, { ...NO_LIMITS, mayBeOff: new Set(mayBeOff) }, [], nameOf).degrading;
    assert.deepEqual(degrading({ eventPrioritySecurityAlert: 'Low' }), {
      eventPrioritySecurityAlert: 'is Low, so that alerts may wait PT5H',
    });
    assert.deepEqual(Object.keys(degrading({ detectionsMinimumLevel: 'critical' })), ['detectionsMinimumLevel']);
    assert.deepEqual(degrading({ detectionsMinimumLevel: 'critical' }, ['SecurityAlert']), {});
    assert.deepEqual(degrading({ detectionsMinimumLevel: 'high' }), {});
  });

  it('the settings leave enough space to report what they hide', () => {
    const comment = '\u4e16'.repeat(500);
    const exceptions = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`e${n}`, { ...EXCEPTION, comment }]));
    assert.ok(read({ detectionsExceptions: exceptions(5) }).ok);
    const reading = read({ detectionsExceptions: exceptions(6) });
    assert.ok(!reading.ok);
    assert.match(reading.faults[0]?.message ?? '', /at most 8192 bytes/);
  });

  it('cannot switch detections off where the local file says that alerts are always on', () => {
    const local = {
      alwaysOn: ['SecurityAlert'],
      shortestMessageFrequency: NO_LIMITS.shortestMessageFrequency,
      shortestSnapshotFrequency: NO_LIMITS.shortestSnapshotFrequency,
      longestMessageFrequency: NO_LIMITS.longestMessageFrequency,
      messageUnitsPerDay: 0,
    };
    const limits = limitsInForce(local, collectors, () => NO_LIMITS.largestCacheInBytes);
    const { settings, warnings } = applied(
      { detectionsEnabled: false, aggregationEnabledProcessCreate: false },
      limits,
    );
    assert.equal(settings.detectionsEnabled, true);
    assert.deepEqual(
      warnings.map(({ name, message }) => `${name} ${message}`),
      ['detectionsEnabled is true, not false: limits.alwaysOn of the local configuration'],
    );
    assert.equal(settings.aggregationEnabled.ProcessCreate, false);
  });
});
