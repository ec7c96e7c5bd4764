import assert from 'node:assert/strict';
import { checkProc } from '../../../../src/agent/commands/check/access.ts';
import { assertFinding } from './bench.ts';

describe('vakt check: the /proc of the agent', () => {
  it('check accepts an agent that has its own /proc', () => {
    assertFinding(checkProc({ agents: 40, hosts: 22 })[0], 'ok', /no other program has/);
  });

  it('check notes that any user can make an agent hang that reads the system’s /proc', () => {
    assertFinding(
      checkProc({ agents: 22, hosts: 22 })[0],
      'note',
      /any user can make the agent hang/,
      /ProtectProc=.*--pid=host/,
    );
  });

  it('check reports nothing about /proc if the /proc of the host is unknown', () => {
    assert.deepEqual(checkProc({ agents: 22, hosts: undefined }), []);
  });
});
