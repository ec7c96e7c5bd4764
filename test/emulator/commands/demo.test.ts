import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { UsageError, type World } from '../../../src/core/command-line/command.ts';
import { run, showArrivals } from '../../../src/emulator/commands/demo.ts';
import type { HubEmulator } from '../../../src/emulator/hub.ts';

describe('vakt demo', () => {
  it('lets nothing that is reported to the hub reach the terminal as it is', () => {
    const hub = new EventEmitter();
    const output: string[] = [];
    showArrivals(hub as unknown as HubEmulator, (who, line) => output.push(`${who} ${line}`));
    hub.emit('reported', { reported: { securityAgent: { hub: { '\u001b[2J': '\u009b31m' } } } });
    assert.deepEqual(output, ['reported securityAgent.hub.·[2J = "·31m"']);
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
