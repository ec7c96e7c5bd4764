import { AgentError } from '../../base/errors.ts';
import { USER_RECORDS } from './event.ts';
import { CWD, EXECVE, SOCKADDR, SOCKETCALL, SYSCALL, URINGOP } from './reassembler.ts';
import { excludes, isAboutSome, isTaskNever, type KernelRule } from './rules.ts';

/** Types of records about system calls without which the agent misses something. The directory of a start is dispensable. */
const NEEDED = { SYSCALL, EXECVE, SOCKADDR, SOCKETCALL, URINGOP };

/** What rules of others hide from the agent. */
export interface Hidden {
  /** Whether audit is of no use. */
  readonly isAll: boolean;
  readonly reason: AgentError;
}

/** What these rules hide, those of others among them; `undefined` when nothing is hidden that the agent needs. */
export function hiddenBy(rules: readonly KernelRule[]): Hidden | undefined {
  const foreign = rules.filter(({ ours }) => !ours);
  const aboutAll = foreign.filter((rule) => !isAboutSome(rule));
  const hidesStarts = aboutAll.some(isTaskNever);
  const isPartial = foreign.some(
    (rule) => isAboutSome(rule) && (isTaskNever(rule) || Object.values(NEEDED).some((type) => excludes(rule, type))),
  );
  const types = Object.entries({ ...NEEDED, ...USER_RECORDS })
    .filter(([, type]) => aboutAll.some((rule) => excludes(rule, type)))
    .map(([name]) => name);
  const what = [
    ...(hidesStarts ? ['all processes that are started (-a never,task)'] : []),
    ...(isPartial ? ['some processes (-a never,task or -a always,exclude, with a condition)'] : []),
    ...(types.length > 0 ? [`records of the types ${types.join(', ')} (-a always,exclude)`] : []),
  ];
  if (what.length === 0) return undefined;
  const reason = new AgentError(
    'AUDIT_UNAVAILABLE',
    `Audit rules of another program hide ${what.join(', and ')}.`,
    'Find them with "auditctl -l", remove them from /etc/audit/rules.d, run "augenrules --load", and restart all services.',
  );
  return { isAll: hidesStarts || types.includes('SYSCALL'), reason };
}

/**
 * The types of records that a start may lack although nothing was lost. A rule that also excludes the SYSCALL record leaves
 * nothing of the event.
 */
export const excludedTypes = (rules: readonly KernelRule[]): ReadonlySet<number> =>
  new Set([EXECVE, CWD].filter((type) => rules.some((rule) => excludes(rule, type) && !excludes(rule, SYSCALL))));
