import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DryHub } from '../../src/agent/commands/dry-run.ts';
import type { Clock } from '../../src/core/base/clock.ts';
import { serveControlSocket } from '../../src/core/base/control-socket.ts';
import { nextTurn } from '../../src/core/base/waiting.ts';
import type { Envelope } from '../../src/core/contract/event.ts';
import type { Message } from '../../src/core/contract/message.ts';
import { temporaryFolder } from '../harness/folders.ts';
import { until } from '../harness/until.ts';
import { faultsIn } from '../message-schema.ts';
import { PROGRAM } from './test-bed.ts';

const AGENT_ID = '0b5c3f5e-93a4-4b6b-8d7c-0a1b2c3d4e5f';

interface Printed {
  readonly system: Readonly<Record<string, string>>;
  readonly application: Readonly<Record<string, string>>;
  readonly sizeBytes: number;
  readonly body: { readonly AgentId: string; readonly Events: readonly Envelope[] };
}

describe('vakt run --dry-run', function () {
  this.timeout(120_000);
  let folder: string;
  let child: ChildProcess | undefined;
  let output: { stdout: string; stderr: string };
  const closers: (() => unknown)[] = [];

  beforeEach(() => {
    folder = temporaryFolder();
    mkdirSync(join(folder, 'tmp'));
    output = { stdout: '', stderr: '' };
  });
  afterEach(async () => {
    child?.kill('SIGKILL');
    for (const close of closers.splice(0)) await close();
  });

  /** Runs without capabilities, so that kernel audit, which other tests use, is not affected. */
  const start = (...args: string[]) => {
    const through = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all'] : [];
    const [program = '', ...rest] = [...through, process.execPath, PROGRAM, 'run', '--dry-run', ...args];
    const env = { PATH: process.env.PATH, TMPDIR: join(folder, 'tmp') };
    const started = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'], env });
    started.stdout.setEncoding('utf8').on('data', (text: string) => {
      output.stdout += text;
    });
    started.stderr.setEncoding('utf8').on('data', (text: string) => {
      output.stderr += text;
    });
    child = started;
  };
  const messages = () =>
    output.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Printed);
  const events = () => messages().flatMap(({ body }) => body.Events.map(({ Name }) => Name));
  const printed = (condition: () => boolean) =>
    until(() => `events; so far:\n${output.stdout}\n${output.stderr}`, condition);
  const end = async () => {
    const closed = once(child as ChildProcess, 'close');
    child?.kill('SIGINT');
    const [status] = await closed;
    assert.equal(status, 0, output.stderr);
    assert.deepEqual(readdirSync(join(folder, 'tmp')), []);
  };
  const configure = (settings: object) => {
    const file = join(folder, 'agent.json');
    writeFileSync(file, JSON.stringify({ stateDirectory: 'state', controlSocket: 'control.sock', ...settings }));
    return file;
  };

  it('prints the events without an identity or a configuration, and logs to standard error', async () => {
    start();
    await printed(() => events().includes('LocalUsers') && events().includes('SystemInformation'));
    await end();
    for (const { system, application, sizeBytes, body } of messages()) {
      assert.equal(system.interfaceId, undefined);
      assert.equal(application.messageType, 'SecurityEvents');
      assert.match(application.MessagePriority ?? '', /^(?:High|Low)$/);
      assert.ok(sizeBytes >= Buffer.byteLength(JSON.stringify(body)));
      assert.deepEqual(faultsIn(body, { isMarked: false }), []);
    }
    assert.match(
      output.stderr,
      /^Nothing is sent\. .*\n.* removed at the end\. Press Ctrl-C to stop the dry run\.\n\{"level":"info"/,
    );
    assert.match(output.stderr, /"msg":"Vakt has stopped\."/);
  });

  it('applies the last desired configuration of an installed agent without changing its state', async () => {
    const state = join(folder, 'state');
    mkdirSync(state, { mode: 0o700 });
    const configuration = { eventPriorityLocalUsers: { value: 'Off' }, hubResourceId: { value: '/hubs/1' } };
    writeFileSync(join(state, 'last-good-configuration.json'), JSON.stringify({ configuration }));
    writeFileSync(join(state, 'agent-id'), `${AGENT_ID}\n`);
    const look = () =>
      readdirSync(state, { recursive: true, encoding: 'utf8' }).map((name) => [
        name,
        statSync(join(state, name)).mtimeMs,
        readFileSync(join(state, name), 'utf8'),
      ]);
    const before = look();
    const identity = { kind: 'moduleKey', deviceId: 'device1', keyFile: 'missing.key' };
    start('--config', configure({ hub: { hostName: 'hub.example' }, identity, messageRouting: 'security' }));
    await printed(() => events().includes('SystemInformation') && events().includes('ListeningPorts'));
    await end();
    assert.ok(!events().includes('LocalUsers'));
    for (const { system, application, body } of messages()) {
      assert.equal(body.AgentId, AGENT_ID);
      assert.equal(application.HubResourceId, '/hubs/1');
      assert.equal(application.messageType, undefined);
      assert.equal(system.interfaceId, 'urn:azureiot:Security:SecurityAgent:1');
    }
    assert.deepEqual(look(), before);
  });

  it('does not read from the kernel while an agent runs', async () => {
    const status = () => ({ state: 'running' });
    closers.push(await serveControlSocket(join(folder, 'control.sock'), { '/status': status }));
    start('--config', configure({}));
    await printed(() => events().includes('SystemInformation'));
    await end();
    assert.match(output.stderr, /^An agent is running and uses the kernel's audit\. .* "vakt collect EVENT"\.$/m);
    assert.doesNotMatch(output.stderr, /auditUnicast|auditMulticast|auditLog|procConnector|procPolling/);
    assert.ok(!events().includes('ProcessCreate'));
  });

  it('rejects a configuration with a wrong value', async () => {
    start('--config', configure({ memoryBudgetInMegabytes: 'x' }));
    const [status] = await once(child as ChildProcess, 'close');
    assert.deepEqual([status, output.stdout], [78, '']);
    assert.match(output.stderr, /Error in: Local Configuration.*memoryBudgetInMegabytes/);
    assert.deepEqual(readdirSync(join(folder, 'tmp')), []);
  });

  const messageWith = (event: object): Message => {
    const body = JSON.stringify({ Events: [event] });
    return { id: AGENT_ID, body, bodyBytes: Buffer.byteLength(body), priority: 'High', marking: 'security' };
  };

  describe('with a slow reader of its output', () => {
    let stop: AbortController;
    let read: () => void;
    let sent: string[];
    let connections: number;
    let hub: DryHub;
    const send = () => hub.send(messageWith({})).then(({ status }) => sent.push(status));
    const withClock = (clock?: Pick<Clock, 'within'>) => {
      [stop, read, sent, connections] = [new AbortController(), () => {}, [], 0];
      const written = () =>
        new Promise<void>((resolve) => {
          read = resolve;
        });
      const { signal } = stop;
      const world = { stdout: () => {}, stderr: assert.fail, environment: {}, signal, terminal: false, written };
      hub = new DryHub({}, world, clock);
      hub.on('connected', () => {
        connections += 1;
      });
    };

    it('prints the next message once the last one has been read, or the run stops', async () => {
      withClock();
      await send();
      void send();
      await nextTurn();
      assert.deepEqual(sent, ['accepted']);
      read();
      await nextTurn();
      void send();
      await nextTurn();
      assert.deepEqual(sent, ['accepted', 'accepted']);
      stop.abort();
      await nextTurn();
      await send();
      assert.deepEqual(sent, Array(4).fill('accepted'));
    });

    it('treats a reader that stops as an unreachable hub, so that the agent does not seem to hang', async () => {
      withClock({ within: (_limit, operation, work) => Promise.race([work, Promise.reject(new Error(operation))]) });
      await hub.start();
      await send();
      await send();
      assert.deepEqual([sent, hub.status().state, connections], [['accepted', 'retry'], 'connecting', 1]);
      read();
      await nextTurn();
      assert.deepEqual([hub.status().state, connections], ['connected', 2]);
      await send();
      assert.deepEqual(sent, ['accepted', 'retry', 'accepted']);
    });
  });

  it('escapes control characters of payloads on a terminal', async () => {
    const lines: string[] = [];
    const world = { stdout: (line: string) => lines.push(line), terminal: true };
    const hub = new DryHub(
      {},
      { ...world, stderr: assert.fail, environment: {}, signal: new AbortController().signal },
    );
    const event = { Name: 'LocalUsers', Payload: [{ UserName: 'eve\u001b[2J', UserId: '7', GroupNames: 'eve' }] };
    const sent = await hub.send(messageWith(event));
    assert.equal(sent.status, 'accepted');
    assert.match(lines[0] ?? '', /^High message, security, 1 events, \d+ bytes$/);
    assert.deepEqual(lines.slice(1), ['  LocalUsers              eve·[2J (7) in eve', '']);
  });
});
