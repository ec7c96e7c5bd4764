import { errnoOf } from '../../base/errors.ts';
import type { NetlinkSocket } from '../native/netlink/socket.ts';
import { parseIptablesSave } from './iptables-save.ts';
import { isWithoutFamily, listNftTables } from './nft-tables.ts';
import { parseNftables } from './nftables.ts';
import {
  ask,
  FAMILIES,
  FAMILY_NAMES,
  type Family,
  INSTALL_NFT,
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
  const problem = missed === undefined ? listed : { ...listed, what: `${listed.what} (${missed.join(', ')})` };
  return {
    tables,
    sources: tables.length === 0 ? [] : ['iptables'],
    problems: missed?.length === 0 ? [] : [problem],
  };
}

/** The listing of nft; without the contents of sets when the full listing is too large. */
async function list(tools: Tools, signal: AbortSignal): Promise<Reading | Problem> {
  const nft = tools.find('nft');
  if (nft === undefined) return { what: 'nftables is not readable without nft', remedy: INSTALL_NFT };
  const reading = { sources: ['nft'], problems: [] };
  try {
    return { ...reading, tables: parseNftables(await ask(tools, nft, ['-j', 'list', 'ruleset'], signal)) };
  } catch (error) {
    signal.throwIfAborted();
    if (errnoOf(error) !== 'ENOBUFS') return unreadable('nftables is', error, 'nft -j list ruleset');
  }
  try {
    const tables = parseNftables(await ask(tools, nft, ['-j', '-t', 'list', 'ruleset'], signal), { terse: true });
    return { ...reading, tables, note: 'the contents of named sets are left out: the listing would be too large' };
  } catch (error) {
    signal.throwIfAborted();
    return unreadable('nftables is', error, 'nft -j -t list ruleset');
  }
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
    what: `nft shows only the names of some iptables extensions, not their arguments (${left.join(', ')})`,
    remedy:
      'Install iptables, and change its tables with iptables only: iptables-nft-save shows the arguments, in ip and ip6.',
  };
  return { ...listed, tables, sources, problems: left.length === 0 ? [] : [problem] };
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
      const isSame = rules?.length === chain.rules.length && chain.rules.some(({ partial }) => partial);
      return isSame ? { ...chain, rules } : chain;
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
