import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { showArrivals } from '../../src/cli/demo.ts';
import type { HubEmulator } from '../../src/emulator/hub.ts';

describe('vakt demo', () => {
  it('lets nothing that is reported to the hub reach the terminal as it is', () => {
    const hub = new EventEmitter();
    const said: string[] = [];
    showArrivals(hub as unknown as HubEmulator, (who, line) => said.push(`${who} ${line}`));
    hub.emit('reported', { reported: { securityAgent: { hub: { '\u001b[2J': '\u009b31m' } } } });
    assert.deepEqual(said, ['reported securityAgent.hub.·[2J = "·31m"']);
  });
});
