import assert from 'node:assert/strict';
import { localUsers } from '../../../src/agent/collectors/local-users.ts';
import { sources } from './samples.ts';

describe('LocalUsers', () => {
  it('reports all accounts with their groups, joined with semicolons', async () => {
    assert.deepEqual(await localUsers.collect(sources, new AbortController().signal), [
      {
        UserName: 'root',
        UserId: '0',
        GroupNames: 'root',
        GroupIds: '0',
        ExtraDetails: { Shell: '/bin/bash', Password: 'locked' },
      },
      { UserName: 'alice', UserId: '1000', GroupNames: 'alice;sudo', GroupIds: '1000;27' },
    ]);
  });

  it('reports its source', () => {
    assert.deepEqual(localUsers.sourceStatus?.(sources), { state: 'on', source: 'files' });
  });
});
