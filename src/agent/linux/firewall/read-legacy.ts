import { readBounded } from '../../../core/base/bounded-file.ts';
import { errnoOf } from '../../../core/base/errors.ts';
import { parseIptablesSave } from './iptables-save.ts';
import { ask, FAMILIES, type Family, type Reading, type Tools, unreadable } from './reading.ts';

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
