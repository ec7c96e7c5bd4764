import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../../src/agent/commands/alerts.ts';
import { alertHandlers } from '../../../src/agent/composition/reporting.ts';
import { AlertHistory } from '../../../src/agent/detections/alerts/history.ts';
import type { KeptAlert } from '../../../src/agent/detections/alerts/kept-alert.ts';
import { serveControlSocket } from '../../../src/core/base/control-socket.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { until } from '../../harness/until.ts';
import { worldOf } from './world.ts';

const ALERT: KeptAlert = {
  alertId: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f',
  alertType: 'IoT_CryptoMiner',
  severity: 'high',
  ruleId: 'r',
  ruleTitle: 'Crypto miner started',
  ruleSource: 'builtin',
  tactics: ['impact'],
  techniques: ['T1496'],
  count: 1,
  first: Date.parse('2026-05-01T12:00:00Z'),
  last: Date.parse('2026-05-01T12:00:00Z'),
  event: 'ProcessCreate',
  eventIds: [],
  subject: {
    Executable: '/tmp/xmrig',
    CommandLine: '/tmp/xmrig -o \u001b[2Jpool',
    ProcessId: 7,
    UserName: 'root',
    ContainerId: 'c'.repeat(64),
  },
  parentExecutable: '/bin/sh',
  remediation: 'End it.',
  details: { MatchedCommandLine: 'xmrig' },
};
const AGAIN: KeptAlert = { ...ALERT, count: 3, last: Date.parse('2026-05-01T12:30:00Z') };
const REMOTE: KeptAlert = {
  ...ALERT,
  alertId: '1b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f',
  subject: { RemoteAddress: '192.0.2.1', RemotePort: '22', UserId: '1000' },
  details: {},
};

describe('vakt alerts', () => {
  let folder: string;
  let close: (() => Promise<void>) | undefined;
  let history: AlertHistory;
  let out: string[];
  let err: string[];
  let stop: AbortController;

  beforeEach(async () => {
    folder = temporaryFolder();
    const identity = { kind: 'connectionString', file: 'secret' };
    writeFileSync(join(folder, 'agent.json'), JSON.stringify({ identity, controlSocket: 'control.sock' }));
    history = new AlertHistory();
    [out, err, stop] = [[], [], new AbortController()];
    close = await serveControlSocket(join(folder, 'control.sock'), alertHandlers(history));
  });
  afterEach(async () => {
    await close?.();
  });

  const world = () => worldOf((line) => out.push(line), { stderr: (line) => err.push(line), signal: stop.signal });
  const alerts = (...args: string[]) => run(['--config', join(folder, 'agent.json'), ...args], world());

  it('alerts shows the event, the user and the remediation without control characters', async () => {
    history.add(ALERT);
    history.add(AGAIN);
    history.add(REMOTE);
    assert.equal(await alerts(), 0);
    assert.deepEqual(out.join('\n').split('\n'), [
      '2026-05-01T12:30:00.000Z High IoT_CryptoMiner: Crypto miner started, 3 times since 2026-05-01T12:00:00.000Z',
      '  /tmp/xmrig -o \u00b7[2Jpool',
      `  by root, executable /tmp/xmrig, process 7, started by /bin/sh, container ${'c'.repeat(12)}, MatchedCommandLine xmrig`,
      '  End it.',
      '',
      '2026-05-01T12:00:00.000Z High IoT_CryptoMiner: Crypto miner started',
      '  by 1000, started by /bin/sh, remote 192.0.2.1 port 22',
      '  End it.',
      '',
    ]);
  });

  it('alerts --json prints alerts in the format of messages', async () => {
    history.add(ALERT);
    await alerts('--json');
    const [line = ''] = out;
    const { AlertId, Severity, Techniques, ExtraDetails } = JSON.parse(line);
    assert.deepEqual(
      [AlertId, Severity, Techniques, ExtraDetails],
      [ALERT.alertId, 'High', 'T1496', { MatchedCommandLine: 'xmrig' }],
    );
    assert.ok(!line.includes('\u001b'));
  });

  it('alerts reports an empty history', async () => {
    assert.equal(await alerts(), 0);
    assert.deepEqual([out, err], [[], ['No alert so far.']]);
  });

  it('alerts --follow prints new alerts and updates until it is stopped', async () => {
    history.add(ALERT);
    const done = alerts('--follow', '--json');
    await until('it follows', () => err.length === 1);
    history.add(AGAIN);
    history.add(REMOTE);
    await until('all are shown', () => out.length === 3);
    stop.abort();
    assert.equal(await done, 0);
    assert.deepEqual(
      out.map((line) => JSON.parse(line).Count),
      [1, 3, 1],
    );
    await until('nobody follows any more', () => {
      history.add(ALERT);
      return out.length === 3;
    });
  });

  it('alerts --follow prints all lines of an alert at once', async () => {
    const done = alerts('--follow');
    await until('it follows', () => err.length === 1);
    history.add(ALERT);
    await until('it is shown', () => out.length > 0);
    stop.abort();
    await done;
    assert.match(out.join('|'), /^2026-.*\n {2}\/tmp\/xmrig .*\n {2}by root, .*\n {2}End it\.\n$/);
  });

  it('alerts --follow misses no alert while it starts, and prints no alert twice', async () => {
    const handlers = alertHandlers(history);
    await close?.();
    close = await serveControlSocket(join(folder, 'control.sock'), {
      ...handlers,
      '/alerts': (...asked) => {
        history.add(ALERT);
        history.add({ ...ALERT, count: 2 });
        const listed = handlers['/alerts']?.(...asked);
        history.add(REMOTE);
        history.add(AGAIN);
        return listed;
      },
    });
    const done = alerts('--follow', '--json');
    await until('all are shown', () => out.length === 3);
    stop.abort();
    assert.equal(await done, 0);
    assert.deepEqual(
      out.map((line) => JSON.parse(line)).map(({ AlertId, Count }) => [AlertId, Count]),
      [
        [ALERT.alertId, 2],
        [REMOTE.alertId, 1],
        [ALERT.alertId, 3],
      ],
    );
  });

  it('alerts prints malformed alerts, and rejects an answer that is not a list', async () => {
    await close?.();
    close = await serveControlSocket(join(folder, 'control.sock'), { '/alerts': () => [{ AlertType: 5 }, null] });
    await alerts();
    assert.equal(out.length, 2);
    await close();
    close = await serveControlSocket(join(folder, 'control.sock'), { '/alerts': () => ({}) });
    await assert.rejects(alerts(), /not this version/);
    await close();
    const handlers = { ...alertHandlers(history), '/alerts': () => ({}) };
    close = await serveControlSocket(join(folder, 'control.sock'), handlers);
    await assert.rejects(alerts('--follow'), /not this version/);
  });

  it('alerts reports that no agent runs', async () => {
    await close?.();
    close = undefined;
    for (const options of [[], ['--follow']]) await assert.rejects(alerts(...options), { id: 'AGENT_NOT_RUNNING' });
  });
});
