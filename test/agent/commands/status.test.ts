import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { run } from '../../../src/agent/commands/status.ts';
import type { LocalStatus } from '../../../src/agent/status/schema.ts';
import { serveControlSocket } from '../../../src/core/base/control-socket.ts';
import { nextTurn } from '../../../src/core/base/waiting.ts';
import { UsageError, type World } from '../../../src/core/command-line/command.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { worldOf } from './world.ts';

const STATUS: LocalStatus = {
  version: '0.1.0',
  agentId: '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f',
  localFileHash: '',
  pid: 812,
  state: 'running',
  startedAt: '2024-05-01T12:00:00.000Z',
  configuration: {
    desiredVersion: 7,
    source: 'desired',
    errors: { snapshotFrequency: 'must be a duration' },
    warnings: { colour: 'is not known to this agent' },
  },
  collectors: {
    ProcessCreate: { state: 'degraded', source: 'procPolling', reason: 'The audit socket belongs to auditd.' },
    LocalUsers: { state: 'on' },
  },
  delivery: {
    queued: { highEvents: 1, highBytes: 300, lowEvents: 2, lowBytes: 600 },
    collected: 20,
    delivered: 10,
    aggregatedAway: 4,
    dropped: { kernel: 2, cacheFull: 1 },
    messagesSent: 5,
    messagesFailed: 1,
  },
  store: { place: 'memory', reason: 'EROFS: read-only file system, open', isNearlyFull: false },
  credential: { kind: 'moduleKey' },
  restarts: { unclean: 0, lastEnd: 'stopped' },
  posture: {},
  hub: { state: 'refused', error: 'the hub refuses the key', remedy: 'Renew the key.' },
  events: { ProcessCreate: { collected: 20, delivered: 10, aggregatedAway: 4, queued: 3, dropped: {} } },
  messages: { sent: 5, under4KB: 3, failed: 1 },
  memory: { residentBytes: 70 * 1024 * 1024, budgetBytes: 96 * 1024 * 1024, isOver: false },
  queues: {
    High: { collected: 1, delivered: 0, aggregatedAway: 0, queued: 0, dropped: {} },
    Low: { collected: 19, delivered: 10, aggregatedAway: 4, queued: 0, dropped: {} },
  },
};

const IDENTITY = { kind: 'connectionString', file: 'secret' };
const EXPOSED = 'Others can read /etc/vakt/secrets/module.key (mode 0644).';

