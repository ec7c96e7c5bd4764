import assert from 'node:assert/strict';
import { checkProc } from '../../../../src/agent/commands/check/processes.ts';
import { assertFinding } from './bench.ts';

describe('vakt check: where it reads of processes', () => {
  it('is fine where the agent has a /proc of its own', () => {
    assertFinding(checkProc({ agents: 40, hosts: 22 })[0], 'ok', /no other program has/);
  });

  it('says that users can stop an agent that reads the system’s', () => {
    assertFinding(
      checkProc({ agents: 22, hosts: 22 })[0],
      'note',
      /any user can make the agent hang/,
      /ProtectProc=.*--pid=host/,
    );
  });

  it('says nothing where that can’t be seen', () => {
    assert.deepEqual(checkProc({ agents: 22, hosts: undefined }), []);
  });
});
