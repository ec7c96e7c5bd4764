import { errnoOf } from '../../../core/base/errors.ts';
import { nextTurn } from '../../../core/base/waiting.ts';
import type { NetlinkSocket } from '../native/netlink/socket.ts';
import { parseIptablesSave } from './iptables-save.ts';
import { isWithoutFamily, listNftTables } from './nft-tables.ts';
import { NftListing } from './nftables.ts';
import {
  ask,
  FAMILIES,
  FAMILY_NAMES,
  type Family,
  FEWER_RULES,
  INSTALL_NFT,
  listen,
  type Problem,
  type Reading,
  type Tools,
  unreadable,
} from './reading.ts';
import type { Table } from './ruleset.ts';

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
