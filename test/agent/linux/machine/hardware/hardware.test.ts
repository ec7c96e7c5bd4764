import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { connectedHardware } from '../../../../../src/agent/collectors/connected-hardware.ts';
import { Hardware } from '../../../../../src/agent/linux/machine/hardware/hardware.ts';
import { listHardware } from '../../../../../src/agent/linux/machine/hardware/list-hardware.ts';
import type { Answer } from '../../../../../src/agent/reader/question.ts';
import { Reader } from '../../../../../src/agent/reader/reader.ts';
import { systemClock } from '../../../../../src/core/base/clock.ts';
import { hours } from '../../../../../src/core/base/duration.ts';
import { createLog } from '../../../../../src/core/base/log.ts';
import type { HardwareDevice } from '../../../../../src/core/contract/sources.ts';
import { temporaryFolder } from '../../../../harness/folders.ts';
import { sources } from '../../../collectors/samples.ts';
import { goldenListing, makeTree, removeTree } from './tree.ts';

const { signal } = new AbortController();
const clock = systemClock;

/** The reader's work, done by this process. */
const reader = {
  ask: async (_kind: unknown, questions: readonly unknown[]) =>
    questions.map((question) => {
      const value = JSON.parse(JSON.stringify(listHardware(question as never, { at: () => {} })));
      return { state: 'answered', value } as never;
    }),
};
const answering = (answer: unknown) => ({ ask: async () => [answer as never] });

async function devicesOf(listing: string, options: { wordBits?: 32 | 64 } = {}): Promise<readonly HardwareDevice[]> {
  const root = makeTree(`sys/devices/\n${listing}`);
  try {
    const [sys, proc] = [join(root, 'sys'), join(root, 'proc')];
    return await new Hardware({ hostRoot: root, sys, proc, wordBits: 64, reader, clock, ...options }).devices(signal);
  } finally {
    removeTree(root);
  }
}

const line = ({
  category,
  subCategory,
  name,
  vendorId = '',
  productId = '',
  serial = '',
  driver = '',
  bus = '',
}: HardwareDevice) => [category, subCategory, name, `${vendorId}:${productId}`, serial, driver, bus].join(' | ');

describe('Hardware', () => {
  it('uses the number of the last device message as its trace', async () => {
    const sys = temporaryFolder();
    const hardware = new Hardware({ hostRoot: '/', sys, reader, clock });
    assert.equal(await hardware.trace(), undefined);
    mkdirSync(join(sys, 'kernel'));
    for (const number of ['1419\n', '1420\n']) {
      writeFileSync(join(sys, 'kernel/uevent_seqnum'), number);
      assert.equal(await hardware.trace(), number);
    }
  });

  for (const name of [
    'debian13-6.12/hardware-pc', // with disks, sound and a stick that is a keyboard too and has a hostile name
    'debian13-6.12/hardware-raspberry-pi-3', // without PCI, with a device tree
    'debian13-6.18/hardware-virtual', // with hardly anything
  ]) {
    it(`finds every device in ${name}`, async () => {
      const devices = await devicesOf(goldenListing(`${name}.txt`));
      assert.deepEqual(devices.map(line), goldenListing(`${name}-devices.txt`).trimEnd().split('\n'));
    });
  }

  it('rejects with a remedy if there is no sysfs', async () => {
    await assert.rejects(new Hardware({ hostRoot: '/', sys: '/nonexistent', reader, clock }).devices(signal), {
      id: 'SOURCE_UNREADABLE',
    });
  });

  it('stops when it is aborted', async () => {
    const stopped = AbortSignal.abort(new Error('stopping'));
    await assert.rejects(new Hardware({ hostRoot: '/', reader, clock }).devices(stopped), /stopping/);
  });

  it('reports where a listing hung, and lists again an hour later', async () => {
    let now = 0;
    const hung: Answer<never> = { state: 'hung', at: '/sys/class/net', ownerSkipped: false };
    let asked = 0;
    const hanging = {
      ask: async () => {
        asked += 1;
        return [hung as never];
      },
    };
    const hardware = new Hardware({ hostRoot: '/', reader: hanging, clock: { monotonic: () => now as never } });
    for (const minute of [0, 59]) {
      now = minute * 60_000;
      await assert.rejects(hardware.devices(signal), {
        id: 'SOURCE_UNREADABLE',
        message: /reading \/sys\/class\/net hung/,
      });
    }
    assert.equal(asked, 1);
    now = hours(1);
    await assert.rejects(hardware.devices(signal));
    assert.equal(asked, 2);
  });

  it('rejects an invalid answer', async () => {
    for (const answer of [
      undefined,
      { state: 'avoided' },
      { state: 'failed', message: 'EIO' },
      { state: 'unavailable', message: 'no child' },
      ...[undefined, 'x', [], {}, { found: [{ name: 1 }], leftOut: 0 }, { found: [], leftOut: -1 }].map((value) => ({
        state: 'answered',
        value,
      })),
    ]) {
      const hardware = new Hardware({ hostRoot: '/', reader: answering(answer), clock });
      await assert.rejects(hardware.devices(signal), { id: 'SOURCE_UNREADABLE' }, JSON.stringify(answer));
    }
  });

  it('returns valid devices of this machine through a process of its own', async () => {
    const own = new Reader({ clock, log: createLog({ level: 'silent' }) });
    const from = { ...sources, hardware: new Hardware({ hostRoot: '/', reader: own, clock }) };
    const payload = await connectedHardware.collect(from, signal);
    own.close();
    for (const element of payload) v.parse(connectedHardware.payload, element);
    const pci = payload.filter(({ HardwareCategory }) => HardwareCategory === 'PCI');
    assert.equal(pci.length, entries('/sys/bus/pci/devices'));
  });
});

