import { machine } from 'node:os';
import * as v from 'valibot';
import type { AuditRule } from '../facts/audit-rules.ts';
import { listOf, paths, text, texts } from '../fields.ts';
import { primitive } from '../primitive.ts';
import type { System } from '../system.ts';
import { cannotRead, fail, listed, pass, skip } from '../verdict.ts';

const params = v.strictObject({
  /** Each existing path must be watched, for all of `permissions`. */
  watch: v.optional(paths),
  permissions: v.optional(v.pipe(v.string(), v.regex(/^[rwxa]{1,4}$/)), 'wa'),
  /** Each call must be audited. */
  syscalls: v.optional(listOf(v.pipe(text, v.regex(/^[a-z0-9_]+$/, 'is not a system call')))),
  /** Rules for the system calls count only with one of these words: `-F exit=-EACCES`. */
  fieldAny: v.optional(texts),
  flag: v.optional(v.pipe(text, v.regex(/^-[ef] \d$/))),
});

/** Old calls that a kernel for this machine may not have; they have successors ending in `at`. */
const LEGACY = new Set(['open', 'creat', 'chmod', 'chown', 'lchown', 'unlink', 'rename']);
const HAS_LEGACY = process.arch === 'x64' || process.arch === 'ia32' || process.arch === 'arm';

/** The audit rules in auditd's files. */
export const audit = primitive({
  name: 'audit',
  summary: "The audit rules in auditd's rule files.",
  params,

  expected({ watch, permissions, syscalls, fieldAny, flag }) {
    const parts = [
      watch && `${watch.join(', ')} watched for ${permissions}`,
      syscalls && `${syscalls.join(', ')} audited${fieldAny === undefined ? '' : ` with ${fieldAny.join(' or ')}`}`,
      flag && `${flag} is set`,
    ];
    return parts.filter((part) => part !== undefined).join('; ');
  },

  remedy({ watch, permissions, syscalls, fieldAny, flag }) {
    const rules = [
      ...(watch ?? []).map((path) => `-w ${path} -p ${permissions}`),
      ...(syscalls === undefined ? [] : ['b64', 'b32'].map((arch) => callRule({ arch, syscalls, fieldAny }))),
      ...(flag === undefined ? [] : [flag]),
    ];
    const remedy = rules.length === 1 ? 'this on a line of its own' : 'each of these on a line of its own';
    const quoted = rules.map((rule) => `"${rule}"`).join(', ');
    const note = syscalls === undefined ? '' : '. A 32-bit kernel takes the one with b32 only';
    return `Put ${remedy} in a file of /etc/audit/rules.d, then run augenrules --load: ${quoted}${note}`;
  },

  async evaluate({ watch = [], permissions, syscalls = [], fieldAny, flag }, system) {
    const { rules, flags, off, unreadable } = await system.auditRules();
    if (unreadable !== undefined) return cannotRead(unreadable, '/etc/audit');
    const watched = watch.filter((path) => system.files.mayBeThere(path));
    if (watched.length === 0 && syscalls.length === 0 && flag === undefined)
      return skip(`there is no ${watch.join(', ')}`);
    if (off !== undefined) return fail('a rule switches auditing off', off);
    const elsewhere = otherProgramsOnly(system);
    const ruleFor = (isFor: (rule: AuditRule) => boolean) =>
      rules.find((rule) => isFor(rule) && !rule.fields.some((field) => elsewhere.test(field)));
    const missing: string[] = [];
    let where: string | undefined;
    const note = (remedy: string, rule: AuditRule | undefined) => {
      if (rule === undefined) missing.push(remedy);
      else where ??= rule.where;
    };
    for (const path of watched) {
      note(
        path,
        ruleFor((rule) => watches(rule, path, permissions, system.files.isFolder(path))),
      );
    }
    for (const call of syscalls) {
      if (LEGACY.has(call) && !HAS_LEGACY) continue;
      note(
        call,
        ruleFor((rule) => audits(rule, call, fieldAny)),
      );
    }
    if (flag !== undefined) {
      where ??= flags.get(flag);
      if (!flags.has(flag)) missing.push(flag);
    }
    return missing.length === 0 ? pass('audited', where) : fail(`without ${listed(missing)}`, '/etc/audit/rules.d');
  },
});

function callRule(of: { arch: string; syscalls: readonly string[]; fieldAny: readonly string[] | undefined }): string {
  const field = of.fieldAny?.[0];
  return `-a always,exit -F arch=${of.arch} -S ${of.syscalls.join(',')}${field === undefined ? '' : ` ${field}`}`;
}

const ONLY_32_BIT = /^-F arch=(?:b32|i[3-6]86|arm(?:v\d\w*|eb)?|ppc|s390)$/;
const ONLY_64_BIT = /^-F arch=(?:b64|\w*64\w*|s390x)$/;
/** The byte after the magic number of an ELF file, for 32 bits; see elf(5). */
const ELFCLASS32 = 1;

/** Matches a field that limits a rule to programs of the other word size than the system's own. */
function otherProgramsOnly({ runs, files }: System): RegExp {
  // A 64-bit kernel for ARM calls itself armv8l before 32-bit processes; no 32-bit kernel does.
  if (runs) return /64|s390x|armv8l/.test(machine()) ? ONLY_32_BIT : ONLY_64_BIT;
  const shell = files.beginning('/bin/sh', 5);
  return 'found' in shell && shell.found.bytes[4] === ELFCLASS32 ? ONLY_64_BIT : ONLY_32_BIT;
}

/** Conditions that leave out nothing that matters to a watch. */
const HARMLESS = /^-F (?:arch|key)=|^-F success=1$/;
/** The same for system calls: the rules ask for remedy users do, and the last one is the clock that is set. */
const HARMLESS_FOR_CALLS = /^-F (?:auid>=(?:1000|\d{1,3})|auid!=(?:unset|-1|4294967295)|e[ug]id=0|a0=(?:0x)?0+)$/;

/** A rule for a path that is a folder says little about remedy is below it, unless it is for the whole tree. */
function watches(rule: AuditRule, path: string, permissions: string, isFolder: boolean): boolean {
  if (rule.path === undefined || rule.syscalls.size > 0) return false;
  const isOfPath = rule.isTree
    ? rule.path === path || path.startsWith(`${rule.path === '/' ? '' : rule.path}/`)
    : rule.path === path && !isFolder;
  return (
    isOfPath &&
    [...permissions].every((each) => rule.permissions.includes(each)) &&
    rule.fields.every((field) => HARMLESS.test(field))
  );
}

function audits(rule: AuditRule, call: string, fieldAny: readonly string[] = []): boolean {
  const isAllowed = (field: string) =>
    fieldAny.includes(field) || HARMLESS.test(field) || HARMLESS_FOR_CALLS.test(field);
  return (
    rule.path === undefined &&
    (rule.isForAllCalls || rule.syscalls.has(call)) &&
    (fieldAny.length === 0 || fieldAny.some((field) => rule.fields.includes(field))) &&
    rule.fields.every(isAllowed)
  );
}
