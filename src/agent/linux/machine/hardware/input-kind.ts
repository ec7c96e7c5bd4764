/* Determines the kind of an input device from the events it can report: numbers of linux/input-event-codes.h. */

const EV = { KEY: 0x01, ABS: 0x03, SW: 0x05, SND: 0x12 };
/** KEY_D and the keys before it: a device that has all of them is a keyboard. */
const KEY = { ESC: 1, D: 32 };
const BTN = { MISC: 0x100, MOUSE: 0x110, JOYSTICK: 0x120, DIGI: 0x140 };
const BTN_TOOL = { PEN: 0x140, FINGER: 0x145, TOUCH: 0x14a, STYLUS: 0x14b };
/** The first key after the buttons. */
const KEY_OK = 0x160;
const PROP = { DIRECT: 0x01, ACCELEROMETER: 0x06 };
/** The size of the largest bit map: KEY_CNT. */
const MAX_BITS = 0x300;

/** A bit map of event codes. */
export class Bits {
  readonly #hex: string;

  /**
   * @param text the kernel's format: words in hexadecimal, the highest first, without leading zeros
   * @param wordBits bits per word: 32 if the reading program is a 32-bit one, else 64; see input_bits_to_string() of
   *   drivers/input/input.c
   */
  constructor(text: string | undefined, wordBits: 32 | 64) {
    const words = (text ?? '').split(' ').slice(-MAX_BITS / wordBits);
    const valid = words.every((word) => /^[0-9a-f]{1,16}$/.test(word) && word.length * 4 <= wordBits);
    this.#hex = valid ? words.map((word) => word.padStart(wordBits / 4, '0')).join('') : '';
  }

  has(bit: number): boolean {
    const digit = this.#hex.at(-1 - (bit >> 2));
    return digit !== undefined && ((Number.parseInt(digit, 16) >> (bit & 3)) & 1) === 1;
  }

  hasAll(from: number, to: number): boolean {
    for (let bit = from; bit < to; bit++) if (!this.has(bit)) return false;
    return true;
  }

  /** Whether any bit in a range is set; the end is exclusive. */
  hasAny(from: number, to: number): boolean {
    for (let bit = from; bit < to; bit++) if (this.has(bit)) return true;
    return false;
  }
}

/** The capabilities of an input device: the folder `capabilities`, and `properties`. */
export interface Capabilities {
  readonly ev: Bits;
  readonly key: Bits;
  readonly rel: Bits;
  readonly abs: Bits;
  readonly properties: Bits;
}

const [X, Y, Z] = [0, 1, 2];
const moves = (axes: Bits) => axes.has(X) && axes.has(Y);

type Kind = readonly [kind: string, holds: (device: Capabilities) => boolean];

/** Pointing devices: the first match holds. The checks come from systemd's udev-builtin-input_id.c. */
const POINTERS: readonly Kind[] = [
  ['Accelerometer', ({ properties }) => properties.has(PROP.ACCELEROMETER)],
  ['Accelerometer', ({ ev, abs }) => !ev.has(EV.KEY) && ev.has(EV.ABS) && moves(abs) && abs.has(Z)],
  ['Tablet', ({ abs, key }) => moves(abs) && (key.has(BTN_TOOL.STYLUS) || key.has(BTN_TOOL.PEN))],
  ['Touchpad', ({ abs, key, properties }) => moves(abs) && key.has(BTN_TOOL.FINGER) && !properties.has(PROP.DIRECT)],
  ['Game controller', ({ key }) => key.hasAny(BTN.JOYSTICK, BTN.DIGI)],
  ['Mouse', ({ abs, rel, key }) => (moves(abs) || moves(rel)) && key.has(BTN.MOUSE)],
  ['Touchscreen', ({ abs, key, properties }) => moves(abs) && (key.has(BTN_TOOL.TOUCH) || properties.has(PROP.DIRECT))],
];

/** Other devices: the first match holds. */
const OTHERS: readonly Kind[] = [
  ['Buttons', ({ key }) => key.hasAny(KEY.ESC, BTN.MISC) || key.hasAny(KEY_OK, MAX_BITS)],
  ['Switch', ({ ev }) => ev.has(EV.SW)],
  ['Beeper', ({ ev }) => ev.has(EV.SND)],
];

const first = (kinds: readonly Kind[], device: Capabilities) => kinds.find(([, holds]) => holds(device))?.[0];

/** The kinds of a device. A pointing device that has all keys of a keyboard is reported as both. */
export function inputKind(device: Capabilities): string {
  const pointer = first(POINTERS, device);
  const keyboard = device.key.hasAll(KEY.ESC, KEY.D) ? 'Keyboard' : undefined;
  const kinds = [pointer, keyboard].filter((kind) => kind !== undefined);
  return kinds.join(', ') || (first(OTHERS, device) ?? 'Other input');
}
