import * as v from 'valibot';
import type { AuditRule } from '../facts/audit-rules.ts';
import { listOf, paths, text, texts } from '../fields.ts';
import { primitive } from '../primitive.ts';
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
      ...(syscalls === undefined
        ? []
        : [`-a always,exit -F arch=b64 -S ${syscalls.join(',')}${fieldAny === undefined ? '' : ` ${fieldAny[0]}`}`]),
      ...(flag === undefined ? [] : [flag]),
    ];
    const what = rules.length === 1 ? 'this on a line of its own' : 'each of these on a line of its own';
    const quoted = rules.map((rule) => `"${rule}"`).join(', ');
    return `Put ${what} in a file of /etc/audit/rules.d, then run augenrules --load: ${quoted}`;
  },

  async judge({ watch = [], permissions, syscalls = [], fieldAny, flag }, system) {
    const { rules, flags, unreadable } = await system.auditRules();
    if (unreadable !== undefined) return cannotRead(unreadable, '/etc/audit');
    const watched = watch.filter((path) => system.files.mayBeThere(path));
    if (watched.length === 0 && syscalls.length === 0 && flag === undefined)
      return skip(`there is no ${watch.join(', ')}`);
    const missing: string[] = [];
    let where: string | undefined;
    const note = (what: string, rule: AuditRule | undefined) => {
      if (rule === undefined) missing.push(what);
      else where ??= rule.where;
    };
    for (const path of watched) {
      note(
        path,
        rules.find((rule) => watches(rule, path, permissions)),
      );
    }
    for (const call of syscalls) {
      if (LEGACY.has(call) && !HAS_LEGACY) continue;
      note(
        call,
        rules.find(
          (rule) =>
            rule.syscalls.has(call) &&
            (fieldAny === undefined || fieldAny.some((field) => rule.fields.includes(field))),
        ),
      );
    }
    if (flag !== undefined) {
      where ??= flags.get(flag);
      if (!flags.has(flag)) missing.push(flag);
    }
    return missing.length === 0 ? pass('audited', where) : fail(`without ${listed(missing)}`, '/etc/audit/rules.d');
  },
});

const watches = (rule: AuditRule, path: string, permissions: string): boolean =>
  rule.path !== undefined &&
  (rule.path === path || path.startsWith(`${rule.path}/`)) &&
  [...permissions].every((each) => rule.permissions.includes(each));
