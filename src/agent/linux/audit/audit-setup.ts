import type { Clock } from '../../../core/base/clock.ts';
import { type Duration, LONG_AGO, milliseconds, minutes, seconds } from '../../../core/base/duration.ts';
import type { Logger } from '../../../core/base/log.ts';
import { lockedOut } from './audit-errors.ts';
import type { AuditControl } from './control.ts';
import { excludedTypes, hiddenBy, hidesProcesses } from './hiding-rules.ts';
import { KernelRules } from './kernel-rules.ts';
import { previousSettings } from './leftover-rules.ts';
import type { RecordStream } from './record-stream.ts';
import { type AuditRule, type KernelRule, memoIn, memoRule } from './rules.ts';
import { isOtherDaemon } from './slot-watch.ts';
import { type AuditStatus, formatSettings, RUNNING, restore, type Settings, WAITING } from './status.ts';

/** The kernel reports changes of its rules; this check is for a lost report. Each listing starts a kernel thread. */
const CHECK_RULES_EVERY = seconds(30);
/** How long an agent may be without rules until it has stopped permanently. A restart takes some seconds. */
const RESTARTED_WITHIN = seconds(30);
const WARN_AGAIN = minutes(1);
/** How long the status reports it. */
const OFF_REPORT_INTERVAL = minutes(10);

const LEFT_OUT =
  'An agent runs on this machine, and its rules of audit leave out some of these events. ' +
  'Ask for events that it collects, or stop it first.';

interface Parts {
  readonly control: AuditControl;
  /** The rules to set in the kernel; evaluated at every sync. */
  readonly rules: () => readonly AuditRule[];
  /** Whether it must leave audit to another agent that runs. */
  readonly yieldsToAgent?: boolean;
  /** Called with the record types that rules of other programs exclude. */
  readonly stream: Pick<RecordStream, 'setExcluded'>;
  /** The owners whose starts are left out while the agent is the only reader; evaluated at every sync. */
  readonly excludedOwners?: () => readonly number[];
  /** Whether programs wait for space in the kernel's backlog. */
  readonly backlogWait?: boolean | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when audit was switched off for a while: events are missing, in unknown number. */
  readonly interrupted?: () => void;
  /** Called when the rules were read, with whether other programs' rules hide all or some processes that start now. */
  readonly foundTaskRule?: (isThere: boolean) => void;
  /** Called when `missing` changes. */
  readonly changed?: () => void;
}

/**
 * What the agent sets in the kernel's audit: its rules, and audit's settings while no other daemon has the slot. Restores
 * what other processes change. The original settings are stored in the kernel, in a rule, so that the successor of a killed
 * agent can restore them.
 */
export class AuditSetup {
  /** Neither rules nor settings can change until the next boot. */
  readonly isLocked: boolean;
  #isGuest: boolean;
  readonly #parts: Parts;
  readonly #rules: KernelRules;
  /** Audit's settings before any agent changed them. */
  #found: Settings;
  #settingsAreOurs: boolean;
  /** Since when the agent beside which this is a guest has had no rules. */
  #agentGoneSince: Duration | undefined;
  /** When the rules were last set as required. */
  #rulesCheckedAt = LONG_AGO;
  /** Why a part is missing, while rules of others hide it. */
  #hidden: string | undefined;
  /** Why a part is missing, while the agent beside which this is a guest does not ask the kernel for it. */
  #leftOut: string | undefined;
  /** Set for a while after another process disabled audit. */
  #wasOff: { readonly until: Duration; readonly reason: string } | undefined;
  readonly #warnedAt = new Map<'settings' | 'rules', Duration>();

  /**
   * @param status audit's present status
   * @param listed the kernel's present rules
   * @throws AgentError AUDIT_UNAVAILABLE when this machine's system calls are unknown, or rules of others hide everything
   */
  constructor(parts: Parts, status: AuditStatus, listed: readonly KernelRule[]) {
    this.#parts = parts;
    this.#hiddenPart(listed);
    this.#isGuest = parts.yieldsToAgent === true && isOtherDaemon(status.pid) && listed.some(({ ours }) => ours);
    const previous = this.#isGuest ? undefined : previousSettings(listed);
    this.#rules = new KernelRules(parts.control, parts);
    this.#found = previous ?? status;
    this.#settingsAreOurs = previous !== undefined;
    this.isLocked = status.enabled === 2;
  }

