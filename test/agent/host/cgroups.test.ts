import assert from 'node:assert/strict';
import { systemdGroups, systemServiceIn } from '../../../src/agent/host/cgroups.ts';

describe("a process's control groups", () => {
  it('include the groups that systemd manages, in both versions', () => {
    assert.deepEqual(systemdGroups('0::/system.slice/a.service\n'), ['/system.slice/a.service']);
    assert.deepEqual(systemdGroups('12:cpu,cpuacct:/x\n1:name=systemd:/system.slice/a.service\n0::/y\n'), [
      '/system.slice/a.service',
      '/y',
    ]);
  });

  it("ignore fake lines in a group's name", () => {
    for (const end of ['\r', '\u2028', '\u2029']) {
      const name = `/user.slice/user@1000.service/x${end}0::/system.slice/a.service`;
      assert.deepEqual(systemdGroups(`0::${name}\n`), [name]);
      assert.equal(systemServiceIn(name), undefined);
    }
  });
});
