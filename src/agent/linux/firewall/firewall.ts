import { AgentError } from '../../../core/base/errors.ts';
import { nextTurn } from '../../../core/base/waiting.ts';
import type { FirewallRule, ListingStatus } from '../../../core/contract/sources.ts';
import { findTool, runTool, streamTool } from '../../host/run-tool.ts';
import { type NetlinkSocket, openNetlink } from '../native/netlink/socket.ts';
import { isWithoutFamily, NETLINK_NETFILTER, nftGeneration } from './nft-tables.ts';
import { FAMILY_NAMES, legacyTables, readLegacy, readNftables, type Tools } from './read-rules.ts';
import { rulesOf } from './ruleset.ts';

/**
 * The rules of the packet filters in this network namespace: nftables and the tables of legacy iptables. A kernel can have
 * both at once, and then a packet must pass both.
 */
export class Firewall {
  readonly #proc: string;
  readonly #tools: Tools;
  readonly #open: () => NetlinkSocket;
  #status: ListingStatus = { state: 'off' };

  constructor({
    proc = '/proc',
    find = findTool,
    run = runTool,
    stream = streamTool,
    open = () => openNetlink(NETLINK_NETFILTER),
  }: Partial<Tools> & { proc?: string; open?: () => NetlinkSocket } = {}) {
    this.#proc = proc;
    this.#tools = { find, run, stream };
    this.#open = open;
  }

  /** How the last reading went. */
  status(): ListingStatus {
    return this.#status;
  }

  /**
   * The generation number of nftables' ruleset; `undefined` if it cannot be read, or while legacy iptables, which has
   * no such number, has tables.
   */
  async trace(): Promise<string | undefined> {
    let netlink: NetlinkSocket | undefined;
    try {
      if (FAMILY_NAMES.some((family) => legacyTables(family, this.#proc).length > 0)) return undefined;
      netlink = this.#open();
      return String(nftGeneration(netlink));
    } catch (error) {
      return isWithoutFamily(error) ? '0' : undefined;
    } finally {
      netlink?.close();
    }
  }

  /**
   * All rules, by table and chain; the policy of a base chain follows its rules. Empty only when every source was read and
   * there are neither rules nor base chains.
   *
   * @throws the signal's reason when it aborts, AgentError SOURCE_UNREADABLE when a source could not be read and no rule was
   *   found
   */
  async rules(signal: AbortSignal): Promise<readonly FirewallRule[]> {
    const readings = [await readNftables(this.#tools, this.#open, signal)];
    for (const family of FAMILY_NAMES) readings.push(await readLegacy(family, this.#tools, this.#proc, signal));
    const rules: FirewallRule[] = [];
    for (const table of readings.flatMap(({ tables }) => tables)) {
      for (const rule of rulesOf(table)) rules.push(rule);
      await nextTurn();
    }
    const leftOut = readings.reduce((all, reading) => all + (reading.leftOut ?? 0), 0);
    const source = [...new Set(readings.flatMap(({ sources }) => sources))].join('+');
    const problems = readings.flatMap((reading) => reading.problems);
    if (problems.length === 0) {
      const reason = readings.flatMap(({ note }) => note ?? []).join('; ');
      this.#status = { state: 'on', source, ...(reason === '' ? {} : { reason }) };
      return rules;
    }
    const faults = problems.map((problem) => problem.fault).join('; ');
    const remedy = [...new Set(problems.map((problem) => problem.remedy))].join(' ');
    if (rules.length > 0) {
      this.#status = { state: 'degraded', source, reason: `${faults}. ${remedy}`, ...(leftOut > 0 ? { leftOut } : {}) };
      return rules;
    }
    this.#status = { state: 'unavailable', reason: `${faults}. ${remedy}` };
    throw new AgentError('SOURCE_UNREADABLE', `Firewall rules can't be read: ${faults}.`, remedy);
  }
}
