import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { BaselineEngine } from '../../../src/agent/baseline/engine.ts';
import { findTool } from '../../../src/agent/host/run-tool.ts';
import { systemClock } from '../../../src/core/base/clock.ts';
import { require, skip } from '../../harness/require.ts';
import { type Entries, withTree } from './tree.ts';

const SCRIPTS = 'test/agent/baseline/trees';

/** As much of a Debian as the scripts change; debootstrap's own takes minutes. */
const DEBIAN: Entries = {
  'etc/passwd': 'root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n',
  'etc/group': 'root:x:0:\ndaemon:x:1:\nshadow:x:42:\n',
  'etc/shadow': { text: 'root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n', mode: 0o640, gid: 42 },
  'etc/crontab': '',
  'etc/cron.d': { folder: true },
  'etc/ssh/sshd_config': 'Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n',
  'etc/login.defs': 'PASS_MAX_DAYS\t99999\nPASS_WARN_AGE\t7\n#UMASK 022\nENCRYPT_METHOD YESCRYPT\n',
  'etc/pam.d/common-auth': 'auth\t[success=1 default=ignore]\tpam_unix.so nullok\n',
  'etc/pam.d/common-password': 'password\t[success=1 default=ignore]\tpam_unix.so obscure yescrypt\n',
  'etc/pam.d/su': 'auth sufficient pam_rootok.so\n',
  'etc/security/limits.d': { folder: true },
  'etc/sudoers': { text: 'Defaults use_pty\n@includedir /etc/sudoers.d\n', mode: 0o440 },
  'etc/sudoers.d': { folder: true },
  'etc/sysctl.d': { folder: true },
  'etc/profile.d': { folder: true },
  'etc/rsyslog.conf': '$FileCreateMode 0640\n',
  'etc/rsyslog.d': { folder: true },
  'etc/apt/apt.conf.d': { folder: true },
  'etc/systemd/system/multi-user.target.wants/rsyslog.service': { link: '/usr/lib/systemd/system/rsyslog.service' },
  'etc/systemd/system/multi-user.target.wants/cron.service': { link: '/usr/lib/systemd/system/cron.service' },
  root: { folder: true, mode: 0o700 },
  'root/.profile': '',
  'var/log/syslog': { text: '', mode: 0o640 },
  'usr/bin/find': { text: '', mode: 0o755 },
  'usr/bin/sudo': { text: '', mode: 0o755 },
  'usr/sbin/cron': { text: '', mode: 0o755 },
  'usr/sbin/sshd': { text: '', mode: 0o755 },
  'usr/local/bin': { folder: true },
  'usr/lib/systemd/systemd': '',
  'usr/lib/systemd/system/rsyslog.service': '[Unit]',
  'usr/lib/systemd/system/cron.service': '[Unit]',
  'usr/lib/systemd/system/nftables.service': '[Unit]',
  'usr/lib/systemd/system/debug-shell.service': '[Unit]',
  'var/lib/dpkg/status':
    'Package: rsyslog\nStatus: install ok installed\nVersion: 8\n\nPackage: nftables\nStatus: install ok installed\nVersion: 1\n\n',
};

async function failures(script?: string): Promise<string[]> {
  return withTree(DEBIAN, async ({ root }) => {
    if (script !== undefined) {
      const { status, stderr } = spawnSync(`${SCRIPTS}/${script}`, [root], { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
    }
    const engine = new BaselineEngine({ hostRoot: root, clock: systemClock });
    const options = { level: 1, walk: true, groupsDisabled: [], checksDisabled: [], roles: [] } as const;
    const { outcomes } = await engine.scan(options, new AbortController().signal);
    assert.deepEqual(
      outcomes.filter(({ result }) => result === 'err'),
      [],
    );
    return outcomes.filter(({ result }) => result === 'fail').map(({ rule }) => rule);
  });
}

describe('three trees of the same system', () => {
  before(function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root, to make files that are root’s');
  });

  it('fail more the more careless they are', async () => {
    const [weakened, stock, hardened] = [await failures('weaken.sh'), await failures(), await failures('harden.sh')];
    assert.ok(weakened.length > stock.length + 40, `${weakened.length} and ${stock.length}`);
    assert.ok(stock.length > 15);
    // These are about packages that so small a tree does not have.
    assert.deepEqual(
      hardened.filter((rule) => !rule.startsWith('pkg.')),
      [],
    );
  });

  for (const script of ['build.sh', 'weaken.sh', 'harden.sh'])
    it(`${script} passes shellcheck`, function () {
      require(this, findTool('shellcheck') === undefined ? 'there is no shellcheck' : undefined);
      const { status, stdout } = spawnSync('shellcheck', ['--shell=sh', '--severity=style', `${SCRIPTS}/${script}`]);
      assert.equal(status, 0, stdout.toString());
    });
});