function entries(folder: string): number {
  try {
    return Math.min(readdirSync(folder).length, 1_024);
  } catch {
    return 0;
  }
}

/** A tree of one device, in which `DEVICE` stands for its path and `PARENT` for that of what it hangs on. */
const oneDevice = ({ parent, device, list, rest }: { parent: string; device: string; list: string; rest: string }) =>
  `sys/${list}/${device.split('/').at(-1)} -> ${'../'.repeat(list.split('/').length)}devices/${parent}/${device}\n${rest}`
    .replaceAll('DEVICE', `sys/devices/${parent}/${device}`)
    .replaceAll('PARENT', `sys/devices/${parent}`);

const USB_PARENT = `
  PARENT/../subsystem -> /sys/bus/usb
  PARENT/../idVendor = "046d\\n"
  PARENT/../idProduct = "0825\\n"
  PARENT/../manufacturer = "Maker\\n"
  PARENT/../product = "Thing\\n"
  PARENT/../serial = "S1\\n"
  PARENT/subsystem -> /sys/bus/usb
  PARENT/driver -> /sys/bus/usb/drivers/DRIVER
`;
const usbParent = (driver: string) =>
  USB_PARENT.replace('DRIVER', driver).replaceAll('PARENT/..', 'sys/devices/usb1/1-6');
const USB = { parent: 'usb1/1-6/1-6:1.0' };

