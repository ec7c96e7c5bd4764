import assert from 'node:assert/strict';
import { VERSION } from '../../../src/core/base/version.ts';
import { documentedQueries, QUERY_NAMES } from '../../../src/fleet/commands/status.ts';
import { FleetBed, MODULE } from './bed.ts';

const RUNNING = {
  version: VERSION,
  state: 'running',
  configuration: { source: 'desired', errors: {} },
  collectors: { ProcessCreate: { state: 'on', source: 'auditUnicast' } },
  delivery: { lastSentAt: '2026-05-01T10:00:00.000Z' },
  detections: { alerts: { critical: 0, high: 0, medium: 0, low: 3, informational: 0 } },
  posture: { baseline: { failed: 4 }, recommendations: { openPorts: { severity: 'Medium' } } },
};

describe('vakt fleet status', () => {
  let bed: FleetBed;
  const report = (deviceId: string, status: object) => {
    bed.hub.addModule({ deviceId, moduleId: MODULE });
    bed.hub.patchReported(deviceId, MODULE, { securityAgent: status });
  };
  beforeEach(async () => {
    bed = await FleetBed.open();
    report('running', RUNNING);
    report('ill', {
      ...RUNNING,
      state: 'degraded',
      configuration: { source: 'lastKnownGood', errors: { x: 'must be y' } },
    });
    report('resting', {
      ...RUNNING,
      state: 'paused',
      pause: { until: '2026-05-01T12:00:00.000Z', reason: 'r', skipped: 0 },
    });
    report('attacked', {
      ...RUNNING,
      detections: { alerts: { critical: 1, high: 2, medium: 0, low: 0, informational: 0 } },
    });
    report('old', { ...RUNNING, version: '0.0.9' });
    report('=hostile', { ...RUNNING, version: '=HYPERLINK("http://x","y")\u001b[2J\u202e' });
    bed.hub.addModule({ deviceId: 'mute', moduleId: MODULE });
    bed.hub.addDevice({ deviceId: 'bare' });
  });
  afterEach(() => bed.hub.stop());

  it('shows a row for each module, counts states, and reports devices without the module', async () => {
    const { status, out } = await bed.run('status');
    assert.equal(status, 0);
    assert.match(out[0] ?? '', /^DEVICE +STATE +VERSION +LAST MESSAGE +STARTS BY +ALERTS +POSTURE +FAULTS$/);
    const row = (deviceId: string) => out.find((line) => line.startsWith(deviceId))?.split(/ {2,}/);
    assert.deepEqual(row('running'), [
      ...['running', 'running, disconnected', VERSION, '2026-05-01T10:00:00.000Z', 'auditUnicast', '3 low'],
      '4 rules fail, 1 recommended',
    ]);
    assert.deepEqual(row('ill')?.at(-1), 'refuses x');
    assert.deepEqual(row('attacked')?.[5], '1 critical, 2 high');
    assert.deepEqual(row('mute'), ['mute', 'never reported']);
    assert.ok(out.every((line) => !/[\p{Cc}\u202e]/u.test(line)));
    assert.deepEqual(out.slice(-3), [
      '',
      '7 devices: 4 running, disconnected; 1 degraded, disconnected; 1 paused, disconnected; 1 never reported.',
      `1 device without the module ${MODULE}: "vakt fleet create --all" creates it.`,
    ]);
  });

  const expected: Readonly<Record<(typeof QUERY_NAMES)[number], string[]>> = {
    degraded: ['ill'],
    paused: ['resting'],
    silent: ['running', 'ill', 'resting', 'attacked', 'old', '=hostile', 'mute'],
    alerts: ['attacked'],
    outdated: ['old', '=hostile'],
  };
  for (const [name, ids] of Object.entries(expected)) {
    it(`finds by --${name} what the query of config/queries.md finds`, async () => {
      const { out } = await bed.run('status', `--${name}`, '--json');
      assert.deepEqual(
        out.map((line) => JSON.parse(line).deviceId),
        ids,
      );
    });
  }

  it('adds up several, within what is chosen', async () => {
    const { out } = await bed.run('status', '--degraded', '--paused', '--json', '--where', "deviceId != 'ill'");
    assert.deepEqual(
      out.map((line) => JSON.parse(line).deviceId),
      ['resting'],
    );
    const some = await bed.run('status', '--device', 'old', '--device', 'mute', '--device', 'none', '--json');
    assert.deepEqual(
      some.out.map((line) => JSON.parse(line).deviceId),
      ['old', 'mute'],
    );
  });

  for (const [what, args] of [
    ['a table', []],
    ['JSON', ['--json']],
    ['the degraded only', ['--degraded']],
  ] as const) {
    it(`fails when a named device is missing, and names it: ${what}`, async () => {
      const named = ['--device', 'ill', '--device', 'running', '--device', 'nosuch', '--device', 'bare'];
      const { status, err } = await bed.run('status', ...named, ...args);
      assert.equal(status, 1);
      assert.deepEqual(err, ['there is no device "nosuch"', `device "bare" has no module ${MODULE}`]);
      assert.equal((await bed.run('status', '--device', 'running', ...args)).status, 0);
    });
  }

  it('knows every name by a query of the page, and this version', () => {
    for (const name of QUERY_NAMES)
      assert.equal(documentedQueries().filter(({ about }) => about.includes(`\`--${name}\``)).length, 1);
    const outdated = documentedQueries().find(({ about }) => about.includes('`--outdated`'));
    assert.ok(outdated?.sql.includes(`'${VERSION}'`), 'config/queries.md names another version than package.json');
  });

  it('shows with --degraded why each agent is degraded, and counts the devices by reason', async () => {
    const blind = { ProcessCreate: { state: 'degraded', source: 'procPolling', reason: 'auditd has audit; stop it' } };
    report('blind1', { ...RUNNING, state: 'degraded', collectors: blind });
    report('blind2', { ...RUNNING, state: 'degraded', collectors: blind, store: { place: 'memory', reason: 'full' } });
    const { out } = await bed.run('status', '--degraded');
    const table = out.map((line) => line.split(/ {2,}/));
    const column = table[0]?.indexOf('REASON') ?? -1;
    assert.deepEqual(
      table.slice(1, 4).map((cells) => [cells[0], cells[column]]),
      [
        ['ill', 'configuration refused'],
        ['blind1', 'no kernel audit'],
        ['blind2', 'no kernel audit, events in memory only'],
      ],
    );
    assert.equal(out.at(-1), 'Reasons: 2 × no kernel audit, 1 × configuration refused, 1 × events in memory only.');
    const json = await bed.run('status', '--degraded', '--json', '--device', 'blind2');
    const { reasons, collectors } = JSON.parse(json.out[0] ?? '');
    assert.deepEqual(reasons, [
      { reason: 'no kernel audit', detail: 'auditd has audit; stop it' },
      { reason: 'events in memory only', detail: 'full' },
    ]);
    assert.equal(collectors, undefined);
    const csv = await bed.run('status', '--degraded', '--csv', '--device', 'blind2');
    assert.match(csv.out[1] ?? '', /,"no kernel audit, events in memory only",$/);
  });

  it('writes CSV in which no cell is a formula', async () => {
    const { out } = await bed.run('status', '--csv', '--outdated');
    assert.deepEqual(out, [
      'DEVICE,STATE,VERSION,LAST MESSAGE,STARTS BY,ALERTS,POSTURE,FAULTS',
      'old,"running, disconnected",0.0.9,2026-05-01T10:00:00.000Z,auditUnicast,3 low,"4 rules fail, 1 recommended",',
      `'=hostile,"running, disconnected","'=HYPERLINK(""http://x"",""y"")·[2J<U+202E>",2026-05-01T10:00:00.000Z,auditUnicast,3 low,"4 rules fail, 1 recommended",`,
    ]);
  });

  it('writes the CSV header even without rows', async () => {
    const { out } = await bed.run('status', '--csv', '--where', "deviceId = 'nosuch'");
    assert.deepEqual(out, ['DEVICE,STATE,VERSION,LAST MESSAGE,STARTS BY,ALERTS,POSTURE,FAULTS']);
  });

  it('writes JSON that a terminal can show', async () => {
    const { out } = await bed.run('status', '--json', '--device', '=hostile');
    assert.ok(!/[\p{Cc}\u202e]/u.test(out[0] ?? ''));
    assert.equal(JSON.parse(out[0] ?? '').version, '=HYPERLINK("http://x","y")\u001b[2J\u202e');
  });

  it('reports the hub’s error for an invalid condition', async () => {
    await assert.rejects(bed.run('status', '--where', 'tags.site ='), {
      id: 'QUERY_REFUSED',
      message: /^the hub refuses the query: 400 ArgumentInvalid: Syntax error/,
    });
  });
});
