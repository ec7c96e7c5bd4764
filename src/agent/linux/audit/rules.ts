import { readU32, writeU32 } from '../native/byte-order.ts';
import type { Abi } from './syscalls.ts';

/** A request for audit events: these system calls, of every program, for all ABIs of the machine. */
export interface AuditRule {
  /** Names as in auditctl(8). A call that an ABI does not have is left out there. */
  readonly syscalls: readonly string[];
  /** The same operations by io_uring, for rules that have them; kernels before 5.16 cannot report them. */
  readonly ringOperations?: readonly RingOperation[];
  /**
   * Only calls that meet all these conditions; fields as in auditctl(8). `success`: 1 or 0. `a0`: the first argument.
   * `saddr_fam`: the family of the socket address; kernels before 5.3 report all families instead.
   */
  readonly where?: { readonly success?: 0 | 1; readonly a0?: number; readonly saddr_fam?: number };
}

/** Operations of io_uring; a new one needs its number below. */
export type RingOperation = 'connect';

/* Audit rules as the kernel takes and lists them: struct audit_rule_data of linux/audit.h, all u32:
 *
 *   flags (the filter list), action, field count, mask[64] (a bit for each system call),
 *   fields[64], values[64], fieldflags[64] (the operator), buflen, buf (the strings, in the order of their fields)
 *
 * A string field's value is its length in `buf`. See audit_data_to_entry() in kernel/auditfilter.c. */

const MASK_AT = 12;
const FIELDS_AT = MASK_AT + 64 * 4;
const VALUES_AT = FIELDS_AT + 64 * 4;
const OPERATORS_AT = VALUES_AT + 64 * 4;
const BUFLEN_AT = OPERATORS_AT + 64 * 4;
const STRINGS_AT = BUFLEN_AT + 4;
const MAX_FIELDS = 64;

const FILTER_USER = 0;
const FILTER_TASK = 1;
const FILTER_EXIT = 4;
const FILTER_EXCLUDE = 5;
/** AUDIT_FILTER_PREPEND: the rule comes before those of its list; the kernel takes the first one that applies. */
const FILTER_PREPEND = 0x10;
/** AUDIT_FILTER_URING_EXIT: the mask's bits are operations of io_uring. */
const FILTER_URING_EXIT = 7;
const NEVER = 0;
const ALWAYS = 2;

const FIELD_PID = 0;
const FIELD_UID = 1;
const FIELD_ARCH = 11;
const FIELD_MSGTYPE = 12;
const FIELD_SUCCESS = 104;
/** A comparison of two ids of the process; which ones is the value. */
const FIELD_COMPARE = 111;
const COMPARE_UID_TO_EUID = 11;
const COMPARE_GID_TO_EGID = 20;
const FIELD_SADDR_FAM = 113;
const FIELD_A0 = 200;
const FIELD_KEY = 210;
/** Fields whose value is the length of a string: subject and object labels, watch, dir, key, exe. */
const STRING_FIELDS = new Set([13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 105, 107, FIELD_KEY, 112]);

/** The kernel's bits for operators: "not equal" is "less or greater". */
const EQUAL = 0x4000_0000;
const GREATER = 0x2000_0000;
const LESS = 0x1000_0000;
const NOT_EQUAL = LESS | GREATER;

/** The key of all rules of the agent, which distinguishes them from the administrator's. */
export const KEY = 'vakt';

/** The key of the rules of a command, such as "vakt collect": an agent that starts beside it may need the same ones. */
const COMMAND_KEY = 'vakt-command';

/** The keys of the agent's rules and of a command's. */
export const KEYS: readonly string[] = [KEY, COMMAND_KEY];

export const keyOf = ({ yieldsToAgent = false }: { yieldsToAgent?: boolean | undefined }): string =>
  yieldsToAgent ? COMMAND_KEY : KEY;

/**
 * What to do where rules are locked until the next boot, and the agent's are not among them. They must be the same, field by
 * field; only the agent knows them all.
 */
