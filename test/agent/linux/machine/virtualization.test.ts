import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { findTool } from '../../../../src/agent/host/run-tool.ts';
import { container, hypervisor, parseCpuinfo } from '../../../../src/agent/linux/machine/virtualization.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { skip } from '../../../harness/require.ts';
import { mutated } from '../mutated.ts';
import { makeTree, removeTree } from './hardware/tree.ts';

const on = <T>(listing: string, ask: (root: string) => T): T => {
  const root = makeTree(`proc/\n${listing}`);
  try {
    return ask(root);
  } finally {
    removeTree(root);
  }
};

const CPUINFO = 'processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme hypervisor lahf_lm\n\nprocessor\t: 1\n';
const dmi = (name: string, text: string) => `sys/class/dmi/id/${name} = "${text}\\n"`;
const clock = (names: string) => `sys/devices/system/clocksource/clocksource0/available_clocksource = "${names}\\n"`;
const cpuinfo = (text: string) => `proc/cpuinfo = ${JSON.stringify(text)}`;
const tree = 'sys/firmware/devicetree/base';

describe('hypervisor', () => {
  for (const [what, listing, expected] of [
    [
      'a laptop',
      `${dmi('sys_vendor', 'LENOVO')}\n${dmi('product_name', '20HDCTO1WW')}\n${clock('tsc hpet acpi_pm ')}`,
      undefined,
    ],
    ['nothing known', '', undefined],
    ['QEMU with KVM', `${dmi('sys_vendor', 'QEMU')}\n${clock('kvm-clock tsc acpi_pm ')}`, 'kvm'],
    ['QEMU without', `${dmi('sys_vendor', 'QEMU')}\n${clock('tsc acpi_pm ')}`, 'qemu'],
    ['KVM by its name', dmi('product_name', 'KVM'), 'kvm'],
    ['VirtualBox, which uses KVM', `${dmi('sys_vendor', 'innotek GmbH')}\n${clock('kvm-clock ')}`, 'oracle'],
    ['VMware', dmi('sys_vendor', 'VMware, Inc.'), 'vmware'],
    [
      'Hyper-V',
      `${dmi('sys_vendor', 'Microsoft Corporation')}\n${clock('hyperv_clocksource_tsc_page acpi_pm ')}`,
      'microsoft',
    ],
    [
      'QEMU that pretends to be Hyper-V',
      `${dmi('sys_vendor', 'QEMU')}\n${clock('hyperv_clocksource_tsc_page ')}`,
      'qemu',
    ],
    [
      'an EC2 instance',
      `${dmi('sys_vendor', 'Amazon EC2')}\n${dmi('product_name', 't3.nano')}\n${clock('kvm-clock ')}`,
      'amazon',
    ],
    ['an EC2 machine', `${dmi('sys_vendor', 'Amazon EC2')}\n${dmi('product_name', 'c5.metal')}`, undefined],
    ['a Xen guest', 'proc/xen/', 'xen'],
    ["Xen's host", 'proc/xen/capabilities = "control_d\\n"', undefined],
    ['a Xen guest by its type', 'sys/hypervisor/type = "xen\\n"', 'xen'],
    ['another type', 'sys/hypervisor/type = "acrn\\n"', 'vm-other'],
    ['an ARM guest of KVM', `${tree}/hypervisor/compatible = "linux,kvm\\u0000"`, 'kvm'],
    ['an ARM guest of Xen', `${tree}/hypervisor/compatible = "xen,xen-4.17\\u0000xen,xen\\u0000"`, 'xen'],
    ['an ARM guest of others', `${tree}/hypervisor/compatible = "qnx,hv\\u0000"`, 'vm-other'],
    ['an ARM guest of QEMU', `${tree}/fw-cfg@9020000/`, 'qemu'],
    ['a board', `${tree}/compatible = "raspberrypi,3-model-b\\u0000brcm,bcm2837\\u0000"`, undefined],
    ['a processor that knows', cpuinfo(CPUINFO), 'vm-other'],
    ['User Mode Linux', cpuinfo('vendor_id\t: User Mode Linux\n'), 'uml'],
  ] as const) {
    it(`returns ${expected} on ${what}`, () => {
      assert.equal(
        on(listing, (root) => hypervisor({ proc: `${root}/proc`, sys: `${root}/sys` })),
        expected,
      );
    });
  }

  it('agrees with systemd-detect-virt on this machine', function () {
    const path = findTool('systemd-detect-virt');
    if (path === undefined) return skip(this, 'this system has no systemd-detect-virt');
    const output = spawnSync(path, ['--vm'], { encoding: 'utf8' }).stdout.trim();
    const found = hypervisor({ proc: '/proc', sys: '/sys' }) ?? 'none';
    // It can ask the processor, and may know better than "other".
    assert.ok(found === output || (found === 'vm-other' && output !== 'none'), `${found}, not ${output}`);
  });
});

