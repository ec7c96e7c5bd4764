import assert from 'node:assert/strict';
import fc from 'fast-check';
import * as v from 'valibot';
import { connectedHardware } from '../../../../../src/agent/collectors/connected-hardware.ts';
import { readable } from '../../../../../src/agent/host/readable.ts';
import { parseUevent, SysDevice } from '../../../../../src/agent/host/sysfs.ts';
import { pciClass, usbKind } from '../../../../../src/agent/linux/machine/hardware/classes.ts';
import { Bits, type Capabilities, inputKind } from '../../../../../src/agent/linux/machine/hardware/input-kind.ts';
import { KINDS, parseEdid } from '../../../../../src/agent/linux/machine/hardware/kinds.ts';
import { idName, parseSoundCards } from '../../../../../src/agent/linux/machine/hardware/list-hardware.ts';
import type { HardwareDevice } from '../../../../../src/core/contract/sources.ts';
import { fuzzRuns } from '../../../../fuzz.ts';
import { sources } from '../../../collectors/samples.ts';
import { mutated } from '../../mutated.ts';

const numRuns = fuzzRuns(100_000);
const anyText = fc.string({ unit: 'binary', maxLength: 400 });

describe('readable', () => {
  for (const [text, expected] of [
    ['  SAMSUNG MZ7LN256   \n', 'SAMSUNG MZ7LN256'],
    ['model\0', 'model'],
    ['two\nlines', 'two·lines'],
    ['\u001b[31mred', '·[31mred'],
    ['a\u202egpj.exe', 'a·gpj.exe'],
    ['\u0085\u009b\u2028\u200b', '··' /* trimmed: what Unicode calls white space */],
    ['Grüße 🎉', 'Grüße 🎉'],
    ['x'.repeat(300), 'x'.repeat(256)],
    [`${'x'.repeat(255)}🎉`, 'x'.repeat(255)],
    [' \n\0', undefined],
  ] as const) {
    it(`escapes ${JSON.stringify(text.slice(0, 40))}`, () => {
      if (text.startsWith('\u0085')) assert.match(readable(text) ?? '', /^·+$/);
      else assert.equal(readable(text), expected);
    });
  }

  it('accepts any text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          anyText,
          fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes).toString()),
        ),
        (text) => {
          const line = readable(text);
          assert.ok(line === undefined || (line.length > 0 && line.length <= 256));
          assert.doesNotMatch(line ?? '', /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        },
      ),
      { numRuns },
    );
    readable(`${' '.repeat(60_000)}x${' '.repeat(60_000)}x`);
  });
});

describe('parseUevent', () => {
  it('reads fields, and keeps the first of a name', () => {
    const { DRIVER, PCI_ID, NAME } = parseUevent(
      'DRIVER=e1000e\nPCI_ID=8086:15D7\nDRIVER=evil\nnonsense\nNAME="a=b"\n',
    );
    assert.deepEqual([DRIVER, PCI_ID, NAME], ['e1000e', '8086:15D7', '"a=b"']);
  });

  it('accepts any text', () => {
    const golden = 'MAJOR=189\nMINOR=3\nDEVTYPE=usb_device\nDRIVER=usb\nPRODUCT=46d/c31c/6402\nTYPE=0/0/0\n';
    fc.assert(
      fc.property(fc.oneof(anyText, mutated(golden)), (text) => {
        for (const [name, value = ''] of Object.entries(parseUevent(text))) {
          assert.match(name, /^[A-Z][A-Z0-9_]*$/);
          assert.ok(!value.includes('\n') && value.length < text.length);
        }
      }),
      { numRuns },
    );
    assert.equal(parseUevent('__proto__=x').toString, undefined);
  });
});

describe('pciClass', () => {
  for (const [code, expected] of [
    [0x020000, 'Ethernet controller'],
    [0x0c0330, 'USB controller'],
    [0x028000, 'Network controller'],
    [0xff0000, 'Other device'],
    [0, 'Unclassified device'],
  ] as const) {
    it(`returns ${expected} for ${code.toString(16)}`, () => assert.equal(pciClass(code), expected));
  }
});

describe('usbKind', () => {
  for (const [device, interfaces, expected] of [
    ['0/0/0', ['8/6/80'], 'Mass storage'],
    ['0/0/0', ['8/6/80', '3/1/1', '3/1/1'], 'Mass storage, Keyboard'],
    ['9/0/1', ['9/0/0'], 'Hub'],
    ['239/2/1', ['14/1/0', '14/2/0', '1/1/0'], 'Video, Audio'],
    ['2/0/0', ['2/2/1', '10/0/0'], 'Modem'],
    ['224/1/1', ['224/1/1', '224/1/1'], 'Bluetooth'],
    ['9/0/0', [], 'Hub'],
    ['0/0/0', [undefined, 'x', '999/0/0'], 'Other device'],
    [undefined, [], 'Other device'],
  ] as const) {
    it(`returns ${expected} for ${device} with ${interfaces.join(' and ')}`, () =>
      assert.equal(usbKind(device, interfaces), expected));
  }
});

