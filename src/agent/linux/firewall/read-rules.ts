import { readBounded } from '../../../core/base/bounded-file.ts';
import { type Duration, seconds } from '../../../core/base/duration.ts';
import { errnoOf, messageOf } from '../../../core/base/errors.ts';
import { nextTurn } from '../../../core/base/waiting.ts';
import type { findTool, runTool, streamTool } from '../../host/run-tool.ts';
import type { NetlinkSocket } from '../native/netlink/socket.ts';
import { parseIptablesSave } from './iptables-save.ts';
import { isWithoutFamily, listNftTables } from './nft-tables.ts';
import { NftListing } from './nftables.ts';
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
export function unreadable(subject: string, error: unknown, command: string): Problem {
  const message = messageOf(error);
  return { fault: `${subject} not readable: ${message}`, remedy: remedyFor(message, errnoOf(error), command) };
}

function remedyFor(message: string, code: string | undefined, command: string): string {
  // The tools word a missing capability in several ways; most add "you must be root".
  if (/permitted|permission|must be root/i.test(message)) return GRANT;
  if (/JSON support/i.test(message)) return INSTALL_NFT;
  if (code === 'ETIMEDOUT' || code === 'ENOBUFS') return FEWER_RULES;
  return `Run "${command}" as root and fix the error that it prints.`;
}

/**
 * The tables of nftables.
 *
 * nft shows everything but the arguments of iptables extensions that iptables-nft added: its JSON has only their names. A
 * chain with such rules is read from iptables-nft-save instead, if both list the same number of rules.
 *
 * @param open opens a netlink socket to nfnetlink, to find out whether there are tables when nft is not usable
 */
export async function readNftables(tools: Tools, open: () => NetlinkSocket, signal: AbortSignal): Promise<Reading> {
  const listed = await list(tools, signal);
  if ('tables' in listed) return withExtensions(listed, tools, signal);
  const names = tableNames(open);
  if (names?.length === 0) return { tables: [], sources: ['netlink'], problems: [] };
  const tables: Table[] = [];
  for (const family of FAMILY_NAMES) tables.push(...(await saved(family, tools, signal)));
  const shown = new Set(tables.map(({ family, name }) => `${family} ${name}`));
  const missed = names?.filter((name) => !shown.has(name));
  const problem = missed === undefined ? listed : { ...listed, fault: `${listed.fault} (${missed.join(', ')})` };
  return {
    tables,
    sources: tables.length === 0 ? [] : ['iptables'],
    problems: missed?.length === 0 ? [] : [problem],
  };
}

/** The listing of nft; without the contents of sets when the full listing is too large. */
async function list(tools: Tools, signal: AbortSignal): Promise<Reading | Problem> {
  const nft = tools.find('nft');
  if (nft === undefined) return { fault: 'nftables is not readable without nft', remedy: INSTALL_NFT };
  try {
    return readingOf(await listed(tools, nft, { terse: false }, signal));
  } catch (error) {
    signal.throwIfAborted();
    if (errnoOf(error) !== 'ENOBUFS') return unreadable('nftables is', error, 'nft -j list ruleset');
  }
  try {
    const tables = await listed(tools, nft, { terse: true }, signal);
    return { ...readingOf(tables), note: 'the contents of named sets are left out: the listing would be too large' };
  } catch (error) {
    signal.throwIfAborted();
    return unreadable('nftables is', error, 'nft -j -t list ruleset');
  }
}

/** Reads the output of nft while it arrives, in slices between which other work runs. */
async function listed(tools: Tools, nft: string, { terse }: { terse: boolean }, signal: AbortSignal): Promise<Table[]> {
  const listing = new NftListing({ terse });
  const args = ['-j', ...(terse ? ['-t'] : []), 'list', 'ruleset'];
  await listen(tools, nft, args, { signal, accept: (chunk) => listing.add(chunk) });
  const work = listing.finish();
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
    await nextTurn();
    signal.throwIfAborted();
  }
}

/** Chains named in the problem. */
const MAX_NAMED = 5;

function readingOf(tables: readonly Table[]): Reading {
  const cut = tables.flatMap(({ family, name, chains }) =>
    chains.flatMap((chain) =>
      chain.leftOut === undefined ? [] : { name: `${family} ${name} ${chain.name}`, ...chain.leftOut },
    ),
  );
  const leftOut = cut.reduce((all, { rules }) => all + rules, 0);
  const reading = { tables, sources: ['nft'] };
  if (leftOut === 0) return { ...reading, problems: [] };
  const named = cut.slice(0, MAX_NAMED).map(({ name, rules }) => `${rules} of ${name}`);
  const more = cut.length > named.length ? ['…'] : [];
  const fault = `${leftOut} rules are left out because the listing is too large (${[...named, ...more].join(', ')})`;
  return { ...reading, leftOut, problems: [{ fault, remedy: FEWER_RULES }] };
}

