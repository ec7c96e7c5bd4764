import assert from 'node:assert/strict';
import { originOf, ownerInWords } from '../../../src/agent/pipeline/event-owner.ts';

const event = (payload: object, change: object = {}) =>
  JSON.stringify({
    Category: 'Triggered',
    Name: 'ProcessCreate',
    EventType: 'Security',
    Payload: [payload],
    ...change,
  });

describe('The owner of an event', () => {
  it('is the user of its elements, whatever their text contains', () => {
    const CommandLine = 'sh -c \'","UserId":"0","x":"\' UserId';
    assert.equal(originOf(event({ CommandLine, UserId: '2001' })).owner, 'UserId 2001');
    assert.equal(originOf(event({ UserId: '0', ExtraDetails: { LoginUserId: '2001' } })).owner, 'UserId 2001');
  });

  it('is the same for all containers, since a user can pretend to be many', () => {
    const owners = ['ab', 'cd'].map(
      (ContainerId) => originOf(event({ UserId: '0', ExtraDetails: { ContainerId } })).owner,
    );
    assert.deepEqual(owners, ['containers', 'containers']);
  });

  it('is the same for all ids of a block of subordinate ids', () => {
    const owners = [165_536, 200_000, 231_071].map((id) => originOf(event({ UserId: String(id) })).owner);
    assert.deepEqual(new Set(owners), new Set(['UserId -2']));
    assert.equal(ownerInWords('UserId -2'), 'users 165536 to 231071');
  });

  it('is the system for events without a user', () => {
    assert.deepEqual(originOf(event({ Executable: '/bin/ls' }, { Name: 'ProcessTerminate' })), {
      owner: 'system',
      rule: 'ProcessTerminate',
      isShared: true,
    });
  });

  it('is the agent for snapshots, which list users, and for events about the agent', () => {
    for (const change of [{ Category: 'Periodic' }, { EventType: 'Diagnostic' }, { EventType: 'Operational' }])
      assert.deepEqual(originOf(event({ UserId: '2001' }, change)), {
        owner: 'agent',
        rule: 'ProcessCreate',
        isShared: false,
      });
  });

  it('is the system for damaged JSON', () => {
    assert.deepEqual(originOf('{"Id":'), { owner: 'system', rule: '', isShared: true });
    assert.equal(originOf(event({}, { Payload: [] })).owner, 'system');
  });
});