describe('inputKind', () => {
  const kind = (attributes: Partial<Record<keyof Capabilities, string>>, wordBits: 32 | 64 = 64) => {
    const bits = (name: keyof Capabilities) => new Bits(attributes[name] ?? '0', wordBits);
    return inputKind({
      ev: bits('ev'),
      key: bits('key'),
      rel: bits('rel'),
      abs: bits('abs'),
      properties: bits('properties'),
    });
  };

  for (const [what, attributes, expected] of [
    ['a keyboard', { ev: '120013', key: '10000 7 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe' }, 'Keyboard'],
    ['a mouse', { ev: '17', key: '1f0000 0 0 0 0', rel: '903' }, 'Mouse'],
    ['a receiver of both', { ev: '17', key: '1f0000 0 0 0 fffffffffffffffe', rel: '3' }, 'Mouse, Keyboard'],
    ['a touchpad', { ev: 'b', key: 'e520 10000 0 0 0 0', abs: '660800011000003', properties: '5' }, 'Touchpad'],
    ['a touchscreen', { ev: 'b', key: '400 0 0 0 0 0', abs: '260800000000003', properties: '2' }, 'Touchscreen'],
    ['a pen tablet', { ev: 'b', key: '1c03 0 0 0 0 0', abs: '1000003' }, 'Tablet'],
    ['a game controller', { ev: '20000b', key: '7cdb000000000000 0 0 0 0', abs: '3003f' }, 'Game controller'],
    ['an accelerometer', { ev: '9', abs: '7' }, 'Accelerometer'],
    ['a power button', { ev: '3', key: '10000000000000 0' }, 'Buttons'],
    ['a lid', { ev: '21' }, 'Switch'],
    ['a beeper', { ev: '40001' }, 'Beeper'],
    ['nothing', {}, 'Other input'],
    ['nonsense', { ev: 'zz', key: '-1 x' }, 'Other input'],
  ] as const) {
    it(`recognises ${what}`, () => assert.equal(kind(attributes), expected));
  }

  it('recognises a keyboard if words have 32 bits', () => {
    assert.equal(kind({ ev: '120013', key: '7 ff800000 7ff febeffdf ffefffff ffffffff fffffffe' }, 32), 'Keyboard');
    assert.equal(kind({ ev: '17', key: '1f0000 0 0 0 0 0 0 0 0', rel: '903' }, 32), 'Mouse');
  });

  it('accepts any bit maps', () => {
    const map = fc.oneof(anyText, mutated('10000 7 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe'));
    fc.assert(
      fc.property(map, map, map, fc.constantFrom(32, 64), (key, abs, ev, wordBits) =>
        assert.match(kind({ key, abs, ev, rel: abs, properties: ev }, wordBits), /^[A-Z]/),
      ),
      { numRuns },
    );
  });
});

describe('idName', () => {
  const IDS = `# List of ids
8085  Other
\t15d7  Wrong one
8086  Intel Corporation
# a comment between
\t1502  Gigabit
\t15d7  Ethernet Connection I219-LM
\t\t1028 07a7  Latitude
8087  Intel Corp.
\t0a2b  Bluetooth
C 02  Network controller
`;

  for (const [vendorId, productId, expected] of [
    ['8086', '15d7', 'Intel Corporation Ethernet Connection I219-LM'],
    ['8085', '15d7', 'Other Wrong one'],
    ['8086', '0a2b', undefined],
    ['8087', '0a2b', 'Intel Corp. Bluetooth'],
    ['8088', '0a2b', undefined],
    ['8086', '', undefined],
    ['', '', undefined],
  ]) {
    it(`finds ${vendorId}:${productId}`, () =>
      assert.equal(idName(Buffer.from(IDS), vendorId as string, productId as string), expected));
  }

  it('accepts any file and any numbers', () => {
    fc.assert(
      fc.property(
        fc.oneof(anyText, mutated(IDS)),
        fc.oneof(anyText, fc.constant('8086')),
        anyText,
        (ids, vendor, product) => {
          const name = idName(Buffer.from(ids), vendor, product);
          assert.ok(name === undefined || (name.length <= ids.length && !name.includes('\n')));
        },
      ),
      { numRuns },
    );
  });
});

describe('parseSoundCards', () => {
  const CARDS = ` 0 [PCH            ]: HDA-Intel - HDA Intel PCH
                      HDA Intel PCH at 0xdf240000 irq 145
 1 [Device         ]: USB-Audio - USB Audio - Device
                      C-Media USB Audio at usb-0000:00:14.0-1, full speed
29 [ThinkPadEC     ]: ThinkPad EC - ThinkPad Console Audio Control
`;

  it('reads short names by number', () => {
    assert.deepEqual(Object.fromEntries(parseSoundCards(CARDS)), {
      0: 'HDA Intel PCH',
      1: 'USB Audio - Device',
      29: 'ThinkPad Console Audio Control',
    });
    assert.equal(parseSoundCards('--- no soundcards ---\n').size, 0);
  });

  it('accepts any text', () => {
    fc.assert(
      fc.property(fc.oneof(anyText, mutated(CARDS)), (text) => {
        for (const name of parseSoundCards(text).values()) assert.ok(name.length > 0 && name.length < text.length);
      }),
      { numRuns },
    );
    parseSoundCards(` 0 [${'x'.repeat(60_000)}`);
    parseSoundCards(` 0 [x]: ${' - '.repeat(60_000)}`);
  });
});