describe('vakt status', () => {
  let folder: string;
  let close: (() => Promise<void>) | undefined;
  let out: string[];
  let world: World;

  beforeEach(() => {
    folder = temporaryFolder();
    writeFileSync(join(folder, 'agent.json'), JSON.stringify({ identity: IDENTITY, controlSocket: 'control.sock' }));
    out = [];
    world = worldOf((line) => out.push(line));
  });
  afterEach(async () => {
    await close?.();
    close = undefined;
  });

  const status = async (change: Partial<LocalStatus> = {}, ...args: string[]) => {
    close = await serveControlSocket(join(folder, 'control.sock'), { '/status': () => ({ ...STATUS, ...change }) });
    return run(['--config', join(folder, 'agent.json'), ...args], world);
  };

  it('status shows the state of the agent with its remedies', async () => {
    assert.equal(await status(), 0);
    assert.match(out[0] ?? '', /^NOT SENDING: the hub refuses the key; /);
    const text = out.join('\n');
    for (const said of [
      /^agent +running, version 0\.1\.0, since 2024-05-01T12:00:00\.000Z/m,
      /^hub +refused: the hub refuses the key$/m,
      /^ +Renew the key\.$/m,
      /^configuration +desired, desired version 7$/m,
      /^events +20 collected = 10 delivered \+ 4 aggregated away \+ 3 queued \+ 3 dropped \(2 kernel, 1 cacheFull\)$/m,
      /^store +in memory: EROFS: read-only file system, open$/m,
      /^ +Make the disk writable;/m,
      /^messages +5 sent, 1 failed attempts$/m,
      /^ +error: snapshotFrequency must be a duration$/m,
      /^ +warning: colour is not known to this agent$/m,
      /^ProcessCreate +degraded +procPolling +20 +10 +3 +The audit socket belongs to auditd\.$/m,
      /^LocalUsers +on +0 +0 +0$/m,
    ]) {
      assert.match(text, said);
    }
  });

  it('status --openmetrics prints metrics, and rejects --watch', async () => {
    assert.equal(await status({}, '--openmetrics'), 0);
    const text = out.join('\n');
    assert.match(text, /^vakt_up 1$/m);
    assert.match(text, /^vakt_events_collected_total\{event="ProcessCreate"\} 20$/m);
    assert.match(text, /\n# EOF$/);
    await assert.rejects(run(['--openmetrics', '--watch'], world), UsageError);
  });

  it('status --openmetrics prints vakt_up 0 when the agent does not run', async () => {
    const said: string[] = [];
    const config = join(folder, 'agent.json');
    assert.equal(await run(['--config', config, '--openmetrics'], { ...world, stderr: (line) => said.push(line) }), 1);
    assert.match(out.join('\n'), /^vakt_up 0\n# EOF$/m);
    assert.match(said.join('\n'), /no agent/);
  });

  for (const [what, answer] of [
    ['is an empty object', {}],
    ['is null', null],
    ['lacks the members of delivery', { ...STATUS, delivery: {} }],
  ] as const)
    it(`status rejects an answer that ${what}`, async () => {
      close = await serveControlSocket(join(folder, 'control.sock'), { '/status': () => answer });
      const ask = (...args: string[]) => run(['--config', join(folder, 'agent.json'), ...args], world);
      const refused = { id: 'AGENT_NOT_RUNNING', message: /is not this version of the agent/ };
      await assert.rejects(ask(), refused);
      world = { ...world, stderr: () => {} };
      assert.equal(await ask('--openmetrics'), 1);
      assert.match(out.join('\n'), /^vakt_up 0$/m);
    });

  it('status names the user with the most message units, and the user whose Low events wait', async () => {
    const delivery = {
      ...STATUS.delivery,
      unitsToday: 1_570,
      unitsPerDay: 2_000,
      mostUsedBy: 'user 2001',
      mostUnits: 1_204,
      overShare: 'user 2001',
    };
    assert.equal(await status({ delivery }), 0);
    assert.match(out.join('\n'), /^ +1,570 of 2,000 units today: user 2001 \(1,204\)$/m);
    assert.match(out.join('\n'), /^waiting +Low events of user 2001: the share of the message units is used up$/m);
  });

  it('status rejects an answer that is not JSON', async () => {
    const server = createServer((_, response) => response.end('hello')).listen(join(folder, 'control.sock'));
    close = () => promisify(server.close.bind(server))();
    await once(server, 'listening');
    await assert.rejects(run(['--config', join(folder, 'agent.json')], world), { id: 'AGENT_NOT_RUNNING' });
  });

  it('status shows the alerts, the suppressed matches and the exceptions of the detections', async () => {
    const detections = {
      state: 'on',
      rules: { loaded: 90, refused: 0, off: { requires: 4, noEvent: 1 } },
      ruleSetHash: 'ab',
      alerts: { informational: 0, low: 0, medium: 1, high: 2, critical: 0 },
      counted: 4,
      suppressed: { silenced: 5, exception: 1 },
      last: { type: 'IoT_CryptoMiner', severity: 'high', at: '2024-05-01T12:00:00.000Z' },
      silencedUntil: '2024-05-02T12:00:00Z',
      exceptions: { mine: 7 },
      unusedExceptions: 'old',
    } as const;
    await status({ detections });
    for (const said of [
      /^detections +on, 90 rules; 4 off \(their list is not set\); 1 off \(no collector reports such events\)$/m,
      /^silenced +no alerts until 2024-05-02T12:00:00Z$/m,
      /^alerts +2 high, 1 medium, the last one IoT_CryptoMiner at 2024-05-01T12:00:00\.000Z/m,
      /^ +matches without an alert: 5 silenced, 1 exception$/m,
      /^ +exceptions: mine \(7\)$/m,
      /^ +exceptions no longer used: old$/m,
    ]) {
      assert.match(out.join('\n'), said);
    }
  });

  it('status shows the route to the hub and the identity', async () => {
    const credential = {
      kind: 'moduleKey',
      hub: 'contoso.azure-devices.net',
      transport: 'mqttWebSocket',
      proxy: '10.0.0.1:3128',
      source: 'secondary',
      expiresAt: '2024-05-01T13:00:00.000Z',
    } as const;
    await status({ credential, hub: { state: 'connected' } });
    const way = 'contoso.azure-devices.net by MQTT over WebSocket, through the proxy 10.0.0.1:3128';
    assert.ok(out.includes(`hub            connected to ${way}`), out.join('\n'));
    assert.ok(out.includes('credential     moduleKey, secondary, valid until 2024-05-01T13:00:00.000Z'));
    out.length = 0;
    await close?.();
    await status({ credential });
    assert.ok(out.includes(`               last tried: ${way}`), out.join('\n'));
    assert.match(out.join('\n'), /^ +The agent retries after 1, 2, 5 and then every 10 minutes/m);
  });

  it('status does not promise to detect a changed file if the agent uses a copy of it', async () => {
    await status({ hub: { ...STATUS.hub, copies: { '/etc/vakt/secrets/module.key': '/run/copy' } } });
    assert.match(out.join('\n'), /^ +The agent retries after 1, 2, 5 and then every 10 minutes\.$/m);
    out.length = 0;
    await close?.();
    await status({});
    assert.match(
      out.join('\n'),
      /every 10 minutes, and within 25 s when a file of its credential or proxy changes\.$/m,
    );
  });

  it('status does not announce slow retries while the agent waits for its module to be created', async () => {
    const error = { code: 'Authentication', reason: 'Not Found', id: 'MODULE_UNKNOWN' };
    await status({ credential: { kind: 'deviceKey', error } });
    assert.doesNotMatch(out.join('\n'), /every 10 minutes/);
  });

  it('status explains why the connected agent cannot open a new connection', async () => {
    const error = { code: 'Authentication', reason: 'File Format', id: 'SECRET_FILE_MALFORMED' };
    const hub = {
      state: 'connected',
      renewalError: 'the key in module.key is not base64',
      renewalRemedy: 'Copy it again.',
    } as const;
    await status({ credential: { kind: 'moduleKey', expiresSoon: true, error }, hub });
    const text = out.join('\n');
    assert.match(
      text,
      /^ +connected, but no new connection can be made \(SECRET_FILE_MALFORMED\): the key in module\.key is not base64\n +Copy it again\.$/m,
    );
    assert.match(text, /^ +It expires soon and was not renewed\.$/m);
  });

  it('status shows the results of the hardening checks and their exceptions', async () => {
    const baseline = {
      passed: 300,
      failed: 3,
      failedBySeverity: { critical: 2, important: 0, warning: 1, informational: 0 },
      errors: 4,
      skipped: 60,
      ruleSet: '1.0.0',
      ruleSetHash: 'ab',
      durationMs: 400,
      scannedAt: '2024-05-01T12:00:00.000Z',
      groupsDisabled: 'cron,ssh',
      checksDisabled: 'file.a',
      roles: 'router',
      customChecks: 'refused',
      customChecksReason: 'not \u001b root',
    } as const;
    await status({ posture: { baseline } });
    const text = out.join('\n');
    assert.match(
      text,
      /^baseline +300 passed, 3 failed \(2 critical, 1 warning\), 4 not evaluated, 60 skipped, at 2024-05-01T12:00:00\.000Z, rules 1\.0\.0\n/m,
    );
    for (const said of [
      /^ +without the categories cron,ssh$/m,
      /^ +without the rules file\.a$/m,
      /^ +for the roles router$/m,
      /^ +without custom checks: not · root$/m,
    ]) {
      assert.match(text, said);
    }
    out = [];
    await close?.();
    const { groupsDisabled: _g, checksDisabled: _c, roles: _r, customChecksReason: _x, ...plain } = baseline;
    await status({
      posture: {
        baseline: {
          ...plain,
          failed: 0,
          failedBySeverity: { ...plain.failedBySeverity, critical: 0, warning: 0 },
          customChecks: 'off',
        },
      },
    });
    assert.match(out.join('\n'), /^baseline +300 passed, 0 failed, 4 not evaluated.*\n[a-z]/m);
  });

  it('status does not show the store while it is on disk', async () => {
    await status({ store: { place: 'disk', isNearlyFull: false } });
    assert.doesNotMatch(out.join('\n'), /^store/m);
  });

  it('status names the state files that could not be saved', async () => {
    const unsaved = 'pause.json (EISDIR: illegal operation on a directory)';
    await status({ store: { place: 'disk', isNearlyFull: false, unsaved } });
    assert.match(
      out.join('\n'),
      /^not saved +pause\.json \(EISDIR: illegal operation on a directory\)\n +Make these files/m,
    );
  });

  it('status reports a store that is nearly full', async () => {
    await status({ store: { place: 'disk', isNearlyFull: true } });
    assert.match(out.join('\n'), /^store +nearly full\n +Restore the connection to the hub/m);
  });

  it('status reports unexpected exits, and files that other users can read', async () => {
    const restarts = { unclean: 3, since: '2024-05-01T11:00:00.000Z', lastEnd: 'killed' } as const;
    await status({ restarts, exposed: { secrets: EXPOSED } });
    assert.match(
      out.join('\n'),
      /^restarts +3 unexpected exits since 2024-05-01T11:00:00\.000Z, the last run killed\nexposed +Others can read/m,
    );
  });

  it('status shows a pause and a changed log level', async () => {
    const pause = { until: '2024-05-01T14:00:00.000Z', reason: 'Update \u001b[2J', skipped: 3 };
    const logLevel = { level: 'debug', until: '2024-05-01T13:00:00.000Z', afterwards: 'info' } as const;
    assert.equal(await status({ state: 'paused', pause, logLevel }), 1);
    const text = out.join('\n');
    assert.match(text, /^agent +paused, version/m);
    assert.match(text, /^paused +until 2024-05-01T14:00:00\.000Z, 3 events skipped: Update ·\[2J$/m);
    assert.match(text, /^log level +debug until 2024-05-01T13:00:00\.000Z, then info$/m);
  });

  it('status --json prints the complete status', async () => {
    assert.equal(await status({}, '--json'), 0);
    assert.deepEqual(JSON.parse(out.join('\n')), STATUS);
  });

  it('status --json prints an unsupported status unchanged', async () => {
    const answer = { ...STATUS, delivery: {}, added: 1 };
    close = await serveControlSocket(join(folder, 'control.sock'), { '/status': () => answer });
    assert.equal(await run(['--config', join(folder, 'agent.json'), '--json'], world), 0);
    assert.deepEqual(JSON.parse(out.join('\n')), answer);
  });

  describe('--watch', () => {
    const watch = async (ends: () => boolean, change: Partial<World> = {}, ...args: string[]) => {
      const end = new AbortController();
      const stop = () => {
        if (ends()) end.abort();
      };
      const stdout = (line: string) => {
        out.push(line);
        stop();
      };
      world = { ...world, stdout, signal: end.signal, ...change };
      return run(['--config', join(folder, 'agent.json'), '--watch', ...args], world);
    };
    const serve = async (state: () => LocalStatus['state']) => {
      const handlers = { '/status': () => ({ ...STATUS, state: state() }) };
      close = await serveControlSocket(join(folder, 'control.sock'), handlers);
    };

    it('status --watch repeats until it is aborted, and exits with the status of the last answer', async () => {
      const states = ['running', 'degraded'] as const;
      let asked = 0;
      await serve(() => states[Math.min(asked++, 1)] ?? 'running');
      assert.equal(await watch(() => out.length >= 2, {}, '--json'), 1);
      assert.deepEqual(
        out.map((line) => (JSON.parse(line) as LocalStatus).state),
        ['running', 'degraded'],
      );
    });

    it('status --watch clears the terminal before it prints', async () => {
      await serve(() => 'running');
      assert.equal(await watch(() => out.length >= 1, { terminal: true }), 0);
      assert.ok(out[0]?.startsWith('\u001b[H\u001b[J'));
      assert.match(out[0] ?? '', /^agent +running/m);
    });

    it('status --watch waits until its output has been written', async () => {
      await serve(() => 'running');
      let isRead = false;
      const end = new AbortController();
      const written = async () => {
        end.abort();
        for (let n = 0; n < 10; n += 1) await nextTurn();
        isRead = true;
      };
      await run(['--config', join(folder, 'agent.json'), '--watch'], { ...world, written, signal: end.signal });
      assert.equal(isRead, true);
    });

    it('status --watch reports that no agent answers, and waits for one', async () => {
      const said: string[] = [];
      const stderr = (line: string) => {
        said.push(line);
        void serve(() => 'running');
      };
      assert.equal(await watch(() => out.length >= 1, { stderr }, '--json'), 0);
      assert.equal(said.length, 1);
    });

    it('status --watch replaces control characters in a path', async () => {
      const end = new AbortController();
      const said: string[] = [];
      const stderr = (line: string) => {
        said.push(line);
        end.abort();
      };
      writeFileSync(
        join(folder, 'agent.json'),
        JSON.stringify({ controlSocket: '\u001b[2J.sock', identity: IDENTITY }),
      );
      await run(['--config', join(folder, 'agent.json'), '--watch'], { ...world, stderr, signal: end.signal });
      assert.match(said.join('\n'), /^no agent answers at .*·\[2J\.sock/);
    });
  });

  it('status replaces control characters in the values that it prints', async () => {
    const evil = '\u001b[2J\u009b31m\r\u202e';
    const change = {
      hub: { state: 'refused', error: evil },
      configuration: { source: 'desired', errors: { [evil]: evil }, warnings: { x: evil } },
      collectors: { ProcessCreate: { state: 'degraded', reason: evil } },
    } as const;
    await status(change);
    for (const line of out) assert.doesNotMatch(line, /[\p{Cc}\p{Cf}]/u);
    assert.equal(out.filter((line) => line.includes('·[2J·31m·')).length, 4);
    await close?.();
    out = [];
    await status(change, '--json');
    assert.doesNotMatch(out.join('').replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u);
    assert.equal(JSON.parse(out.join('\n')).hub.error, evil);
  });

  for (const state of ['degraded', 'stopping'] as const) {
    it(`status exits with 1 when the agent is ${state}`, async () => assert.equal(await status({ state }), 1));
  }

  it('status reports that no agent runs', async () => {
    await assert.rejects(run(['--config', join(folder, 'agent.json')], world), { id: 'AGENT_NOT_RUNNING' });
  });

  it('status rejects arguments', async () => assert.rejects(run(['now'], world), UsageError));
});
