import { CWD, EXECVE, SYSCALL } from './reassembler.ts';
import { excludes, type KernelRule } from './rules.ts';

/**
 * The types of records that a start may lack although nothing was lost. A rule that also excludes the SYSCALL record leaves
 * nothing of the event.
 */
export const excludedTypes = (rules: readonly KernelRule[]): ReadonlySet<number> =>
  new Set([EXECVE, CWD].filter((type) => rules.some((rule) => excludes(rule, type) && !excludes(rule, SYSCALL))));
