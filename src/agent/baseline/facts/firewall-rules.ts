import { AgentError } from '../../../core/base/errors.ts';
import type { FirewallRule } from '../../../core/contract/sources.ts';

/** Reads the packet filter. */
export interface FirewallReader {
  rules(signal: AbortSignal): Promise<readonly FirewallRule[]>;
}

export type FirewallRules =
  | { readonly found: readonly FirewallRule[] }
  | { readonly problem: string; readonly denied: boolean };

/** The result of the agent's own reader, read once for all rules. */
export async function readFirewall(firewall: FirewallReader | undefined, signal: AbortSignal): Promise<FirewallRules> {
  try {
    return { found: (await firewall?.rules(signal)) ?? [] };
  } catch (error) {
    signal.throwIfAborted();
    const problem =
      error instanceof AgentError ? `${error.message} ${error.remedy}` : 'the packet filter can’t be read';
    return { problem, denied: /permitted|permission|CAP_|EPERM|EACCES/i.test(problem) };
  }
}