/** The first process, of root. */
const INIT = 'proc/1/status = "Name:\\tinit\\nUid:\\t0\\t0\\t0\\t0\\n"\n';

describe('container', () => {
  for (const [what, listing, expected] of [
    ['no container', 'proc/sys/kernel/osrelease = "6.12.48+deb13-amd64\\n"', undefined],
    ['Docker', '.dockerenv = ""', 'docker'],
    ['Podman', 'run/.containerenv = ""', 'podman'],
    ['both, as Podman can look', 'run/.containerenv = ""\n.dockerenv = ""', 'podman'],
    ['systemd-nspawn', 'run/systemd/container = "systemd-nspawn\\n"', 'systemd-nspawn'],
    ['LXC, by the first process', `${INIT}proc/1/environ = "PATH=/bin\\u0000container=lxc\\u0000"`, 'lxc'],
    ['no container=, though it looks so', `${INIT}proc/1/environ = "mycontainer=lxc\\u0000"`, undefined],
    [
      'no container, if the first process is of a user who could block whoever reads it',
      `${INIT.replaceAll('0', '54321')}proc/1/environ = "container=lxc\\u0000"`,
      undefined,
    ],
    ['a runtime of OCI', 'run/host/container-manager = "oci\\n"', 'oci'],
    ['one of OCI that is known', 'run/host/container-manager = "oci\\n"\nrun/.containerenv = ""', 'podman'],
    ['OpenVZ', 'proc/vz/', 'openvz'],
    ["OpenVZ's host", 'proc/vz/\nproc/bc/', undefined],
    ['WSL', 'proc/sys/kernel/osrelease = "5.15.90.1-microsoft-standard-WSL2\\n"', 'wsl'],
    ['one that says nothing', 'sys/fs/cgroup/cgroup.type = "domain\\n"', 'container-other'],
    ['Kubernetes, by its control groups', 'proc/1/cgroup = "4:pids:/kubepods/besteffort/pod1/a\\n"', 'container-other'],
    ['no container, though programs run in one', 'proc/7/cgroup = "4:pids:/docker/a\\n"', undefined],
    ['one that says odd things', 'run/systemd/container = "\\u001b[31m\\n"', '·[31m'],
  ] as const) {
    it(`returns ${expected} in ${what}`, () => assert.equal(on(listing, container), expected));
  }
});

describe('parseCpuinfo', () => {
  it('reads the first processor', () => {
    assert.deepEqual(parseCpuinfo(CPUINFO), { vendor: 'GenuineIntel', hypervisor: true });
    assert.deepEqual(parseCpuinfo('Features\t: fp asimd\n'), { vendor: '', hypervisor: false });
  });

  it('accepts any text', function () {
    this.timeout(600_000);
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), mutated(CPUINFO)), (text) => {
        const { vendor, hypervisor } = parseCpuinfo(text);
        assert.ok(vendor.length <= text.length);
        assert.ok(!hypervisor || text.includes('hypervisor'));
      }),
      { numRuns: fuzzRuns(100_000) },
    );
  });
});
