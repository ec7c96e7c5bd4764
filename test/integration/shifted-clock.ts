import { readFileSync, watch, writeFileSync } from 'node:fs';

/**
 * Preloaded into an agent (`node --import`), sets its wall clock: by as many milliseconds as the file named by
 * SHIFTED_CLOCK says, which may change at any time. Monotonic time and timers stay as they are; so does what OpenSSL
 * takes for the time when it looks at certificates. Whenever it has set the clock, it writes what it has read into a second
 * file, with `.seen` after the name, so that a test can wait for it.
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
watch(file, look).unref(); // not a timer, whose cost would be taken for the agent's
look();

class ShiftedDate extends RealDate {
  constructor(...given: unknown[]) {
    if (given.length === 0) super(RealDate.now() + shift);
    else super(...(given as [number]));
  }

  static override now = () => RealDate.now() + shift;
}
globalThis.Date = ShiftedDate as DateConstructor;
