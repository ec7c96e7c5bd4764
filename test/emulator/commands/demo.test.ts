import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { milliseconds } from '../../../src/core/base/duration.ts';
import { UsageError, type World } from '../../../src/core/command-line/command.ts';
import { run } from '../../../src/emulator/commands/demo.ts';
import { sayTo, showArrivals } from '../../../src/emulator/demo-output.ts';
import type { HubEmulator } from '../../../src/emulator/hub.ts';

describe('vakt demo', () => {
  it('lets nothing that is reported to the hub reach the terminal as it is', () => {
    const hub = new EventEmitter();
    const output: string[] = [];
    showArrivals(hub as unknown as HubEmulator, (who, line) => output.push(`${who} ${line}`));
    hub.emit('reported', { reported: { securityAgent: {} } });
    output.length = 0;
    hub.emit('reported', { reported: { securityAgent: { hub: { '\u001b[2J': '\u009b31m' } } } });
    assert.deepEqual(output, ['reported securityAgent.hub.·[2J = "·31m"']);
  });

  it('shows the first report in one line, and sections with many changes in one line each', () => {
    const hub = new EventEmitter();
    const output: string[] = [];
    showArrivals(hub as unknown as HubEmulator, (_, line) => output.push(line));
    const collectors = { ProcessCreate: { state: 'on', source: 'audit' }, Login: { state: 'unavailable' } };
    const securityAgent = { state: 'running', collectors };
    hub.emit('reported', { reported: { securityAgent } });
    const posture = { a: 1, b: 2, c: 3, d: 4 };
    hub.emit('reported', { reported: { securityAgent: { ...securityAgent, state: 'degraded', posture } } });
    assert.deepEqual(output, [
      'The agent is running: 1 collector on, program starts from audit; unavailable: Login',
      'securityAgent.state = "degraded"',
      'securityAgent.posture: 4 properties changed',
    ]);
  });

  it('keeps the address of the page in the last line of a terminal until the end', () => {
    const written: string[] = [];
    const world: World = {
      stdout: (line) => written.push(line),
      stderr: () => {},
      environment: {},
      signal: new AbortController().signal,
      terminal: true,
      columns: 80,
    };
    let footer = 'The page: http://127.0.0.1:1/';
    const say = sayTo(world, { monotonic: () => milliseconds(0) }, () => footer);
    say('hub', 'one');
    say('', 'two', true);
    footer = '';
    say('demo', 'end');
    say('demo', 'after');
    const time = '  0.0 s  ';
    assert.deepEqual(written, [
      `${time}hub       one\nThe page: http://127.0.0.1:1/`,
      `\u001b[A\u001b[2K\u001b[1m\u001b[31m${time}          two\u001b[39m\u001b[22m\nThe page: http://127.0.0.1:1/`,
      `\u001b[A\u001b[2K${time}demo      end`,
      `${time}demo      after`,
    ]);
  });

  it('reports that the port of its page is in use', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const nothing = () => {};
    const signal = AbortSignal.abort();
    const world: World = { stdout: nothing, stderr: nothing, environment: {}, signal, terminal: false };
    try {
      await assert.rejects(run(['--page-port', `${port}`], world), (error: Error) => {
        assert.ok(error instanceof UsageError, error.stack);
        return (
          error.message.startsWith(`--page-port: port ${port} can't be used: `) && /0 for any free/.test(error.message)
        );
      });
    } finally {
      other.close();
    }
  });
});
