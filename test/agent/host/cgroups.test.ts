import assert from 'node:assert/strict';
import { systemdGroups, systemServiceIn } from '../../../src/agent/host/cgroups.ts';

describe("a process's control groups", () => {
  it('are those that systemd manages, in either version', () => {
    assert.deepEqual(systemdGroups('0::/system.slice/a.service\n'), ['/system.slice/a.service']);
    assert.deepEqual(systemdGroups('12:cpu,cpuacct:/x\n1:name=systemd:/system.slice/a.service\n0::/y\n'), [
      '/system.slice/a.service',
      '/y',
    ]);
  });

  it("are not what a group's name says", () => {
    for (const end of ['\r', '\u2028', '\u2029']) {
      const name = `/user.slice/user@1000.service/x${end}0::/system.slice/a.service`;
      assert.deepEqual(systemdGroups(`0::${name}\n`), [name]);
      assert.equal(systemServiceIn(name), undefined);
    }
  });
});
