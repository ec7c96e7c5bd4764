import assert from 'node:assert/strict';
import fc from 'fast-check';
import { firmwareFacts } from '../../../../src/agent/linux/machine/firmware.ts';
import { fuzzRuns } from '../../../fuzz.ts';
import { makeTree, removeTree } from './hardware/tree.ts';

const SECURE_BOOT = 'firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c';
const TREE = 'firmware/devicetree/base';

/** The facts that are known. */
function facts(listing: string): object {
  const sys = makeTree(listing);
  try {
    return JSON.parse(JSON.stringify(firmwareFacts(sys, () => {})));
  } finally {
    removeTree(sys);
  }
}

describe('firmwareFacts', () => {
  for (const [what, listing, expected] of [
    ['nothing', 'devices/', {}],
    [
      'UEFI with secure boot',
      `${SECURE_BOOT} = "\\u0006\\u0000\\u0000\\u0000\\u0001"`,
      { firmware: 'UEFI', secureBoot: true },
    ],
    ['UEFI without', `${SECURE_BOOT} = "\\u0006\\u0000\\u0000\\u0000\\u0000"`, { firmware: 'UEFI', secureBoot: false }],
    ['UEFI that does not tell', 'firmware/efi/', { firmware: 'UEFI' }],
    ['a variable cut short', `${SECURE_BOOT} = "\\u0006\\u0000"`, { firmware: 'UEFI' }],
    [
      'a PC with BIOS',
      'class/dmi/id/bios_version = "N1QET88W\\n"\nclass/dmi/id/bios_vendor = "LENOVO\\n"\n' +
        'class/dmi/id/sys_vendor = "LENOVO\\n"\nclass/dmi/id/product_name = "20HDCTO1WW\\n"',
      {
        firmware: 'BIOS',
        biosVersion: 'N1QET88W',
        biosVendor: 'LENOVO',
        machineVendor: 'LENOVO',
        machineModel: '20HDCTO1WW',
      },
    ],
    [
      'a board with U-Boot',
      `${TREE}/model = "Toradex Verdin iMX8M Plus\\u0000"\n${TREE}/compatible = "toradex,verdin-imx8mp\\u0000fsl,imx8mp\\u0000"\n` +
        `${TREE}/chosen/u-boot,version = "2024.04\\u0000"`,
      {
        firmware: 'device tree',
        biosVersion: '2024.04',
        biosVendor: 'U-Boot',
        machineVendor: 'toradex',
        machineModel: 'Toradex Verdin iMX8M Plus',
      },
    ],
    [
      'a Raspberry Pi 4',
      `${TREE}/model = "Raspberry Pi 4 Model B Rev 1.4\\u0000"\n${TREE}/chosen/bootloader/version = "6efe41bd39ef\\u0000"`,
      { firmware: 'device tree', biosVersion: '6efe41bd39ef', machineModel: 'Raspberry Pi 4 Model B Rev 1.4' },
    ],
    [
      'a firmware with something to hide',
      'class/dmi/id/bios_vendor = "\\u001b[2JOK\\n"\nclass/dmi/id/product_name = "\\u00ff\\u00fe\\n"',
      { firmware: 'BIOS', biosVendor: '·[2JOK', machineModel: '\uFFFD\uFFFD' },
    ],
  ] as const) {
    it(`recognises ${what}`, () => assert.deepEqual(facts(listing), expected));
  }

  it('accepts any bytes', function () {
    this.timeout(600_000);
    const text = fc.uint8Array({ maxLength: 40 }).map((bytes) => JSON.stringify(Buffer.from(bytes).toString('latin1')));
    fc.assert(
      fc.property(text, text, text, (compatible, model, variable) => {
        const found = facts(
          `${TREE}/compatible = ${compatible}\n${TREE}/model = ${model}\n${SECURE_BOOT} = ${variable}`,
        );
        for (const value of Object.values(found))
          assert.ok(typeof value === 'boolean' || !/[\p{Cc}\p{Cf}]/u.test(value));
      }),
      { numRuns: fuzzRuns(10_000) },
    );
  });
});
