import { userIdsOf } from '../../../core/contract/owner.ts';
import type { AuditControl } from './control.ts';
import { BPRM_FCAPS, EOE, PATH, PROCTITLE } from './reassembler.ts';
import type { AuditRule, KernelRule } from './rules.ts';
import {
  covers,
  excludeRule,
  exclusionRules,
  isExclusion,
  isRingRule,
  KEYS,
  keyOf,
  memoIn,
  prepended,
  ringRules,
  syscallRules,
} from './rules.ts';
import { type Abi, abisOf } from './syscalls.ts';

/** Record types that are not used: five of the eight that a start of a program usually makes, about 4 µs each. */
const EXCLUDED = [PATH, PROCTITLE, BPRM_FCAPS, EOE];

interface Wanted {
  readonly rules: readonly AuditRule[];
  /** Excludes records that the agent does not read. This affects all readers: only while the agent is the only one. */
  readonly exclude: boolean;
  /** Owners whose starts are left out; see ownerOfId. Default: none. */
  readonly excludedOwners?: readonly number[];
  /** Another rule to keep; see memoRule. */
  readonly memo?: Buffer;
}

/** The agent's own rules in the kernel's list. Rules of others are not changed. */
export class KernelRules {
  /** All rules of the kernel, those of others among them, when they were last listed. */
  listed: readonly KernelRule[] = [];
  /** What the last `sync` has left in the kernel. */
  #set: readonly Buffer[] | undefined;
  readonly #control: AuditControl;
  readonly #key: string;
  readonly #abis: readonly Abi[];
  /** Whether the kernel supports rules about the family of a socket address: since Linux 5.3. */
  #families = true;
  /** Whether the kernel supports rules about io_uring: since Linux 5.16. */
  #rings = true;

  /** @throws AgentError AUDIT_UNAVAILABLE when this machine's system calls are unknown */
  constructor(control: AuditControl, owner: { readonly yieldsToAgent?: boolean } = {}) {
    this.#control = control;
    this.#key = keyOf(owner);
    this.#abis = abisOf();
  }

  /**
   * Sets the agent's rules in the kernel to these. Adds before it deletes, so that there is no gap.
   *
   * @returns how many had to be added
   */
  async sync(wanted: Wanted): Promise<number> {
    const rules = this.#encode(wanted);
    const present = await this.ours();
    const missing = rules.filter((rule) => !isIn(present, rule));
    for (const rule of missing) {
      try {
        await this.#control.addRule(isExclusion(rule) ? prepended(rule) : rule);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EINVAL' || !this.#canDoWithout(rule)) throw error;
        return this.sync(wanted);
      }
    }
    for (const { data } of present) {
      if (!rules.some((rule) => rule.equals(data))) await this.#control.deleteRule(data);
    }
    this.#set = rules;
    return missing.length;
  }

  /** Whether the last `sync` has left this rule in the kernel; all of them are taken for its own before the first one. */
  hasSet({ data }: KernelRule): boolean {
    return this.#set?.some((rule) => rule.equals(data)) ?? true;
  }

  /** For a command: whether an agent, or another command, has set its rules since the last `sync`. */
  async areOfAnother(): Promise<boolean> {
    return (await this.ours()).some((rule) => memoIn(rule) === undefined && !this.hasSet(rule));
  }

  /** Reduces the rules, since the kernel does not support this one. @returns whether that can help */
  #canDoWithout(rule: Buffer): boolean {
    const isRing = isRingRule(rule);
    if (!(isRing ? this.#rings : this.#families)) return false;
    if (!isRing) this.#families = false;
    this.#rings = false; // io_uring is the newer of the two
    return true;
  }

  /**
   * Whether the kernel's rules with the agent's key, or with a command's key, report all of this. Any program may have
   * set them. Rules about io_uring aren't required, since an administrator may not have set them. The family of a
   * socket address isn't required either, since some kernels can't filter by it.
   */
  async has(rules: readonly AuditRule[]): Promise<boolean> {
    const present = await this.ours();
    // Calls with the same condition share a kernel rule, and without io_uring_setup it is a different one.
    const withoutSetup = rules.filter(({ syscalls }) => syscalls.some((syscall) => syscall !== 'io_uring_setup'));
    const variants = [rules, withoutSetup].flatMap((wanted) => [wanted, wanted.map(ofAnyFamily)]);
    return KEYS.some((key) =>
      variants.some((wanted) =>
        this.#encode({ rules: wanted, exclude: false }, key)
          .filter((rule) => !isRingRule(rule))
          .every((rule) => present.some(({ data }) => covers(data, rule))),
      ),
    );
  }

  async ours() {
    this.listed = await this.#control.rules();
    return this.listed.filter(({ ours }) => ours);
  }

  #encode({ rules, exclude, excludedOwners = [], memo }: Wanted, key = this.#key): Buffer[] {
    const calls = syscallRules(this.#families ? rules : rules.map(ofAnyFamily), this.#abis, key);
    const rings = this.#rings ? ringRules(rules, key) : [];
    return [
      ...(memo === undefined ? [] : [memo]),
      ...(exclude ? EXCLUDED.map(excludeRule) : []),
      ...excludedOwners.flatMap((owner) => exclusionRules(userIdsOf(owner), this.#abis, key)),
      ...calls,
      ...rings,
    ];
  }
}

const isIn = (rules: readonly KernelRule[], rule: Buffer): boolean => rules.some(({ data }) => data.equals(rule));

function ofAnyFamily(rule: AuditRule): AuditRule {
  const { saddr_fam: _, ...where } = rule.where ?? {};
  return { ...rule, where };
}