/** The same tables, with iptables' text of the rules that nft does not show in full. */
async function withExtensions(listed: Reading, tools: Tools, signal: AbortSignal): Promise<Reading> {
  let { tables, sources } = listed;
  for (const family of FAMILY_NAMES) {
    if (!tables.some((table) => table.family === family && isPartial(table))) continue;
    const other = await saved(family, tools, signal);
    if (other.length > 0) sources = ['nft', 'iptables'];
    tables = tables.map((table) => completed(table, other));
  }
  const left = tables.filter(isPartial).map(({ family, name }) => `${family} ${name}`);
  const problem = {
    fault: `nft shows only the names of some iptables extensions, not their arguments (${left.join(', ')})`,
    remedy:
      'Install iptables, and change its tables with iptables only: iptables-nft-save shows the arguments, in ip and ip6.',
  };
  return { ...listed, tables, sources, problems: [...listed.problems, ...(left.length === 0 ? [] : [problem])] };
}

const isPartial = (table: Table) => table.chains.some(({ rules }) => rules.some(({ partial }) => partial));

/** The table with the chains that have incomplete rules replaced by iptables' listing of the same chain. */
function completed(table: Table, saved: readonly Table[]): Table {
  const other = saved.find(({ family, name }) => family === table.family && name === table.name);
  if (other === undefined) return table;
  const chains = new Map(other.chains.map((chain) => [chain.name, chain]));
  return {
    ...table,
    chains: table.chains.map((chain) => {
      const rules = chains.get(chain.name)?.rules;
      const length = chain.rules.length + (chain.leftOut?.rules ?? 0);
      const isSame = rules?.length === length && chain.rules.some(({ partial }) => partial);
      return isSame ? { ...chain, rules: rules.slice(0, chain.rules.length) } : chain;
    }),
  };
}

/** Tables of nftables as iptables shows them; empty on any error: the caller then reports the rules that stay incomplete. */
async function saved(family: Family, tools: Tools, signal: AbortSignal): Promise<readonly Table[]> {
  const tool = tools.find(FAMILIES[family].nft);
  if (tool === undefined) return [];
  try {
    return parseIptablesSave(await ask(tools, tool, [], signal), { origin: 'nftables', family });
  } catch {
    signal.throwIfAborted();
    return [];
  }
}

/** Names of all tables; `undefined` when the kernel refuses to list them. */
function tableNames(open: () => NetlinkSocket): string[] | undefined {
  let netlink: NetlinkSocket | undefined;
  try {
    netlink = open();
    return listNftTables(netlink);
  } catch (error) {
    return isWithoutFamily(error) ? [] : undefined;
  } finally {
    netlink?.close();
  }
}

/** Size of a list of table names; a kernel has five of them. */
const MAX_NAME_BYTES = 64 * 1024;

/**
 * The tables of legacy iptables, which nft does not show. The tool runs only when there are such tables, since listing a
 * table creates it.
 *
 * @param proc where procfs is mounted
 */
export async function readLegacy(family: Family, tools: Tools, proc: string, signal: AbortSignal): Promise<Reading> {
  const { nft, legacy, old } = FAMILIES[family];
  let tables: string[];
  try {
    tables = legacyTables(family, proc);
  } catch (error) {
    return { ...NOTHING, problems: [unreadable(`legacy iptables (${family}) is`, error, legacy)] };
  }
  if (tables.length === 0) return NOTHING;
  const these = `the legacy iptables tables ${tables.map((name) => `${family} ${name}`).join(', ')} are`;
  // Before 1.8, iptables had no other kind of table, and its tool was called iptables-save.
  const tool = tools.find(legacy) ?? (tools.find(nft) === undefined ? tools.find(old) : undefined);
  if (tool === undefined) {
    const remedy = 'Install iptables with its legacy tools, or recreate these rules with nft.';
    return { ...NOTHING, problems: [{ fault: `${these} not readable without ${legacy}`, remedy }] };
  }
  try {
    const saved = parseIptablesSave(await ask(tools, tool, [], signal), { origin: 'iptables', family });
    return { tables: saved, sources: ['iptables'], problems: [] };
  } catch (error) {
    signal.throwIfAborted();
    return { ...NOTHING, problems: [unreadable(these, error, tool)] };
  }
}

/** Names of the tables that legacy iptables has. @throws the error of read(2) */
export function legacyTables(family: Family, proc: string): string[] {
  try {
    const text = readBounded(`${proc}/net/${FAMILIES[family].names}`, MAX_NAME_BYTES);
    return text.split('\n').filter((name) => name !== '');
  } catch (error) {
    // The kernel has no such tables: it does not support them, or their module is not loaded.
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

const NOTHING: Reading = { tables: [], sources: [], problems: [] };
