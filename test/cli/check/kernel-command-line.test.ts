import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { judgeKernelCommandLine } from '../../../src/cli/check/kernel-command-line.ts';
import { temporaryFolder } from '../../support/folders.ts';

describe("vakt check, the kernel's command line", () => {
  let root: string;
  beforeEach(() => {
    root = temporaryFolder();
  });

  const put = (path: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), '');
  };
  const remedy = (commandLine: string | undefined) => judgeKernelCommandLine('audit', root, commandLine)[0]?.remedy;

  it('is fine with audit=1', () => {
    assert.deepEqual(judgeKernelCommandLine('audit', root, 'ro audit=1'), []);
  });

  it('is worth a note without, with the command for the boot loader that is there', () => {
    put('etc/default/grub');
    assert.match(remedy('ro quiet') ?? '', /reboot\. GRUB: .*audit=1.*update-grub/);
    assert.doesNotMatch(remedy('ro quiet') ?? '', /U-Boot/);
    put('boot/firmware/cmdline.txt');
    assert.match(
      remedy('audit=0') ?? '',
      /Raspberry Pi firmware: sed -i '1s\/\$\/ audit=1\/' \/boot\/firmware\/cmdline\.txt/,
    );
  });

  it('names every way where no boot loader is known', () => {
    const text = remedy('') ?? '';
    for (const name of ['GRUB', 'U-Boot', 'systemd-boot', 'extlinux', 'Raspberry Pi'])
      assert.match(text, new RegExp(name));
  });
});