describe('parseEdid', () => {
  const edid = Buffer.alloc(128);
  edid.write('00ffffffffffff0010ac7ba04c4d5032', 'hex');
  edid.write('000000ff00', 72, 'hex');
  edid.write('7MT0163L2PML\n', 77, 'latin1');
  edid.write('000000fc00', 90, 'hex');
  edid.write('DELL \u001bU2414H', 95, 'latin1');

  it('reads the manufacturer and name of a display', () => {
    assert.deepEqual(parseEdid(edid), {
      vendorId: 'DEL',
      productId: 'a07b',
      name: 'DELL ·U2414H',
      serial: '7MT0163L2PML',
    });
  });

  it('accepts any bytes', () => {
    const flipped = fc
      .array(fc.tuple(fc.nat(127), fc.nat(255)), { maxLength: 40 })
      .map((edits) => edits.reduce((bytes, [at, value]) => bytes.fill(value, at, at + 1), Buffer.from(edid)));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), flipped), (bytes) => {
        const { name = '', serial = '' } = parseEdid(Buffer.from(bytes)) ?? {};
        assert.ok(name.length <= 13 && serial.length <= 13);
      }),
      { numRuns },
    );
  });
});

/** A device that says anything. */
class AnyDevice extends SysDevice {
  readonly #attributes: ReadonlyMap<string, string>;

  constructor(path: string, attributes: ReadonlyMap<string, string>) {
    super('/nonexistent', path);
    this.#attributes = attributes;
  }
  override bytes(attribute: string): Buffer | undefined {
    const text = this.#attributes.get(attribute);
    return text === undefined ? undefined : Buffer.from(text, 'latin1');
  }
  override has = (entry: string) => this.#attributes.has(entry);
  override entries = () => [...this.#attributes.keys()];
  override child = (name: string) => this.#to(`${this.path}/${name}`);
  override follow(link: string) {
    const target = this.#attributes.get(`->${link}`);
    return target === undefined ? undefined : this.#to(target);
  }
  override *parents() {
    yield this.#to('/devices/a/b');
    yield this.#to('/devices/a');
  }
  #to = (path: string) => new AnyDevice(path, this.#attributes);
}

describe('listHardware', () => {
  const attribute = fc.constantFrom(
    ...['uevent', 'name', 'type', 'index', 'id', 'status', 'modalias', 'removable', 'queue/rotational', 'vpd_pg80'],
    ...['idVendor', 'idProduct', 'manufacturer', 'product', 'serial', 'vendor', 'device', 'model', 'manfid', 'oemid'],
    ...['device_name', 'vendor_name', 'unique_id', 'authorized', 'phys', 'uniq', 'properties', 'capabilities/key'],
    ...['capabilities/ev', 'capabilities/abs', 'id/bustype', 'id/vendor', 'edid', '1-1:1.0', 'pcmC0D0c'],
    ...['->device', '->subsystem', '->driver'],
  );
  const value = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.constantFrom(
      '0\n',
      '1\n',
      '5\n',
      '0x8086\n',
      'connected\n',
      '/bus/pci',
      '/bus/usb',
      '/class/block',
      '/bus/mmc',
      '',
    ),
    fc.constantFrom('0003\n', 'spi:x\n', 'MMC\n', '120013\n', '10000 7 ff9f207ac14057ff fffffffffffffffe\n', '/'),
    mutated('DRIVER=e1000e\nPCI_CLASS=20000\nPCI_ID=8086:15D7\nTYPE=0/0/0\nINTERFACE=8/6/80\nDEVTYPE=wlan\n'),
  );
  const path = fc.constantFrom('/devices/pci0000:00/x', '/devices/virtual/input/input0', '/', '/devices/a/card0');

  it('returns valid devices for any sysfs content', async function () {
    this.timeout(600_000);
    const { signal } = new AbortController();
    const names = { of: () => undefined, soundCard: () => undefined };
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(attribute, value), { maxLength: 20 }), path, async (attributes, at) => {
        const device = new AnyDevice(at, new Map(attributes));
        const devices = KINDS.map(({ category, describe }) => ({
          category,
          ...describe(device, { names, wordBits: 64 }),
        }))
          .filter((description) => 'subCategory' in description)
          .map((description) => description as unknown as HardwareDevice);
        const from = { ...sources, hardware: { ...sources.hardware, devices: async () => devices } };
        for (const payload of await connectedHardware.collect(from, signal)) {
          v.parse(connectedHardware.payload, payload);
          const { ExtraDetails = {}, ...fields } = payload as { ExtraDetails?: Record<string, string> };
          for (const text of Object.values<string>({ ...fields, ...ExtraDetails })) {
            assert.ok(text.length > 0 && text.length <= 513, text);
            assert.doesNotMatch(text, /[\p{Cc}\p{Cf}]/u);
          }
        }
      }),
      { numRuns },
    );
  });
});
