/** Filter lists, actions, fields and operators of linux/audit.h. */
export const USER = 0;
export const TASK = 1;
export const EXIT = 4;
export const EXCLUDE = 5;
export const URING_EXIT = 7;
export const NEVER = 0;
export const ALWAYS = 2;
export const UID = 1;
export const ARCH = 11;
export const MSGTYPE = 12;
export const EQUAL = 0x4000_0000;
export const GREATER_OR_EQUAL = 0x6000_0000;
export const NOT_EQUAL = 0x3000_0000;

/** A rule of an administrator, as auditctl(8) makes it. @param fields each with its operator and value */
export function foreignRule(
  list: number,
  action: number,
  ...fields: readonly (readonly [number, number, number])[]
): Buffer {
  const rule = Buffer.alloc(1_040);
  for (const [index, word] of [list, action, fields.length].entries()) rule.writeUInt32LE(word, index * 4);
  for (const [index, [field, operator, value]] of fields.entries()) {
    rule.writeUInt32LE(field, (67 + index) * 4);
    rule.writeUInt32LE(value, (131 + index) * 4);
    rule.writeUInt32LE(operator, (195 + index) * 4);
  }
  return rule;
}

/** The same with these system calls (`-S`), or operations of io_uring; without any, auditctl(8) takes all. */
export function aboutCalls(rule: Buffer, ...calls: readonly number[]): Buffer {
  const mask = rule.subarray(12, 12 + 256);
  if (calls.length === 0) mask.fill(0xff);
  for (const call of calls)
    mask.writeUInt32LE((mask.readUInt32LE((call >> 5) * 4) | (1 << (call & 31))) >>> 0, (call >> 5) * 4);
  return rule;
}

/** `-a always,exclude -F msgtype=…` */
export const exclusionOf = (recordType: number): Buffer => foreignRule(EXCLUDE, ALWAYS, [MSGTYPE, EQUAL, recordType]);
/** `-a never,task`, as Fedora sets it. */
export const TASK_NEVER = foreignRule(TASK, NEVER);
/** `-a never,task -F uid=1000` */
export const TASK_NEVER_OF_ONE = foreignRule(TASK, NEVER, [UID, EQUAL, 1_000]);
