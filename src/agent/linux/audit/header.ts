/** What all records of one audit event have in common. */
export interface AuditHeader {
  /** Counts up by one per event since boot, and wraps at 2^32. */
  readonly serial: number;
  /** Milliseconds since the Unix epoch, UTC. */
  readonly time: number;
  /** Where the header ends and the record's own text starts. */
  readonly bodyAt: number;
}

const PREFIX = Buffer.from('audit(');
const DOT = 0x2e;
const COLON = 0x3a;
const CLOSE = 0x29;
const BLANK = 0x20;
const ZERO = 0x30;

/**
 * Reads the header of a kernel audit record, `audit(SECONDS.MILLISECONDS:SERIAL): `.
 *
 *     audit(1795536426.345:6): argc=4 a0="/bin/ls" a1=612062 a2=227822 a3=C3A9
 *     audit(1795536426.345:6):
 *
 * Works on the bytes: of the record that only ends an event, nothing else is ever looked at.
 * Source: audit_log_start() in the kernel's kernel/audit.c; auditd's own log has `msg=` before it.
 *
 * @param at where the record starts
 * @returns `undefined` when it has no such header
 */
export function readHeader(record: Buffer, at = 0): AuditHeader | undefined {
  for (let index = 0; index < PREFIX.length; index += 1) {
    if (record[at + index] !== PREFIX[index]) return undefined;
  }
  let next = at + PREFIX.length;
  // No closure and no array in here: this runs for every record.
  let seconds = 0;
  let digit = (record[next] ?? 0) - ZERO;
  if (digit < 0 || digit > 9) return undefined;
  for (; digit >= 0 && digit <= 9; digit = (record[next] ?? 0) - ZERO) {
    seconds = seconds * 10 + digit;
    next += 1;
  }
  if (record[next] !== DOT || seconds > 1e12) return undefined;
  let millis = 0;
  for (let count = 0; count < 3; count += 1) {
    next += 1;
    digit = (record[next] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    millis = millis * 10 + digit;
  }
  next += 1;
  if (record[next] !== COLON) return undefined;
  next += 1;
  let serial = 0;
  digit = (record[next] ?? 0) - ZERO;
  if (digit < 0 || digit > 9) return undefined;
  for (; digit >= 0 && digit <= 9; digit = (record[next] ?? 0) - ZERO) {
    serial = serial * 10 + digit;
    next += 1;
  }
  if (serial > 0xffff_ffff || record[next] !== CLOSE || record[next + 1] !== COLON) return undefined;
  next += 2;
  // The serial first: other objects begin with a `time` that is a Date. V8 would have one notion of that field for both, and
  // throw away what it has compiled for one of them when the first of the other comes.
  return { serial, time: seconds * 1_000 + millis, bodyAt: record[next] === BLANK ? next + 1 : next };
}
