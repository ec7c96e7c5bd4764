import { readFileSync, watch, writeFileSync } from 'node:fs';

/**
 * Preloaded into an agent (`node --import`), it shifts the wall clock by the milliseconds in the file SHIFTED_CLOCK, which may
 * change at any time. Monotonic time and timers do not change, and neither does the time by which OpenSSL validates
 * certificates. After each shift, it writes the file's content to a second file, with `.seen` after the name, so that a test
 * can wait for it.
 */
const file = process.env.SHIFTED_CLOCK ?? '';
const RealDate = Date;
let seen = '';
let shift = 0;

const look = () => {
  const text = readFileSync(file, 'utf8');
  if (text === seen || text === '') return; // empty while it is being written
  seen = text;
  shift = Number(text);
  writeFileSync(`${file}.seen`, text);
};
watch(file, look).unref(); // not a timer, whose cost would count as the agent's
look();

class ShiftedDate extends RealDate {
  constructor(...given: unknown[]) {
    if (given.length === 0) super(RealDate.now() + shift);
    else super(...(given as [number]));
  }

  static override now = () => RealDate.now() + shift;
}
globalThis.Date = ShiftedDate as DateConstructor;