export const LOCKED_REMEDY =
  `Boot once without "-e 2" and start the agent. Add the lines that "auditctl -l | grep key=${KEY}$" prints to the rules ` +
  'that are loaded at boot, before "-e 2", and reboot.';

/**
 * The mark of the agent's exclude rules, which cannot have a key: the kernel accepts one, but audit_filter() stops at a field
 * that it does not know there, and lets the record pass (tried on 6.18: PATH records still came). So they have a second
 * condition that is always true: "pid is not 0x76616b74", above any pid (2^22), and `vakt` in ASCII.
 */
const MARK = 0x7661_6b74;

/** No record has this type. A rule about it never applies, so it can have a key and store a text. */
const NO_TYPE = 1;

/** A rule as the kernel lists it. `data` can be sent back to delete it. */
export interface KernelRule {
  readonly data: Buffer;
  /** `undefined` when the rule has none. */
  readonly key: string | undefined;
  /** Whether this agent, an earlier run of it, or a command made the rule. */
  readonly ours: boolean;
  /** The filter list. */
  readonly list: number;
  readonly action: number;
  /** Without the key. A string is given by its length. */
  readonly conditions: readonly Field<number>[];
}

interface Field<Value = number | string> {
  readonly field: number;
  readonly operator: number;
  readonly value: Value;
}

function encode(list: number, calls: readonly number[], fields: readonly Field[], action = ALWAYS): Buffer {
  const strings = Buffer.from(fields.map(({ value }) => (typeof value === 'string' ? value : '')).join(''));
  const rule = Buffer.alloc(STRINGS_AT + strings.length);
  writeU32(rule, 0, list);
  writeU32(rule, 4, action);
  writeU32(rule, 8, fields.length);
  for (const call of calls) {
    const word = MASK_AT + (call >> 5) * 4;
    writeU32(rule, word, readU32(rule, word) | (1 << (call & 31)));
  }
  for (const [index, { field, operator, value }] of fields.entries()) {
    writeU32(rule, FIELDS_AT + index * 4, field);
    writeU32(rule, VALUES_AT + index * 4, typeof value === 'string' ? Buffer.byteLength(value) : value);
    writeU32(rule, OPERATORS_AT + index * 4, operator);
  }
  writeU32(rule, BUFLEN_AT, strings.length);
  strings.copy(rule, STRINGS_AT);
  return rule;
}

/** The conditions of AuditRule.where by their numbers in linux/audit.h. */
const CONDITIONS = { success: FIELD_SUCCESS, a0: FIELD_A0, saddr_fam: FIELD_SADDR_FAM } as const;

/**
 * The kernel rules for all of `rules`: one for each ABI and each set of conditions, since every rule costs time in every
 * system call. A call that an ABI does not have is left out there.
 *
 * The agent's own calls are reported as well. `pid!=` would hide little: programs that it starts have other pids, and its
 * connections are few. But it would hide an agent that was taken over, and a rule left by a killed agent would differ from
 * its successor's.
 */
export function syscallRules(rules: readonly AuditRule[], abis: readonly Abi[], ruleKey = KEY): Buffer[] {
  const groups = new Map<string, { names: Set<string>; conditions: readonly Field[] }>();
  for (const { syscalls, where = {} } of rules) {
    const conditions = conditionsOf(where);
    const key = JSON.stringify(conditions);
    const group = groups.get(key) ?? { names: new Set(), conditions };
    groups.set(key, group);
    for (const name of syscalls) group.names.add(name);
  }
  return abis.flatMap(({ arch, syscalls }) =>
    [...groups.values()].flatMap(({ names, conditions }) => {
      const calls = [...names].map((name) => syscalls[name]).filter((call) => call !== undefined);
      if (calls.length === 0) return [];
      return encode(FILTER_EXIT, calls, [
        { field: FIELD_ARCH, operator: EQUAL, value: arch },
        ...conditions,
        { field: FIELD_KEY, operator: EQUAL, value: ruleKey },
      ]);
    }),
  );
}