describe('lists a device that', () => {
  const cases: Record<string, { listing: string; expected: string[] }> = {
    'is a camera is there once, though it has two nodes': {
      listing: [0, 1]
        .map((index) =>
          oneDevice({
            ...USB,
            device: `video4linux/video${index}`,
            list: 'class/video4linux',
            rest: `DEVICE/name = "HD Webcam: HD Webcam\\n"\nDEVICE/index = "${index}\\n"`,
          }),
        )
        .join('\n')
        .concat(usbParent('uvcvideo').replaceAll('PARENT', 'sys/devices/usb1/1-6/1-6:1.0')),
      expected: ['Video | Camera or codec | HD Webcam: HD Webcam | 046d:0825 | S1 | uvcvideo | 1-6'],
    },
    'is a Bluetooth adapter is called as the USB device it is': {
      listing: oneDevice({
        ...USB,
        device: 'bluetooth/hci0',
        list: 'class/bluetooth',
        rest: usbParent('btusb'),
      }),
      expected: ['Bluetooth | Adapter | Maker Thing | 046d:0825 | S1 | btusb | 1-6'],
    },
    'is a wireless network says so': {
      listing: oneDevice({
        parent: 'pci0000:00/0000:02:00.0',
        device: 'net/wlan0',
        list: 'class/net',
        rest: `
          DEVICE/device -> ../../../0000:02:00.0
          DEVICE/type = "1\\n"
          DEVICE/uevent = "DEVTYPE=wlan\\nINTERFACE=wlan0\\n"
          PARENT/subsystem -> /sys/bus/pci
          PARENT/driver -> /sys/bus/pci/drivers/ath10k_pci
          PARENT/uevent = "PCI_CLASS=28000\\nPCI_ID=168C:003E\\n"
        `,
      }),
      expected: ['Network | Wireless | wlan0 | 168c:003e |  | ath10k_pci | 0000:02:00.0'],
    },
    'is a CAN bus is a network': {
      listing: oneDevice({
        parent: 'platform/soc/spi0.0',
        device: 'net/can0',
        list: 'class/net',
        rest: 'DEVICE/device -> ../../../spi0.0\nDEVICE/type = "280\\n"\nPARENT/subsystem -> /sys/bus/spi',
      }),
      expected: ['Network | CAN | can0 | : |  |  | spi0.0'],
    },
    'is a bridge is none': {
      listing: oneDevice({ parent: 'virtual', device: 'net/br0', list: 'class/net', rest: 'DEVICE/type = "1\\n"' }),
      expected: [],
    },
    'is a path to a disk is not the disk': {
      listing: oneDevice({
        parent: 'pci0000:00/0000:01:00.0/nvme/nvme0',
        device: 'nvme0c0n1',
        list: 'block',
        rest: 'DEVICE/device -> ../../nvme0\nDEVICE/hidden = "1\\n"',
      }),
      expected: [],
    },
    'is a boot partition of eMMC is part of it': {
      listing: oneDevice({
        parent: 'platform/mmc0/mmc0:0001/block/mmcblk0',
        device: 'mmcblk0boot0',
        list: 'block',
        rest: 'DEVICE/device -> ../../mmcblk0\nPARENT/subsystem -> /sys/class/block',
      }),
      expected: [],
    },
    'is eMMC says so': {
      listing: oneDevice({
        parent: 'platform/mmc0/mmc0:0001',
        device: 'block/mmcblk0',
        list: 'block',
        rest: `
          DEVICE/device -> ../../../mmc0:0001
          PARENT/subsystem -> /sys/bus/mmc
          PARENT/driver -> /sys/bus/mmc/drivers/mmcblk
          PARENT/type = "MMC\\n"
          PARENT/name = "BJTD4R\\n"
          PARENT/serial = "0x5ad4d1a3\\n"
        `,
      }),
      expected: ['Block | eMMC | BJTD4R | : | 0x5ad4d1a3 | mmcblk | mmc0:0001'],
    },
    'tells its serial number on page 80h': {
      listing: oneDevice({
        parent: 'pci0000:00/ata1/0:0:0:0',
        device: 'block/sda',
        list: 'block',
        rest: `
          DEVICE/device -> ../../../0:0:0:0
          DEVICE/queue/rotational = "1\\n"
          PARENT/vendor = "ATA     \\n"
          PARENT/model = "WDC WD10JPVX-22J\\n"
          PARENT/vpd_pg80 = "\\u0000\\u0080\\u0000\\u0014     WD-WXA1A12B3C4D5"
        `,
      }),
      expected: ['Block | Hard disk | WDC WD10JPVX-22J | : | WD-WXA1A12B3C4D5 |  | '],
    },
    'is a UART that may come is not there': {
      listing: oneDevice({
        parent: 'platform/serial8250/serial8250:0/serial8250:0.3',
        device: 'tty/ttyS3',
        list: 'class/tty',
        rest: 'DEVICE/device -> ../../../serial8250:0.3\nDEVICE/type = "0\\n"',
      }),
      expected: [],
    },
    'is a keyboard by Bluetooth counts, though a program passes it on': {
      listing: oneDevice({
        parent: 'virtual/misc/uhid/0005:046D:B342.0001',
        device: 'input/input20',
        list: 'class/input',
        rest: `
          DEVICE/name = "Keyboard K380\\n"
          DEVICE/phys = "aa:bb:cc:dd:ee:ff\\n"
          DEVICE/uniq = "11:22:33:44:55:66\\n"
          DEVICE/id/bustype = "0005\\n"
          DEVICE/id/vendor = "046d\\n"
          DEVICE/id/product = "b342\\n"
          DEVICE/capabilities/ev = "12001f\\n"
          DEVICE/capabilities/key = "fffffffffffffffe\\n"
        `,
      }),
      expected: ['Input | Keyboard | Keyboard K380 | 046d:b342 | 11:22:33:44:55:66 |  | aa:bb:cc:dd:ee:ff'],
    },
    'a program made up is none': {
      listing: oneDevice({
        parent: 'virtual',
        device: 'input/input21',
        list: 'class/input',
        rest: 'DEVICE/name = "py-evdev-uinput\\n"',
      }),
      expected: [],
    },
    'is a chip on a board is called by the board': {
      listing:
        oneDevice({
          parent: 'platform/soc/3f804000.i2c/i2c-1',
          device: '1-0076',
          list: 'bus/i2c/devices',
          rest: 'DEVICE/name = "bme280\\n"\nDEVICE/driver -> /sys/bus/i2c/drivers/bmp280\n',
        }) +
        oneDevice({
          parent: 'platform/soc/3f804000.i2c/i2c-1',
          device: '1-0077',
          list: 'bus/i2c/devices',
          rest: 'DEVICE/name = "dummy\\n"\n',
        }) +
        oneDevice({
          parent: 'platform/soc/3f204000.spi/spi_master/spi0',
          device: 'spi0.0',
          list: 'bus/spi/devices',
          rest: 'DEVICE/modalias = "spi:mcp2515\\n"\nsys/bus/i2c/devices/i2c-1 -> ../../../devices/platform/soc/3f804000.i2c/i2c-1',
        }),
      expected: ['I2C | Chip | bme280 | : |  | bmp280 | 1-0076', 'SPI | Chip | mcp2515 | : |  |  | spi0.0'],
    },
    'hangs on Thunderbolt may not be allowed to do anything yet': {
      listing: oneDevice({
        parent: 'pci0000:00/domain0/0-0',
        device: '0-1',
        list: 'bus/thunderbolt/devices',
        rest: `
          DEVICE/device_name = "Dock\\n"
          DEVICE/vendor_name = "Maker\\n"
          DEVICE/vendor = "0x1e\\n"
          DEVICE/device = "0x1c\\n"
          DEVICE/unique_id = "c9010000-0060-6c1e-03d7-dc3fd8f31c23\\n"
          DEVICE/authorized = "0\\n"
        `,
      }),
      expected: [
        'Thunderbolt | Unauthorized device | Maker Dock | 1e:1c | c9010000-0060-6c1e-03d7-dc3fd8f31c23 |  | 0-1',
      ],
    },
    'is a TPM is there by its place': {
      listing: oneDevice({
        parent: 'LNXSYSTM:00/MSFT0101:00',
        device: 'tpm/tpm0',
        list: 'class/tpm',
        rest: 'PARENT/subsystem -> /sys/bus/acpi\nPARENT/driver -> /sys/bus/acpi/drivers/tpm_tis',
      }),
      expected: ['TPM | Security module | tpm0 | : |  | tpm_tis | MSFT0101:00'],
    },
    'pci.ids knows has a name': {
      listing: `${oneDevice({
        parent: 'pci0000:00',
        device: '0000:00:1f.6',
        list: 'bus/pci/devices',
        rest: 'DEVICE/uevent = "DRIVER=e1000e\\nPCI_CLASS=20000\\nPCI_ID=8086:15D7\\n"\n',
      })}\nusr/share/misc/pci.ids = "# ids\\n8086  Intel Corporation\\n\\t15d7  Ethernet Connection I219-LM\\n"`,
      expected: [
        'PCI | Ethernet controller | Intel Corporation Ethernet Connection I219-LM | 8086:15d7 |  | e1000e | 0000:00:1f.6',
      ],
    },
    'says nothing of itself still has a name': {
      listing: oneDevice({ parent: 'pci0000:00', device: 'x', list: 'bus/pci/devices', rest: 'DEVICE/' }),
      expected: ['PCI | Unclassified device | Unclassified device | : |  |  | x'],
    },
    'was given an odd name by somebody has it readable': {
      listing: oneDevice({
        parent: 'pci0000:00/0000:00:03.0',
        device: 'net/e\u001b[31m',
        list: 'class/net',
        rest: 'DEVICE/device -> ../../../0000:00:03.0',
      }),
      expected: ['Network | Other network | e·[31m | : |  |  | '],
    },
    'hangs in a tree of loops is no trap': {
      listing: `
        sys/block/sda -> sda
        sys/block/sdb -> ../../../../../../../../etc
        sys/class/net/a -> b
        sys/class/net/b -> a
        sys/class/input/input1 -> ../../devices/loop/input1
        sys/devices/loop -> loop
        sys/class/tty/ttyX -> ../../devices/ttyX
        sys/devices/ttyX/device -> .
        sys/devices/ttyX/subsystem -> subsystem
        sys/devices/ttyX/driver -> ../../../../..
      `,
      expected: ['Input | Other input | Other input | : |  |  | ', 'Serial | Serial port | ttyX | : |  |  | '],
    },
  };

  for (const [what, { listing, expected }] of Object.entries(cases)) {
    it(what, async () => assert.deepEqual((await devicesOf(listing)).map(line), expected));
  }

  it('keeps the first devices among ten thousand', async () => {
    const many = Array.from({ length: 1_100 }, (_, n) => `sys/bus/pci/devices/${n} -> ../../../devices/${n}`).join(
      '\n',
    );
    assert.equal((await devicesOf(many)).length, 1_024);
  });
});
