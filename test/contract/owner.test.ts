import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hasLimitedShare, ownerOfPayload } from '../../src/contract/owner.ts';

describe('owners', () => {
  it('counts an event for the user who logged in, whatever user it runs as', () => {
    assert.equal(ownerOfPayload({ UserId: '0', ExtraDetails: { LoginUserId: '2001' } }), 'LoginUserId 2001');
    assert.equal(ownerOfPayload({ UserId: '2001' }), 'UserId 2001');
  });

  it('counts all users of a container, and all ids of a subordinate block, as one owner each', () => {
    const inContainer = (UserId: string) => ownerOfPayload({ UserId, ExtraDetails: { ContainerId: 'c1' } });
    assert.equal(inContainer('0'), inContainer('33'));
    assert.equal(ownerOfPayload({ UserId: '100000' }), ownerOfPayload({ UserId: '131071' }));
    assert.notEqual(ownerOfPayload({ UserId: '100000' }), ownerOfPayload({ UserId: '131072' }));
  });

  it('exempts root, and events that belong to no user, from a share', () => {
    assert.ok(!hasLimitedShare(ownerOfPayload({ UserId: '0' })));
    assert.ok(!hasLimitedShare(ownerOfPayload({ Message: 'm' })));
    assert.ok(hasLimitedShare(ownerOfPayload({ UserId: '0', ExtraDetails: { ContainerId: 'c1' } })));
    assert.ok(hasLimitedShare(ownerOfPayload({ UserId: '33' })));
  });
});
