import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { checkKernelCommandLine } from '../../../../src/agent/commands/check/audit.ts';
import { temporaryFolder } from '../../../harness/folders.ts';

describe("vakt check, the kernel's command line", () => {
  let root: string;
  beforeEach(() => {
    root = temporaryFolder();
  });

  const put = (path: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), '');
  };
  const remedy = (commandLine: string | undefined) => checkKernelCommandLine('audit', root, commandLine)[0]?.remedy;

  it('check accepts a kernel command line with audit=1', () => {
    assert.deepEqual(checkKernelCommandLine('audit', root, 'ro audit=1'), []);
  });

  for (const [what, signs, expected] of [
    [
      'Raspberry Pi OS',
      ['boot/firmware/cmdline.txt', 'etc/debian_version'],
      /Pi firmware: sed .* \/boot\/firmware\/cmdline\.txt/,
    ],
    ['U-Boot', ['etc/fw_env.config'], /U-Boot: fw_setenv bootargs /],
    [
      'Debian',
      ['etc/debian_version', 'etc/default/grub', 'usr/sbin/update-grub', 'usr/sbin/grub-mkconfig'],
      /GRUB of Debian: .*"\$GRUB_CMDLINE_LINUX audit=1"' >\/etc\/default\/grub\.d\/audit\.cfg && update-grub$/,
    ],
    [
      'Fedora',
      ['etc/default/grub', 'usr/sbin/grubby', 'usr/sbin/grub2-mkconfig', 'etc/kernel/cmdline'],
      /grubby: grubby --update-kernel=ALL --args=audit=1$/,
    ],
    [
      'openSUSE',
      ['etc/default/grub', 'usr/sbin/grub2-mkconfig'],
      /grub2: echo .* >>\/etc\/default\/grub && grub2-mkconfig -o \/boot\/grub2\/grub\.cfg$/,
    ],
    [
      'Void, whose update-grub reads no grub.d',
      ['etc/default/grub', 'usr/sbin/update-grub'],
      /GRUB: echo .* >>\/etc\/default\/grub && grub-mkconfig -o \/boot\/grub\/grub\.cfg$/,
    ],
    ['systemd-boot', ['etc/kernel/cmdline'], /systemd-boot: sed .* && kernel-install add /],
  ] as const) {
    it(`check notes a missing audit=1 and names the command for ${what}`, () => {
      signs.forEach(put);
      const [asRoot, command, until, ...others] = remedy('ro quiet')?.split(/reboot\. | · /) ?? [];
      assert.equal(asRoot, 'Add it as root, and ');
      assert.match(command ?? '', expected);
      assert.match(until ?? '', /^Until then, restart/);
      assert.deepEqual(others, []);
    });
  }

  it('check names the commands for all boot loaders if it recognizes none of them', () => {
    const text = remedy('') ?? '';
    for (const name of ['GRUB', 'U-Boot', 'systemd-boot', 'extlinux', 'Raspberry Pi'])
      assert.match(text, new RegExp(name));
  });
});
