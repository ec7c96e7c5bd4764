import assert from 'node:assert/strict';
import { accountsPostureOf } from '../../../src/agent/posture/facts.ts';
import { accountRows, userRows } from './rows.ts';

const ROOT = 'root:x:0:0:root:/root:/bin/bash';
const DAEMON = 'daemon:x:1:1::/usr/sbin:/usr/sbin/nologin';
const NOBODY = 'nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin';

describe('accountsPostureOf', () => {
  const CASES: Readonly<Record<string, { passwd: string[]; shadow?: string[]; is: object }>> = {
    'a usual system': {
      passwd: [ROOT, DAEMON, NOBODY, 'ann:x:1000:1000::/home/ann:/bin/bash'],
      shadow: ['root:*:1::::::', 'daemon:*:1::::::', 'ann:$6$a$b:1::::::'],
      is: { withoutPassword: 0, uidZero: 1, humans: 1 },
    },
    'an empty password': {
      passwd: [ROOT, 'ann:x:1000:1000::/home/ann:/bin/bash'],
      shadow: ['root:!:1::::::', 'ann::1::::::'],
      is: { withoutPassword: 1, uidZero: 1, humans: 1 },
    },
    'an empty password of an account without a shell': {
      passwd: [ROOT, DAEMON],
      shadow: ['root:!:1::::::', 'daemon::1::::::'],
      is: { withoutPassword: 1, uidZero: 1, humans: 0 },
    },
    'a shadow file that cannot be read': { passwd: [ROOT, DAEMON], is: { uidZero: 1, humans: 0 } },
    'an empty password that needs no shadow file': {
      passwd: [ROOT, 'guest::1001:1001::/:/bin/sh'],
      is: { withoutPassword: 1, uidZero: 1, humans: 1 },
    },
    'passwords without a shadow file': {
      passwd: ['root:$1$ab$cd:0:0::/:/bin/sh', 'user:$1$ab$cd:1000:1000::/:/bin/sh'],
      is: { withoutPassword: 0, uidZero: 1, humans: 1 },
    },
    'a second root': {
      passwd: [ROOT, 'toor:x:0:0::/root:/bin/sh'],
      shadow: ['root:!:1::::::', 'toor:!:1::::::'],
      is: { withoutPassword: 0, uidZero: 2, humans: 0 },
    },
    'nobody with a shell, and an account with none in the file': {
      passwd: [ROOT, 'nobody:x:65534:65534::/:/bin/sh', 'ann:x:1000:1000::/home/ann:'],
      shadow: ['root:!:1::::::'],
      is: { withoutPassword: 0, uidZero: 1, humans: 1 },
    },
    'no account': { passwd: [], is: { uidZero: 0, humans: 0 } },
  };
  for (const [what, { is, ...files }] of Object.entries(CASES))
    it(`assesses ${what}`, async () => assert.deepEqual(accountsPostureOf(await userRows(files)), is));

  it('reports passwords as known even if a directory has accounts without any', async () => {
    const groups = [{ id: 0, name: 'root' }];
    const rows = await accountRows([
      { name: 'root', userId: 0, primaryGroupId: 0, password: 'locked', groups },
      { name: 'ldap', userId: 20_000, primaryGroupId: 0, shell: '/bin/bash', groups },
    ]);
    assert.deepEqual(accountsPostureOf(rows), { withoutPassword: 0, uidZero: 1, humans: 1 });
  });

  it('assesses 500 accounts', async () => {
    const passwd = Array.from({ length: 500 }, (_, n) => `u${n}:x:${1_000 + n}:100::/home:/bin/sh`);
    const shadow = ['root:!:1::::::', ...passwd.map((_, n) => `u${n}:${n % 2 === 0 ? '' : '!'}:1::::::`)];
    const posture = accountsPostureOf(await userRows({ passwd: [ROOT, ...passwd], shadow }));
    assert.deepEqual(posture, { withoutPassword: 250, uidZero: 1, humans: 500 });
  });
});