  /** Whether the agent's settings are in force, and the kernel stores the original ones. */
  get settingsAreOurs(): boolean {
    return this.#settingsAreOurs;
  }

  /** Whether another agent runs: rules, settings and the slot are its own, and stay as they are. */
  get isGuest(): boolean {
    return this.#isGuest;
  }

  /** Leaves rules and settings to an agent that has started: it takes them over as those of a killed predecessor. */
  becomeGuest(): void {
    this.#isGuest = true;
    this.#settingsAreOurs = false;
  }

  /** Why records are missing; `undefined` when none is. */
  get missing(): string | undefined {
    return this.#wasOff?.reason ?? this.#hidden ?? this.#leftOut;
  }

  /** Sets audit up as the agent needs it, and stores the original settings in the kernel. */
  async claimSettings(): Promise<void> {
    if (this.isLocked || this.#isGuest) return;
    const { control } = this.#parts;
    this.#settingsAreOurs = true;
    await control.addRule(this.#memo());
    await this.#assertSettings(await control.status(), this.#running);
  }

  /** Another daemon's settings hold from now on. */
  leaveSettings(): void {
    if (!this.#settingsAreOurs) return;
    this.#settingsAreOurs = false;
    this.checkRulesSoon(); // the next sync removes the stored settings
  }

  /**
   * Restores what other processes changed of the settings. Call this only while they are the agent's.
   *
   * @param askedAt a moment before the kernel was asked for this status
   */
  async checkSettings(status: AuditStatus, askedAt: Duration): Promise<void> {
    const { enabled, backlogWaitTime } = this.#running;
    const change = await this.#assertSettings(status, { enabled, backlogWaitTime });
    if (Object.keys(change).length > 0) {
      this.#warn('settings', change, 'Another process changed audit settings; restored them.');
      this.checkRulesSoon(); // while audit is disabled, the kernel does not report changes of rules
    }
    if (change.enabled !== undefined) this.#wasSwitchedOff();
    else if (this.#wasOff !== undefined && askedAt >= this.#wasOff.until) {
      this.#wasOff = undefined;
      this.#parts.changed?.();
    }
  }

  /**
   * Sets the agent's rules, and adapts to those of others.
   *
   * @param isDaemon whether the agent is the audit daemon, and so the only reader
   * @returns how many had to be added
   * @throws AgentError AUDIT_UNAVAILABLE when there can't be rules of the agent, or those of others hide everything
   */
  async syncRules(isDaemon: boolean): Promise<number> {
    const { yieldsToAgent, clock, changed, stream } = this.#parts;
    this.#rulesCheckedAt = clock.monotonic();
    const before = this.missing;
    if (yieldsToAgent === true && !isDaemon) await this.#adaptToAgent();
    const added = await (this.#isGuest
      ? this.#readRules()
      : this.isLocked
        ? this.#requireRules()
        : this.#setRules(isDaemon));
    this.#hidden = this.#hiddenPart(this.#rules.listed);
    stream.setExcluded(excludedTypes(this.#rules.listed));
    if (this.missing !== before) changed?.();
    return added;
  }

  /** Restores what other processes changed of the rules, when a check is due. For `isDaemon` and errors, see `syncRules`. */
  async checkRules(isDaemon: boolean): Promise<void> {
    if (this.#parts.clock.monotonic() - this.#rulesCheckedAt < CHECK_RULES_EVERY) return;
    const added = await this.syncRules(isDaemon);
    if (added === 0) return;
    this.#warn('rules', { rules: added }, 'Another process removed audit rules of the agent; added them again.');
  }

  /** Makes a check of the rules due. */
  checkRulesSoon(): void {
    this.#rulesCheckedAt = LONG_AGO;
  }

  /**
   * Removes the agent's rules; if it must leave audit to another agent, only those that it set itself.
   *
   * @returns those that store the original settings; they stay until the settings are restored
   */
  async removeRules(): Promise<readonly KernelRule[]> {
    const ours = this.isLocked || this.#isGuest ? [] : await this.#rules.ours();
    const { control, yieldsToAgent } = this.#parts;
    const memos = ours.filter((rule) => memoIn(rule) !== undefined);
    for (const rule of ours) {
      const isOwn = yieldsToAgent !== true || this.#rules.hasSet(rule);
      if (isOwn && !memos.includes(rule)) await control.deleteRule(rule.data);
    }
    return memos;
  }

  /**
   * Restores the settings, and removes those that are stored.
   *
   * @param stored the result of `removeRules`
   */
  async restoreSettings(status: AuditStatus, stored: readonly KernelRule[]): Promise<void> {
    const { control } = this.#parts;
    // Another daemon needs the settings as they are.
    const isOurs = !this.isLocked && this.#settingsAreOurs && !isOtherDaemon(status.pid);
    const change = isOurs ? restore(this.#found, status) : {};
    if (Object.keys(change).length > 0) await control.set(change);
    for (const { data } of stored) await control.deleteRule(data);
  }

  get #running(): Settings {
    return this.#parts.backlogWait === true ? WAITING : RUNNING;
  }

  #memo(): Buffer {
    return memoRule(formatSettings(this.#found));
  }

  /** Sets what differs from the required settings. A locked audit stays as it is. */
  async #assertSettings(status: AuditStatus, wanted: Partial<Settings>): Promise<Partial<Settings>> {
    if (this.isLocked) return {};
    const change = Object.fromEntries(
      Object.entries(wanted).filter(([name, value]) => status[name as keyof Settings] !== value),
    );
    if (Object.keys(change).length > 0) await this.#parts.control.set(change);
    return change;
  }

  async #setRules(isDaemon: boolean): Promise<number> {
    const memo = this.#settingsAreOurs ? { memo: this.#memo() } : {};
    const { rules, excludedOwners } = this.#parts;
    const excluded = isDaemon ? (excludedOwners?.() ?? []) : [];
    return this.#rules.sync({ rules: rules(), exclude: isDaemon, excludedOwners: excluded, ...memo });
  }

  /**
   * Becomes a guest when an agent has set its rules, and stops being one when these rules have been gone for a while.
   * An agent that wants the slot requests it.
   */
  async #adaptToAgent(): Promise<void> {
    const { clock, control } = this.#parts;
    if (!this.#isGuest) {
      if (await this.#rules.areOfAnother()) this.becomeGuest();
      return;
    }
    const now = clock.monotonic();
    const isThere = (await this.#rules.ours()).length > 0;
    this.#agentGoneSince = isThere ? undefined : (this.#agentGoneSince ?? now);
    if (this.#agentGoneSince === undefined || now - this.#agentGoneSince < RESTARTED_WITHIN) return;
    this.#found = await control.status();
    this.#isGuest = false;
    this.#agentGoneSince = undefined;
    this.#leftOut = undefined;
  }

  async #readRules(): Promise<0> {
    this.#leftOut = (await this.#rules.has(this.#parts.rules())) ? undefined : LEFT_OUT;
    return 0;
  }

  async #requireRules(): Promise<0> {
    if (!(await this.#rules.has(this.#parts.rules()))) throw lockedOut();
    return 0;
  }

  /**
   * Why a part is missing that these rules of the kernel hide; `undefined` when none is.
   *
   * @throws AgentError AUDIT_UNAVAILABLE when they hide everything
   */
  #hiddenPart(rules: readonly KernelRule[]): string | undefined {
    this.#parts.foundTaskRule?.(hidesProcesses(rules));
    const needed = new Set(this.#parts.rules().flatMap(({ syscalls }) => syscalls));
    const hidden = hiddenBy(rules, (call) => needed.has(call));
    if (hidden?.isAll === true) throw hidden.reason;
    return hidden && `${hidden.reason.message} ${hidden.reason.remedy}`;
  }

  /** Events in between are missing, in unknown number. */
  #wasSwitchedOff(): void {
    const { clock, changed, interrupted } = this.#parts;
    interrupted?.();
    const at = clock.now().toISOString();
    this.#wasOff = {
      until: milliseconds(clock.monotonic() + OFF_REPORT_INTERVAL),
      reason: `Another process switched audit off; the agent switched it on again at ${at}. Events in between are missing.`,
    };
    changed?.();
  }

  /** One line a minute of each kind, so that changes in a loop do not push out other lines. */
  #warn(kind: 'settings' | 'rules', fields: object, message: string): void {
    const { clock, log } = this.#parts;
    const now = clock.monotonic();
    const last = this.#warnedAt.get(kind);
    if (last !== undefined && now - last < WARN_AGAIN) return;
    this.#warnedAt.set(kind, now);
    log.warn(fields, message);
  }
}
