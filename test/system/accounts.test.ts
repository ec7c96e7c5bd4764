import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { findTool } from '../../src/agent/host/run-tool.ts';
import { require } from '../harness/require.ts';

/** Creates, in a new mount namespace, an account that the name service gets from systemd and that the passwd file lacks. */
const SCRIPT = `
set -e
mount -t tmpfs none /run
mkdir /run/userdb
echo '{"userName":"dirbob","uid":20001,"gid":20001,"shell":"/bin/zsh","disposition":"regular"}' > /run/userdb/dirbob.user
ln -s dirbob.user /run/userdb/20001.user
sed 's/^passwd:.*/passwd: files systemd/' /etc/nsswitch.conf > /run/nsswitch.conf
mount --bind /run/nsswitch.conf /etc/nsswitch.conf
exec "$0" dist/src/main.js collect LocalUsers
`;

function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'this is not root';
  const tool = ['unshare', 'getent'].find((name) => findTool(name) === undefined);
  if (tool !== undefined) return `this system has no ${tool}`;
  const folders = ['/usr/lib', '/usr/lib64', ...readdirSync('/usr/lib').map((name) => `/usr/lib/${name}`)];
  const found = folders.some((folder) => existsSync(`${folder}/libnss_systemd.so.2`));
  return found ? undefined : 'this system has no nss-systemd';
}

describe('LocalUsers on a system with a name service', () => {
  before(function () {
    require(this, missing());
  });

  it('contains accounts that no file contains', () => {
    const output = execFileSync('unshare', ['--mount', 'sh', '-c', SCRIPT, process.execPath], { encoding: 'utf8' });
    const users = JSON.parse(output) as { UserName: string; UserId: string; ExtraDetails?: Record<string, string> }[];
    const { UserId, ExtraDetails } = users.find(({ UserName }) => UserName === 'dirbob') ?? {};
    assert.deepEqual([UserId, ExtraDetails], ['20001', { Shell: '/bin/zsh' }]);
    assert.equal(users.find(({ UserName }) => UserName === 'root')?.UserId, '0');
  });
});
