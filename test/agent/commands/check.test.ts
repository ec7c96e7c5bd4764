import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import sinon from 'sinon';
import * as v from 'valibot';
import { snapshot, sourceFinding } from '../../../src/agent/commands/check/collectors.ts';
import type { Finding } from '../../../src/agent/commands/check/finding.ts';
import { describe as describeFindings, exitStatus, run } from '../../../src/agent/commands/check.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { serveControlSocket } from '../../../src/core/base/control-socket.ts';
import { periodic } from '../../../src/core/contract/collector.ts';
import type { SourceStatus, Sources } from '../../../src/core/contract/sources.ts';
import { temporaryFolder } from '../../harness/folders.ts';
import { worldOf } from './world.ts';

describe('vakt check', () => {
  let folder: string;
  let out: string[];
  let stop: AbortController;
  const closers: (() => unknown)[] = [];

  beforeEach(() => {
    folder = temporaryFolder();
    out = [];
    stop = new AbortController();
  });
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
  });

  const world = () => worldOf((line) => out.push(line), { signal: stop.signal });
  /** Runs check. Nothing listens at the hub's port, unless `gatewayHostName` is given. */
  const check = async (changes: object = {}, ...args: string[]) => {
    const file = join(folder, 'agent.json');
    writeFileSync(join(folder, 'module.key'), Buffer.alloc(32).toString('base64'), { mode: 0o600 });
    const identity = { kind: 'moduleKey', deviceId: 'device1', keyFile: 'module.key' };
    const hub = { hostName: 'localhost', gatewayHostName: 'localhost:1' };
    const settings = { hub, identity, stateDirectory: 'state', controlSocket: 'control.sock', ...changes };
    writeFileSync(file, JSON.stringify(settings));
    return run(['--config', file, ...args], world());
  };
  const findings = async (changes: object = {}) => {
    await check(changes, '--json');
    return out.map((line) => JSON.parse(line) as Finding);
  };
  const named = (all: readonly Finding[], check: string) => all.find((finding) => finding.check === check);
  const serve = async (status: object) => {
    closers.push(await serveControlSocket(join(folder, 'control.sock'), { '/status': () => status }));
  };

  it('check does not try the hub or triggered events if it cannot reach an agent that may run', async () => {
    writeFileSync(join(folder, 'file'), '');
    const all = await findings({ controlSocket: 'file/control.sock' });
    assert.deepEqual(
      ['running agent', 'hub', 'Triggered events'].map((check) => named(all, check)?.state),
      ['note', 'note', 'note'],
    );
    assert.match(named(all, 'running agent')?.finding ?? '', /ENOTDIR/);
    assert.match(named(all, 'hub')?.finding ?? '', /not tried/);
    assert.match(named(all, 'Triggered events')?.finding ?? '', /not tried/);
    assert.equal(named(all, 'SystemInformation')?.state, 'ok');
  });

  it('check reports a control socket path that is too long', async () => {
    const all = await findings({ controlSocket: 'x'.repeat(110) });
    assert.equal(named(all, 'running agent')?.state, 'wrong');
  });

  it('check reads the status of a running agent, and prints no control characters', async () => {
    const evil = '\u001b[2J\u009b';
    await serve({
      state: 'running',
      hub: { state: 'refused', error: evil, remedy: evil },
      collectors: {
        ProcessCreate: { state: 'degraded', source: 'procPolling', reason: evil },
        LocalUsers: { state: 'on' },
      },
    });
    assert.equal(await check(), 1);
    for (const line of out) assert.doesNotMatch(line, /\p{Cc}/u);
    assert.ok(out.some((line) => line.includes('the running agent is not connected: ·[2J·')));
    out = [];
    const all = await findings();
    assert.deepEqual(named(all, 'ProcessCreate'), {
      check: 'ProcessCreate',
      state: 'warn',
      finding: 'degraded, from procPolling (1 % of a core; misses short programs)',
      remedy: evil,
      sees: 'part',
    });
    assert.equal(named(all, 'Triggered events'), undefined);
  });

  describe('warnings', () => {
    const found = (check: string, state: Finding['state'], more: Partial<Finding> = {}): Finding => ({
      ...{ check, state, finding: 'f' },
      ...more,
    });
    const conclusion = (...all: readonly Finding[]) => {
      const lines = describeFindings(all, false);
      return lines.slice(lines.lastIndexOf('') + 1);
    };
    const login = found('Login', 'warn', { sees: 'nothing', remedy: 'Stop auditd.' });
    const starts = found('ProcessCreate', 'warn', { sees: 'part', remedy: 'Stop auditd.' });
    const ports = found('ListeningPorts', 'warn', { sees: 'part' });
    const agent = found('running agent', 'warn', { remedy: 'r' });

    it('check says that nothing needs fixing only without warnings', () => {
      assert.deepEqual(conclusion(found('a', 'ok'), found('b', 'note')), ['Nothing needs fixing.']);
      assert.deepEqual(conclusion(agent), ['Works, but 1 finding is marked WARN.']);
    });

    it('check names the events that the agent does not see, and each reason once', () => {
      assert.deepEqual(conclusion(found('a', 'ok'), agent, login, starts, ports), [
        'Works, but does not see: Login; sees only part of: ProcessCreate, ListeningPorts.',
        '  Login, ProcessCreate: Stop auditd.',
        '  ListeningPorts: no reason was given',
      ]);
      assert.deepEqual(conclusion(found('a', 'wrong'), starts), [
        '1 of 2 findings must be fixed.',
        'The agent also sees only part of: ProcessCreate.',
        '  ProcessCreate: Stop auditd.',
      ]);
    });

    const sources = ['on', 'off', 'degraded', 'unavailable'] as const;
    for (const state of sources) {
      it(`check warns of a source that is ${state} if that makes the agent degraded`, () => {
        for (const reason of [undefined, 'r']) {
          const finding = sourceFinding('Login', { state, ...(reason === undefined ? {} : { reason }) });
          const isBlind = state === 'degraded' || state === 'unavailable';
          assert.equal(finding.state === 'warn', isBlind);
          assert.equal(finding.sees !== undefined, isBlind);
        }
      });
    }

    it('check exits with status 1 for a warning only with --strict', () => {
      for (const [state, expected] of [
        ['ok', [0, 0]],
        ['note', [0, 0]],
        ['warn', [0, 1]],
        ['wrong', [1, 1]],
      ] as const) {
        const findings = [found('a', 'ok'), found('b', state)];
        assert.deepEqual([exitStatus(findings, false), exitStatus(findings, true)], expected);
      }
    });
  });

  it('check prints details only with --verbose and --json', async () => {
    const server = createServer((socket) => socket.on('error', () => {}).destroy());
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
    closers.push(() => server.close());
    const { port } = server.address() as { port: number };
    const hub = { hostName: 'localhost', gatewayHostName: `localhost:${port}` };
    const seen = /^ +connected to (?:127\.0\.0\.1|::1)$/;
    await check({ hub });
    assert.ok(!out.some((line) => seen.test(line)));
    out = [];
    await check({ hub }, '--verbose');
    assert.ok(
      out.some((line) => seen.test(line)),
      out.join('\n'),
    );
    out = [];
    assert.match(named(await findings({ hub }), 'TCP')?.details?.join('\n') ?? '', /^connected to /);
  });

  describe('the state directory', () => {
    beforeEach(() => serve({ state: 'running', hub: { state: 'connected' }, collectors: {} }));
    const state = async () => named(await findings(), 'state directory');

    it('check accepts a missing state directory', async () => {
      const found = await state();
      assert.deepEqual([found?.state, found?.finding], ['ok', `${join(folder, 'state')} will be created`]);
    });

    it('check accepts a private state directory', async () => {
      mkdirSync(join(folder, 'state'), { mode: 0o700 });
      const found = await state();
      assert.equal(found?.state, 'ok');
      assert.match(found?.finding ?? '', /is writable, and private to the agent$/);
    });

    it('check reports a state directory that is a file or is inside a file', async () => {
      writeFileSync(join(folder, 'state'), '');
      const found = await state();
      assert.deepEqual([found?.state, found?.finding], ['wrong', `${join(folder, 'state')} is not a directory`]);
      out = [];
      const within = named(await findings({ stateDirectory: 'state/deep/er' }), 'state directory');
      assert.deepEqual([within?.state, within?.finding], ['wrong', `${join(folder, 'state')} is not a directory`]);
    });

    it('check reports a state directory that other users can write to', async () => {
      mkdirSync(join(folder, 'state'));
      chmodSync(join(folder, 'state'), 0o777);
      const found = await state();
      assert.equal(found?.state, 'wrong');
      assert.match(found?.remedy ?? '', /chmod go-w/);
    });
  });

  describe('Ctrl-C', () => {
    /** Closes the first connections, then accepts one and stays silent, so that its TLS handshake never completes. */
    const silentHub = (abortAt: number) =>
      new Promise<Server>((resolve) => {
        const server = createServer((socket) => {
          socket.on('error', () => {});
          const connection = connections++;
          if (connection < abortAt) socket.destroy();
          if (connection === abortAt) setImmediate(() => stop.abort());
          closers.push(() => socket.destroy());
        });
        let connections = 0;
        server.listen(0, () => resolve(server));
        closers.push(() => server.close());
      });

    for (const [abortAt, step] of [
      [0, 'the clock'],
      [1, 'the connection to the hub'],
    ] as const) {
      it(`Ctrl-C aborts check during a step: ${step}`, async () => {
        const server = await silentHub(abortAt);
        const { port } = server.address() as { port: number };
        const hub = { hostName: 'localhost', gatewayHostName: `localhost:${port}` };
        // Without the time limit, a step that ignores the abort would never end.
        const within = sinon.stub(systemClock, 'within').callsFake((_limit, _what, work) => work);
        try {
          await assert.rejects(check({ hub }), (error) => error === stop.signal.reason);
        } finally {
          within.restore();
        }
        assert.deepEqual(out, []);
      });
    }
  });

  describe('a snapshot', () => {
    const collector = (status?: SourceStatus) =>
      periodic({
        name: 'Example',
        type: 'Security',
        priority: 'Low',
        version: '1.0',
        summary: 'An example.',
        source: 'nowhere',
        payload: v.strictObject({}),
        collect: async () => [{}, {}],
        ...(status === undefined ? {} : { sourceStatus: () => status }),
      });
    const take = (status?: SourceStatus) => snapshot(collector(status), {} as Sources, stop.signal);

    it('a snapshot has the state ok if its collector has only one source or uses the best one', async () => {
      for (const status of [undefined, { state: 'on', source: 'sockDiag' }] as const) {
        const { state, finding } = await take(status);
        assert.equal(state, 'ok');
        assert.match(finding, /^2 elements in \d+ ms/);
      }
    });

    it('a snapshot has the state warn, with the reason, if its collector uses a degraded source', async () => {
      const { state, finding, remedy } = await take({
        state: 'degraded',
        source: 'procNet',
        reason: 'Load the module.',
      });
      assert.deepEqual([state, remedy], ['warn', 'Load the module.']);
      assert.match(finding, /^2 elements in \d+ ms, \d+ ms CPU time, degraded, from procNet$/);
    });
  });
});
