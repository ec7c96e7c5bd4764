import { AgentError } from '../../../core/base/errors.ts';
import { USER_RECORDS } from './event.ts';
import { CWD, EXECVE, SOCKADDR, SOCKETCALL, SYSCALL, URINGOP } from './reassembler.ts';
import type { KernelRule } from './rules.ts';
import { excludes, isAboutCall, isAboutRing, isAboutSome, isNever, isTaskNever, isUserNever } from './rules.ts';
import { type Abi, abisOf } from './syscalls.ts';

/** Types of records about system calls without which the agent misses something. The directory of a start is dispensable. */
const NEEDED = { SYSCALL, EXECVE, SOCKADDR, SOCKETCALL, URINGOP };
/** The system call by which nearly all programs start. */
const START = 'execve';

/** What rules of others hide from the agent. */
export interface Hidden {
  /** Whether audit is of no use. */
  readonly isAll: boolean;
  readonly reason: AgentError;
}

/**
 * What rules of others hide; `undefined` when it is nothing that the agent needs.
 *
 * @param rules all rules of the kernel, in its order. Rules of the agent that are not among them will come last
 * @param needed whether the agent needs this system call
 * @param abis those of the machine; its own one first
 */
export function hiddenBy(
  rules: readonly KernelRule[],
  needed: (call: string) => boolean = () => true,
  abis = abisOf(),
): Hidden | undefined {
  const foreign = rules.filter(({ ours }) => !ours);
  const aboutAll = foreign.filter((rule) => !isAboutSome(rule));
  const aboutSome = foreign.filter(isAboutSome);
  const calls = abis.flatMap((abi) => hiddenCalls(rules, abi).filter(({ name }) => needed(name)));
  const ring = needed('connect') ? shareHidden(rules.filter((rule) => isAboutRing(rule, 'connect'))) : 'none';
  const types = Object.entries(NEEDED).filter(([, type]) => aboutAll.some((rule) => excludes(rule, type)));
  const userTypes = Object.entries(USER_RECORDS).filter(([, type]) =>
    aboutAll.some((rule) => isUserNever(rule) || excludes(rule, type)),
  );
  const isTaskless = aboutAll.some(isTaskNever);
  const isPartial =
    [...calls.map(({ share }) => share), ring].includes('some') ||
    aboutSome.some((rule) => isTaskNever(rule) || Object.values(NEEDED).some((type) => excludes(rule, type)));
  const what = [
    ...(isTaskless ? ['all processes that are started (-a never,task)'] : []),
    ...abis.flatMap((abi) => {
      const names = calls.filter((call) => call.abi === abi && call.share === 'all').map(({ name }) => name);
      return names.length > 0 ? [`the system calls ${names.join(', ')} of ${abi.name} (-a never,exit)`] : [];
    }),
    ...(ring === 'all' ? ['connections by io_uring (-a never,io_uring)'] : []),
    ...([...types, ...userTypes].length > 0
      ? [
          `records of the types ${[...types, ...userTypes].map(([name]) => name).join(', ')} (-a always,exclude or never,user)`,
        ]
      : []),
    ...(isPartial ? ['some processes or files (rules with "never" or "exclude" and a condition)'] : []),
  ];
  if (what.length === 0) return undefined;
  const hidesStarts = calls.some(({ name, abi, share }) => abi === abis[0] && name === START && share === 'all');
  const reason = new AgentError(
    'AUDIT_UNAVAILABLE',
    `Audit rules of another program hide ${what.join(', and ')}.`,
    'Find them with "auditctl -l", remove them from /etc/audit/rules.d, run "augenrules --load", and restart all services.',
  );
  return { isAll: isTaskless || hidesStarts || types.some(([name]) => name === 'SYSCALL'), reason };
}

/** Whether other programs' rules hide all or some of the processes that start while these rules are set. */
export const hidesProcesses = (rules: readonly KernelRule[]): boolean =>
  rules.some((rule) => !rule.ours && isTaskNever(rule));

/** How much of something is hidden. */
type Share = 'none' | 'some' | 'all';

/** The ABI's calls that the agent can audit and that are hidden at least in some cases. */
const hiddenCalls = (rules: readonly KernelRule[], abi: Abi): { name: string; abi: Abi; share: Share }[] =>
  Object.entries(abi.syscalls)
    .map(([name, call]) => ({ name, abi, share: shareHidden(rules.filter((rule) => isAboutCall(rule, abi, call))) }))
    .filter(({ share }) => share !== 'none');

/**
 * How much of a call is hidden by rules of others: the kernel takes the first rule that applies, see audit_filter_syscall() in
 * kernel/auditsc.c. So no rule hides anything after the agent's rules, or after one that always records the call.
 *
 * @param about the rules about this call, in the kernel's order
 */
function shareHidden(about: readonly KernelRule[]): Share {
  const recorded = about.findIndex((rule) => rule.ours || !(isNever(rule) || isAboutSome(rule)));
  const before = (recorded < 0 ? about : about.slice(0, recorded)).filter(isNever);
  return before.length === 0 ? 'none' : before.every(isAboutSome) ? 'some' : 'all';
}

/**
 * The types of records that a start may lack although nothing was lost. A rule that also excludes the SYSCALL record
 * hides the whole event.
 */
export const excludedTypes = (rules: readonly KernelRule[]): ReadonlySet<number> =>
  new Set([EXECVE, CWD].filter((type) => rules.some((rule) => excludes(rule, type) && !excludes(rule, SYSCALL))));