/** IORING_OP_* of linux/io_uring.h. */
export const RING_OPERATIONS: Readonly<Record<RingOperation, number>> = { connect: 16 };

/**
 * The kernel rules that ask for operations of io_uring, which rules for system calls don't see. One serves all ABIs. The
 * kernel refuses them with EINVAL before 5.16.
 */
export const ringRules = (rules: readonly AuditRule[], key = KEY): Buffer[] =>
  rules.flatMap(({ ringOperations = [], where = {} }) =>
    ringOperations.length === 0
      ? []
      : [
          encode(
            FILTER_URING_EXIT,
            ringOperations.map((name) => RING_OPERATIONS[name]),
            [...conditionsOf(where), { field: FIELD_KEY, operator: EQUAL, value: key }],
          ),
        ],
  );

export const isRingRule = (rule: Buffer): boolean => readU32(rule, 0) === FILTER_URING_EXIT;

const conditionsOf = (where: NonNullable<AuditRule['where']>): readonly Field[] =>
  (Object.keys(CONDITIONS) as (keyof typeof CONDITIONS)[]).flatMap((name) => {
    const value = where[name];
    return value === undefined ? [] : [{ field: CONDITIONS[name], operator: EQUAL, value }];
  });

/**
 * The rules that keep the kernel from reporting starts by this user, except those of set-user-id and set-group-id programs,
 * and nothing else that the user does. To be sent with `prepended`.
 */
export const exclusionRules = (
  { first, last }: { readonly first: number; readonly last: number },
  abis: readonly Abi[],
  key = KEY,
): Buffer[] =>
  abis.map(({ arch, syscalls }) =>
    encode(
      FILTER_EXIT,
      ['execve', 'execveat'].map((name) => syscalls[name]).filter((call) => call !== undefined),
      [
        { field: FIELD_ARCH, operator: EQUAL, value: arch },
        { field: FIELD_UID, operator: GREATER | EQUAL, value: first },
        { field: FIELD_UID, operator: LESS | EQUAL, value: last },
        { field: FIELD_COMPARE, operator: EQUAL, value: COMPARE_UID_TO_EUID },
        { field: FIELD_COMPARE, operator: EQUAL, value: COMPARE_GID_TO_EGID },
        { field: FIELD_KEY, operator: EQUAL, value: key },
      ],
      NEVER,
    ),
  );

/** The request that adds an exclusion rule before all others, where it takes effect; the kernel lists it without this mark. */
export function prepended(rule: Buffer): Buffer {
  const request = Buffer.from(rule);
  writeU32(request, 0, readU32(rule, 0) | FILTER_PREPEND);
  return request;
}

export const isExclusion = (rule: Buffer): boolean => readU32(rule, 4) === NEVER;

/** A rule that keeps the kernel from writing one type of record, for all readers. */
export const excludeRule = (recordType: number): Buffer =>
  encode(
    FILTER_EXCLUDE,
    [],
    [
      { field: FIELD_MSGTYPE, operator: EQUAL, value: recordType },
      { field: FIELD_PID, operator: NOT_EQUAL, value: MARK },
    ],
  );

/**
 * A rule without effect that stores a text for as long as the kernel runs: audit's original settings, so that a killed
 * agent's successor can restore them.
 *
 * @param text at most 200 bytes; auditctl -l shows it
 */
export const memoRule = (text: string): Buffer =>
  encode(
    FILTER_EXCLUDE,
    [],
    [
      { field: FIELD_MSGTYPE, operator: EQUAL, value: NO_TYPE },
      { field: FIELD_KEY, operator: EQUAL, value: `${KEY} ${text}` },
    ],
  );

/** The text given to memoRule, or `undefined` when it is another rule. */
export const memoIn = ({ key }: KernelRule): string | undefined =>
  key?.startsWith(`${KEY} `) === true ? key.slice(KEY.length + 1) : undefined;

