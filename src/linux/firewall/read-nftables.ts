import { errnoOf } from '../../base/errors.ts';
import type { NetlinkSocket } from '../native/netlink/socket.ts';
import { parseIptablesSave } from './iptables-save.ts';
import { listNftTables } from './nft-tables.ts';
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
 * nft shows them whole, but for the extensions that iptables-nft brings into them: of those, its JSON has nothing but the
 * name. A chain with such rules is taken from iptables-nft-save instead, as long as both list equally many rules.
 *
 * @param open a netlink socket to nfnetlink, to ask whether there is anything to miss when nft can't be asked
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

/** What nft lists. Without the contents of sets, when it is too much with them. */
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
    return { ...reading, tables, note: 'what is in named sets is left out, since it is too much' };
  } catch (error) {
    signal.throwIfAborted();
    return unreadable('nftables is', error, 'nft -j -t list ruleset');
  }
}

/** The same tables, with what iptables knows of the rules that nft doesn't show in full. */
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
    what: `some rules use extensions of iptables that nft only has the names of (${left.join(', ')})`,
    remedy:
      'Install iptables, and leave its tables to its own tools: only iptables-nft-save shows them, in ip and ip6.',
  };
  return { ...listed, tables, sources, problems: left.length === 0 ? [] : [problem] };
}

const isPartial = (table: Table) => table.chains.some(({ rules }) => rules.some(({ partial }) => partial));

/** A table whose chains with partial rules have the rules of the same table as iptables shows it. */
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

/** Tables of nftables as iptables shows them; none when it can't: what it would have shown is missed by who asks. */
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

/** Names of all tables; `undefined` when the kernel doesn't tell. */
function tableNames(open: () => NetlinkSocket): string[] | undefined {
  let netlink: NetlinkSocket | undefined;
  try {
    netlink = open();
    return listNftTables(netlink);
  } catch {
    return undefined;
  } finally {
    netlink?.close();
  }
}
