import { type Duration, seconds } from '../../base/duration.ts';
import { errnoOf, messageOf } from '../../base/errors.ts';
import type { findTool, runTool } from '../../host/run-tool.ts';
import type { Table } from './ruleset.ts';

/* What the parts of a firewall's reading have in common. */

/** Of what a tool lists: some 10,000 rules of nftables, 40,000 of iptables. */
const MOST_BYTES = 4 * 1024 * 1024;
/** nft took seven seconds for 7000 rules with a set each, on a machine of two cores. */
const LIMIT: Duration = seconds(30);

/** The tools of each family: those that show iptables' rules in nftables, and those that show legacy iptables'. */
export const FAMILIES = {
  ip: { names: 'ip_tables_names', nft: 'iptables-nft-save', legacy: 'iptables-legacy-save', old: 'iptables-save' },
  ip6: {
    names: 'ip6_tables_names',
    nft: 'ip6tables-nft-save',
    legacy: 'ip6tables-legacy-save',
    old: 'ip6tables-save',
  },
} as const;
export type Family = keyof typeof FAMILIES;
export const FAMILY_NAMES = Object.keys(FAMILIES) as Family[];

/** Why something is not in the answer, and what would mend it. */
export interface Problem {
  readonly what: string;
  /** One sentence. */
  readonly remedy: string;
}

export interface Reading {
  readonly tables: readonly Table[];
  /** Who was asked. */
  readonly sources: readonly string[];
  readonly problems: readonly Problem[];
  /** What is no problem, but should be known. */
  readonly note?: string;
}

/** How the tools of the system are found and run. */
export interface Tools {
  readonly find: typeof findTool;
  readonly run: typeof runTool;
}

/** What a tool writes. @throws the signal's reason when it aborts, what went wrong else */
export async function ask(tools: Tools, path: string, args: readonly string[], signal: AbortSignal): Promise<string> {
  try {
    return await tools.run(path, args, { signal, mostBytes: MOST_BYTES, limit: LIMIT });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

const GRANT =
  'Grant the agent CAP_NET_ADMIN, for legacy iptables also CAP_NET_RAW and CAP_DAC_READ_SEARCH, in a way that the ' +
  'tools it starts inherit (systemd: AmbientCapabilities=).';
export const INSTALL_NFT = 'Install nftables with JSON support; for a container, in its image.';

/** @param command what an operator would run to see the same */
export function unreadable(what: string, error: unknown, command: string): Problem {
  const message = messageOf(error);
  return { what: `${what} not readable: ${message}`, remedy: remedyFor(message, errnoOf(error), command) };
}

function remedyFor(message: string, code: string | undefined, command: string): string {
  // The tools have several ways to say that a capability is missing, and "you must be root" goes with most.
  if (/permitted|permission|must be root/i.test(message)) return GRANT;
  if (/JSON support/i.test(message)) return INSTALL_NFT;
  if (code === 'ETIMEDOUT' || code === 'ENOBUFS') return 'Make it fewer rules, for example with sets in their place.';
  return `Run "${command}" as root, and mend what it complains about.`;
}
