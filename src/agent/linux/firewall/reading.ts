import { type Duration, seconds } from '../../../core/base/duration.ts';
import { errnoOf, messageOf } from '../../../core/base/errors.ts';
import type { findTool, runTool, streamTool } from '../../host/run-tool.ts';
import type { Table } from './ruleset.ts';

/* Types and functions shared by the readers of the firewall. */

/** Size of the output of iptables: about 40,000 rules. */
const MAX_BYTES = 4 * 1024 * 1024;
/** Size of the output of nft, which is not kept as a whole: about 200,000 rules. */
const MAX_STREAMED_BYTES = 64 * 1024 * 1024;
/** nft took seven seconds for 7,000 rules with a set each, on a machine with two cores. */
const LIMIT: Duration = seconds(30);

/** The tools of each family: those for iptables rules in nftables, and those for legacy iptables. */
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

/** Why something is missing from the result, and how to fix it. */
export interface Problem {
  readonly fault: string;
  /** One sentence. */
  readonly remedy: string;
}

export interface Reading {
  readonly tables: readonly Table[];
  /** The tools that were read. */
  readonly sources: readonly string[];
  readonly problems: readonly Problem[];
  /** Number of rules that are missing in `tables`. */
  readonly leftOut?: number;
  /** A limitation that is not a problem. */
  readonly note?: string;
}

/** How tools of the system are found and run; replaced in tests. */
export interface Tools {
  readonly find: typeof findTool;
  readonly run: typeof runTool;
  readonly stream: typeof streamTool;
}

/** The output of a tool. @throws the signal's reason when it aborts, else the tool's error */
export async function ask(tools: Tools, path: string, args: readonly string[], signal: AbortSignal): Promise<string> {
  try {
    return await tools.run(path, args, { signal, maxBytes: MAX_BYTES, limit: LIMIT });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

/** Runs a tool whose output is accepted while it arrives. @throws like `ask`, and what `accept` throws */
export async function listen(
  tools: Tools,
  path: string,
  args: readonly string[],
  { signal, accept }: { signal: AbortSignal; accept: (chunk: Buffer) => void },
): Promise<void> {
  try {
    await tools.stream(path, args, { signal, maxBytes: MAX_STREAMED_BYTES, limit: LIMIT }, accept);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

const GRANT =
  'Grant the agent CAP_NET_ADMIN, for legacy iptables also CAP_NET_RAW and CAP_DAC_READ_SEARCH, so that the ' +
  'tools it starts inherit them (systemd: AmbientCapabilities=).';
export const INSTALL_NFT = 'Install nftables with JSON support; for a container, add it to the image.';

export const FEWER_RULES = 'Use fewer rules, for example sets instead of one rule per address.';

/** @param command the command with which an operator sees the same error */
export function unreadable(what: string, error: unknown, command: string): Problem {
  const message = messageOf(error);
  return { fault: `${what} not readable: ${message}`, remedy: remedyFor(message, errnoOf(error), command) };
}

function remedyFor(message: string, code: string | undefined, command: string): string {
  // The tools word a missing capability in several ways; most add "you must be root".
  if (/permitted|permission|must be root/i.test(message)) return GRANT;
  if (/JSON support/i.test(message)) return INSTALL_NFT;
  if (code === 'ETIMEDOUT' || code === 'ENOBUFS') return FEWER_RULES;
  return `Run "${command}" as root and fix the error that it prints.`;
}