/** Reads a rule as listed by the kernel. @returns `undefined` when it is too short */
export function decodeRule(data: Buffer): KernelRule | undefined {
  if (data.length < STRINGS_AT) return undefined;
  const count = Math.min(readU32(data, 8), MAX_FIELDS);
  const conditions: Field<number>[] = [];
  let key: string | undefined;
  let at = STRINGS_AT;
  for (let index = 0; index < count; index += 1) {
    const field = readU32(data, FIELDS_AT + index * 4);
    const value = readU32(data, VALUES_AT + index * 4);
    if (field === FIELD_KEY) key = data.toString('utf8', at, at + value);
    else conditions.push({ field, operator: readU32(data, OPERATORS_AT + index * 4), value });
    if (STRING_FIELDS.has(field)) at += value;
  }
  const marked = conditions.some(({ field, value }) => field === FIELD_PID && value === MARK);
  // A rule made with several -k has them joined by 0x01, and is an administrator's.
  const ours = marked || (key !== undefined && (KEYS.includes(key) || key.startsWith(`${KEY} `)));
  return { data, key, ours, list: readU32(data, 0), action: readU32(data, 4), conditions };
}

/** Whether the rule takes audit from processes when they are made (`-a never,task`): nothing that they do is recorded. */
export const isTaskNever = ({ list, action }: KernelRule): boolean => list === FILTER_TASK && action === NEVER;

/** Whether the rule keeps programs from writing records (`-a never,user`), at least some programs. */
export const isUserNever = ({ list, action }: KernelRule): boolean => list === FILTER_USER && action === NEVER;

/** Whether the rule keeps what it is about from being recorded. */
export const isNever = ({ action }: KernelRule): boolean => action === NEVER;

/** Whether the rule is about this system call of this ABI, at least in some cases. */
export const isAboutCall = ({ data, list, conditions }: KernelRule, { arch }: Abi, call: number): boolean =>
  list === FILTER_EXIT &&
  isInMask(data, call) &&
  conditions.every((condition) => condition.field !== FIELD_ARCH || isMet(condition, arch));

/** Whether the rule is about this operation of io_uring, at least in some cases. */
export const isAboutRing = ({ data, list }: KernelRule, operation: RingOperation): boolean =>
  list === FILTER_URING_EXIT && isInMask(data, RING_OPERATIONS[operation]);

const isInMask = (rule: Buffer, call: number): boolean =>
  (readU32(rule, MASK_AT + (call >> 5) * 4) & (1 << (call & 31))) !== 0;

/** Whether a rule reports all that another one would: it has the same conditions, and at least the same system calls. */
export const covers = (rule: Buffer, other: Buffer): boolean =>
  rule.length === other.length &&
  rule.subarray(0, MASK_AT).equals(other.subarray(0, MASK_AT)) &&
  rule.subarray(FIELDS_AT).equals(other.subarray(FIELDS_AT)) &&
  other.subarray(MASK_AT, FIELDS_AT).every((bits, index) => (bits & ~(rule[MASK_AT + index] as number)) === 0);

/** Whether the rule keeps the kernel from writing this type of record, at least for some processes. */
export const excludes = ({ list, conditions }: KernelRule, recordType: number): boolean =>
  list === FILTER_EXCLUDE &&
  conditions.every((condition) => condition.field !== FIELD_MSGTYPE || isMet(condition, recordType));

function isMet({ operator, value }: Field<number>, actual: number): boolean {
  const bit = actual === value ? EQUAL : actual > value ? GREATER : LESS;
  return (operator & bit) !== 0;
}

/** Whether the rule has conditions about processes, or about what they do. */
export const isAboutSome = ({ conditions }: KernelRule): boolean =>
  conditions.some(({ field }) => field !== FIELD_MSGTYPE && field !== FIELD_ARCH);
