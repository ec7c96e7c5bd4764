import { kernel } from '../../../../src/agent/baseline/primitives/kernel.ts';
import { RUNNING } from '../tree.ts';
import { describePrimitive, paramsOf, TOO_LONG } from './cases.ts';

const weak = { check: 'cmdlineForbid', words: ['mitigations=off', 'init=/bin/sh'] };
const seccomp = { check: 'config', options: { CONFIG_SECCOMP_FILTER: 'y' } };
const CMDLINE = 'proc/cmdline';
const KERNEL = { ...RUNNING, 'proc/sys/kernel/osrelease': '6.12.1\n' };
const LSM = 'sys/kernel/security/lsm';
const mac = paramsOf('kernel.lsm-active');
const ENFORCE = 'sys/fs/selinux/enforce';
const FLAW = 'sys/devices/system/cpu/vulnerabilities';

describePrimitive(kernel, {
  'nothing that weakens it': {
    params: weak,
    tree: { ...RUNNING, [CMDLINE]: 'root=/dev/sda1 quiet password=secret\n' },
    result: 'pass',
  },
  'something that weakens it, and no other word said': {
    params: weak,
    tree: { ...RUNNING, [CMDLINE]: 'key=secret mitigations=off\n' },
    result: 'fail',
    actual: 'mitigations=off',
  },
  'shells at boot, in other spellings': {
    params: paramsOf('kernel.cmdline-no-weakening'),
    tree: {
      ...RUNNING,
      [CMDLINE]: 'systemd.debug-shell=ttyS1 rd.systemd.debug_shell "enforcing=0" rdinit=/bin/sh init=/usr/bin/dash\n',
    },
    result: 'fail',
    actual: 'enforcing=0 init=*/??sh rdinit=*/sh systemd.debug_shell=* rd.systemd.debug_shell',
  },
  'a script that init is started by, and words that belong to another': {
    params: paramsOf('kernel.cmdline-no-weakening'),
    tree: {
      ...RUNNING,
      [CMDLINE]: 'init=/usr/lib/raspi-config/init_resize.sh dyndbg="file x nokaslr +p" init2=/bin/sh\n',
    },
    result: 'pass',
  },
  'a word that must be there': {
    params: { check: 'cmdlineRequire', words: ['audit=1'] },
    tree: { ...RUNNING, [CMDLINE]: 'quiet\n' },
    result: 'fail',
  },
  'a word that must be there, with the other dash': {
    params: { check: 'cmdlineRequire', words: ['page_poison=1'] },
    tree: { ...RUNNING, [CMDLINE]: 'page-poison=1\n' },
    result: 'pass',
  },
  'a number that is high enough': {
    params: { check: 'cmdlineAtLeast', word: 'audit_backlog_limit', least: 8192 },
    tree: { ...RUNNING, [CMDLINE]: 'audit_backlog_limit=64 audit_backlog_limit=8192\n' },
    result: 'pass',
  },
  'how it was built, in /boot': {
    params: seccomp,
    tree: { ...KERNEL, 'boot/config-6.12.1': '# CONFIG_X is not set\nCONFIG_SECCOMP_FILTER=y\n' },
    result: 'pass',
    where: '/boot/config-6.12.1',
  },
  'what calls itself a configuration, and is none': {
    params: seccomp,
    tree: { ...KERNEL, 'proc/config.gz': 'no gzip' },
    result: 'skip',
    reason: /is not available/,
  },
  'how it was built is written nowhere': { params: seccomp, tree: KERNEL, result: 'skip' },
  'built without it': {
    params: seccomp,
    tree: { ...KERNEL, 'boot/config-6.12.1': '' },
    result: 'fail',
    actual: 'CONFIG_SECCOMP_FILTER=n',
  },
  'built without it, but told so at boot': {
    params: { check: 'config', options: { CONFIG_MODULE_SIG_FORCE: 'y' }, orCmdline: 'module.sig_enforce=1' },
    tree: { ...KERNEL, 'boot/config-6.12.1': '', [CMDLINE]: 'module.sig_enforce=1\n' },
    result: 'pass',
  },
  'built with what it should not have': {
    params: { check: 'configNot', options: { CONFIG_DEVKMEM: 'y' } },
    tree: { ...KERNEL, 'boot/config-6.12.1': 'CONFIG_DEVKMEM=y\n' },
    result: 'fail',
  },
  'a security module': {
    params: { check: 'lsm', anyOf: ['apparmor'] },
    tree: { ...RUNNING, [LSM]: 'lockdown,yama,apparmor' },
    result: 'pass',
  },
  'no security module': {
    params: { check: 'lsm', anyOf: ['apparmor'] },
    tree: { ...RUNNING, [LSM]: 'capability,yama' },
    result: 'fail',
  },
  'a security module, without securityfs': {
    params: { check: 'lsm', anyOf: ['apparmor'] },
    tree: { ...RUNNING, 'sys/module/apparmor/parameters/enabled': 'Y\n' },
    result: 'pass',
  },
  'SELinux that enforces': {
    params: mac,
    tree: { ...RUNNING, [LSM]: 'capability,selinux', [ENFORCE]: '1' },
    result: 'pass',
    actual: 'selinux, enforcing',
  },
  'SELinux that is permissive': {
    params: mac,
    tree: { ...RUNNING, [LSM]: 'capability,selinux', [ENFORCE]: '0' },
    result: 'fail',
    actual: 'selinux, permissive',
    where: '/sys/fs/selinux/enforce',
  },
  'SELinux that is permissive, without securityfs': {
    params: mac,
    tree: { ...RUNNING, [ENFORCE]: '0' },
    result: 'fail',
  },
  'SELinux without a policy': { params: mac, tree: { ...RUNNING, [LSM]: 'capability,selinux' }, result: 'fail' },
  'SELinux whose mode can not be read': {
    params: mac,
    tree: { ...RUNNING, [LSM]: 'capability,selinux', [ENFORCE]: TOO_LONG },
    result: 'err',
  },
  'SELinux that is permissive, beside another module': {
    params: mac,
    tree: { ...RUNNING, [LSM]: 'apparmor,selinux', [ENFORCE]: '0' },
    result: 'pass',
    where: `/${LSM}`,
  },
  'a profile that only complains': {
    params: { check: 'apparmorEnforced' },
    tree: { ...RUNNING, 'sys/kernel/security/apparmor/profiles': '/usr/sbin/ntpd (complain)\nman (enforce)\n' },
    result: 'fail',
    actual: '/usr/sbin/ntpd',
  },
  'a flaw of the CPU': {
    params: { check: 'cpuVulnerabilities' },
    tree: { ...RUNNING, [`${FLAW}/meltdown`]: 'Mitigation: PTI\n', [`${FLAW}/mds`]: 'Vulnerable: no microcode\n' },
    result: 'fail',
    actual: 'mds',
  },
  'flaws of the CPU that are open in part': {
    params: { check: 'cpuVulnerabilities' },
    tree: {
      ...RUNNING,
      [`${FLAW}/itlb_multihit`]: 'KVM: Vulnerable\n',
      [`${FLAW}/l1tf`]: 'Mitigation: PTE Inversion; VMX: vulnerable\n',
      [`${FLAW}/mds`]: 'Mitigation: Clear CPU buffers; SMT vulnerable\n',
      [`${FLAW}/mmio_stale_data`]: 'Unknown: No mitigations\n',
      [`${FLAW}/spectre_v2`]: 'Mitigation: Retpolines; STIBP: disabled; BHI: Vulnerable\n',
    },
    result: 'fail',
    actual: 'itlb_multihit, l1tf, mmio_stale_data, spectre_v2',
  },
  'flaws of the CPU that are mitigated as far as that goes with SMT': {
    params: { check: 'cpuVulnerabilities' },
    tree: {
      ...RUNNING,
      [`${FLAW}/itlb_multihit`]: 'KVM: Mitigation: VMX disabled\n',
      [`${FLAW}/mds`]: 'Mitigation: Clear CPU buffers; SMT vulnerable\n',
    },
    result: 'pass',
  },
  'a flaw of the CPU that only the hypervisor knows': {
    params: { check: 'cpuVulnerabilities' },
    tree: { ...RUNNING, [`${FLAW}/srbds`]: 'Unknown: Dependent on hypervisor status\n' },
    result: 'err',
    reason: 'srbds: Unknown: Dependent on hypervisor status',
  },
  'Secure Boot': {
    params: { check: 'secureBoot' },
    tree: { ...RUNNING, 'sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c': '\x06\0\0\0\x01' },
    result: 'pass',
  },
  lockdown: {
    params: { check: 'lockdown', anyOf: ['integrity'] },
    tree: { ...RUNNING, 'sys/kernel/security/lockdown': '[none] integrity confidentiality\n' },
    result: 'fail',
    actual: 'none',
  },
  'a flag of the CPU, which another machine has not': {
    params: { check: 'cpuFlag', flag: 'nx', arches: [process.arch] },
    tree: { ...RUNNING, 'proc/cpuinfo': 'processor : 0\nflags\t\t: fpu nx\n' },
    result: 'pass',
  },
  'a flag that does not concern this machine': {
    params: { check: 'cpuFlag', flag: 'nx', arches: ['none'] },
    tree: RUNNING,
    result: 'pass',
  },
  'the distribution’s own kernel': {
    params: { check: 'vendorBuilt' },
    tree: {
      ...RUNNING,
      'etc/os-release': 'ID=debian\n',
      'proc/version': 'Linux version 6.12 (debian-kernel@lists.debian.org)\n',
    },
    result: 'pass',
  },
  'the distribution’s own kernel, of a system whose os-release is in /usr alone': {
    params: { check: 'vendorBuilt' },
    tree: {
      ...RUNNING,
      'usr/lib/os-release': "ID='alpine'\n",
      'proc/version': 'Linux version 6.12 (buildozer@alpine)\n',
    },
    result: 'pass',
  },
  'no distribution': { params: { check: 'vendorBuilt' }, tree: RUNNING, result: 'err' },
  'a command line that is none': { params: weak, tree: { ...RUNNING, [CMDLINE]: TOO_LONG }, result: 'err' },
  'a tree that does not run': { params: weak, tree: {}, result: 'skip' },
});
