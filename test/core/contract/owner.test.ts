import assert from 'node:assert/strict';
import { hasLimitedShare, ownerOfId, ownerOfPayload, userIdsOf } from '../../../src/core/contract/owner.ts';

const ownerOf = (UserId: string, ExtraDetails = {}) => ownerOfPayload({ UserId, ExtraDetails });

describe('ownerOfPayload', () => {
  it("counts root's events for the user who logged in", () => {
    assert.equal(ownerOf('0', { LoginUserId: '2001' }), ownerOf('2001'));
    assert.equal(ownerOf('0'), 'UserId 0');
  });

  it('ignores the login id of an ordinary user, which a process without a login can set', () => {
    for (const LoginUserId of ['0', '1000', '100000']) assert.equal(ownerOf('33', { LoginUserId }), ownerOf('33'));
  });

  it('counts a set-user-id program for the user who started it', () => {
    assert.equal(ownerOf('0', { RealUserId: '2001' }), ownerOf('2001'));
    assert.equal(ownerOf('0', { RealUserId: '33', LoginUserId: '0' }), ownerOf('33'));
  });

  it('counts all ordinary users of containers as one owner, whatever names their control groups have', () => {
    const ofUsers = ['1', '33', '70000'].flatMap((id) =>
      ['c1', 'c2'].map((ContainerId) => ownerOf(id, { ContainerId })),
    );
    assert.equal(new Set(ofUsers).size, 1);
    assert.notEqual(ofUsers[0], ownerOf('33'));
    const ofRoots = ['c1', 'c2'].map((ContainerId) => ownerOf('0', { ContainerId, LoginUserId: '0' }));
    assert.equal(new Set([...ofUsers, ...ofRoots]).size, 3);
  });

  it('counts all ids of a block of subordinate ids as one owner', () => {
    assert.equal(ownerOf('100000'), ownerOf('165535'));
    assert.equal(ownerOf('165536'), ownerOf('231071'));
    assert.notEqual(ownerOf('165535'), ownerOf('165536'));
    for (const id of [0, 1_000, 99_999, 100_000, 165_535, 165_536, 2 ** 32 - 2]) {
      const { first, last } = userIdsOf(ownerOfId(id));
      assert.ok(first <= id && id <= last && last < 2 ** 32 - 1);
      assert.deepEqual([ownerOfId(first), ownerOfId(last)], [ownerOfId(id), ownerOfId(id)]);
    }
  });

  it('counts refused logins as one owner, whatever account they name', () => {
    const refused = (fields: object) => ownerOfPayload({ Operation: 'Login', Result: 'Fail', ...fields });
    const owners = [{ UserName: 'root' }, { UserId: '0' }, { UserId: '1000', UserName: 'alice' }].map(refused);
    assert.equal(new Set(owners).size, 1);
    assert.ok(hasLimitedShare(owners[0]));
  });

  it('limits every owner except root of the host and events of no user', () => {
    assert.ok(!hasLimitedShare(ownerOf('0')));
    assert.ok(!hasLimitedShare(ownerOfPayload({ Message: 'm' })));
    assert.ok(hasLimitedShare(ownerOf('0', { ContainerId: 'c1' })));
    assert.ok(hasLimitedShare(ownerOf('33')));
  });
});
