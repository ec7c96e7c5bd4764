import type { Clock } from '../../base/clock.ts';
import { type Duration, milliseconds, seconds } from '../../base/duration.ts';
import { AgentError, errnoOf, messageOf, toAgentError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { AuditEvent, AuditRule, StreamSink } from '../../contract/sources.ts';
import { errnoIn, HEADER_BYTES, NLMSG_ERROR, readU16, readU32 } from '../netlink/message.ts';
import { NETLINK_AUDIT, type NetlinkSocket, openNetlink } from '../netlink/socket.ts';
import { AuditControl, register } from './control.ts';
import { systemError } from './errno.ts';
import { readHeader } from './header.ts';
import { LossMeter } from './loss.ts';
import { BPRM_FCAPS, PATH, PROCTITLE, Reassembler } from './reassembler.ts';
import { excludeRule, type KernelRule, memoIn, memoRule, syscallRules } from './rules.ts';
import { type AuditStatus, formatSettings, parseSettings, RUNNING, restore, type Settings } from './status.ts';
import { ABIS } from './syscalls.ts';

/** Holds some 7,000 records, above the 8,192 of the kernel's backlog. */
const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;
/** MAX_AUDIT_MESSAGE_LENGTH of linux/audit.h is 8970. */
const LONGEST_RECORD_BYTES = 16 * 1024;

/** Records nobody reads: four of the seven that every start of a program makes. Only the daemon may leave them out. */
const EXCLUDED = [PATH, PROCTITLE, BPRM_FCAPS];

/** Reading in large batches costs least; the pace quickens before the receive buffer fills. */
const LONGEST_PAUSE = milliseconds(250);
const SHORTEST_PAUSE = milliseconds(50);
const MANY_RECORDS = 1_500;
const FEW_RECORDS = 500;

/** How long the event loop may be held up at a time, and how many records pass between two looks at the clock. */
const LONGEST_TURN = milliseconds(5);
const RECORDS_PER_LOOK = 32;
/** Events handed over at a time: few enough to be garbage again before V8's young generation fills with the next ones. */
const EVENTS_PER_BATCH = 32;

const CHECK_EVERY = seconds(5);

/** Rounds of reading at the end, and the records that each makes by itself. */
const MOST_ROUNDS = 20;
const RECORDS_PER_ROUND = 8;

interface Parts {
  /** What to ask the kernel for; asked again at every refreshRules. */
  readonly rules: () => readonly AuditRule[];
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called once when it can't go on: the slot has gone to somebody else, or reading failed. It still must be closed. */
  readonly onLost?: (reason: AgentError) => void;
}

/**
 * The kernel's audit records, as its audit daemon: the one process they are sent to. There is one such slot in a
 * kernel; it is taken only when free.
 *
 * Audit's settings and rule list belong to the whole machine. What the agent changes there it remembers, puts back at
 * close, and marks, so that a killed agent's successor can do that in its stead.
 */
export class AuditSource {
  readonly #parts: Parts;
  readonly #buffer = Buffer.allocUnsafeSlow(LONGEST_RECORD_BYTES);
  #open: Opened | undefined;
  /** Rules are changed by one at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @throws AgentError AUDIT_UNAVAILABLE or SOCKET_UNAVAILABLE, audit then being as it was */
  async open(): Promise<void> {
    if (this.#open !== undefined) return;
    const opened = await this.#connect().catch((error: unknown) => {
      throw unavailable(error);
    });
    this.#open = opened;
    opened.reading = this.#read(opened);
  }

  /** Makes the kernel's rules just what `rules()` says now. @throws AgentError AUDIT_UNAVAILABLE */
  async refreshRules(): Promise<void> {
    const opened = this.#open;
    if (opened === undefined) return;
    await this.#inTurn(() => this.#syncRules(opened)).catch((error: unknown) => {
      throw unavailable(error);
    });
  }

  /** Reads what is left, and puts audit back as it was found. Safe to call twice; never rejects. */
  async close(): Promise<void> {
    const opened = this.#open;
    if (opened === undefined) return;
    this.#open = undefined;
    opened.stopping.abort();
    await opened.reading;
    await this.#inTurn(() => this.#release(opened)).catch((err: unknown) =>
      this.#parts.log.warn({ err }, 'Could not put audit back as it was found.'),
    );
  }

  async #connect(): Promise<Opened> {
    const { clock } = this.#parts;
    const control = new AuditControl(openNetlink(NETLINK_AUDIT), clock);
    let opened: Opened | undefined;
    try {
      const status = await control.status();
      const socket = openNetlink(NETLINK_AUDIT, { receiveBufferBytes: RECEIVE_BUFFER_BYTES });
      opened = this.#opened(control, socket, status, foundBefore(await control.rules()) ?? status);
      await this.#register(opened);
      if (!opened.locked) await control.addRule(opened.memo);
      await this.#assertSettings(opened, RUNNING);
      await this.#syncRules(opened);
      opened.loss.kernelSays(status.lost, 0);
      return opened;
    } catch (error) {
      if (opened === undefined) control.close();
      else await this.#release(opened).catch(() => {}); // the first error says more
      throw error;
    }
  }

  #opened(control: AuditControl, socket: NetlinkSocket, status: AuditStatus, found: Settings): Opened {
    const opened: Opened = {
      control,
      socket,
      found,
      memo: memoRule(formatSettings(found)),
      locked: status.enabled === 2,
      registered: false,
      stopping: new AbortController(),
      loss: new LossMeter(),
      batch: [],
      reassembler: new Reassembler((event) => opened.batch.push(event)),
      unusable: 0,
      malformed: 0,
      reading: Promise.resolve(),
    };
    return opened;
  }

  /**
   * Takes the slot, or finds it taken: the kernel asks the daemon it knows whether it still lives (AUDIT_REPLACE), and
   * refuses with EEXIST if so. A pid in the status proves nothing: that of a killed daemon stays until the next record.
   */
  async #register(opened: Opened): Promise<void> {
    const { control, socket } = opened;
    const sequence = register(socket);
    // The acknowledgement is there when the request returns; records may be, too.
    for (let datagram = socket.receive(); datagram !== undefined; datagram = socket.receive()) {
      if (datagram.length < HEADER_BYTES) continue;
      if (readU16(datagram, 4) !== NLMSG_ERROR || readU32(datagram, 8) !== sequence) {
        this.#take(opened, datagram, datagram.length, this.#parts.clock.monotonic());
        continue;
      }
      const errno = errnoIn(datagram.subarray(HEADER_BYTES)) ?? 0;
      if (errno === 0) {
        opened.registered = true;
        return;
      }
      const refusal = systemError(errno, 'registering as audit daemon');
      throw refusal.code === 'EEXIST' ? taken((await control.status()).pid) : refusal;
    }
    throw systemError('ETIMEDOUT', 'registering as audit daemon');
  }

  /** Sets what isn't as it must be. A locked audit stays as it is. */
  async #assertSettings({ control, locked }: Opened, wanted: Partial<Settings>): Promise<Partial<Settings>> {
    if (locked) return {};
    const status = await control.status();
    const change = Object.fromEntries(
      Object.entries(wanted).filter(([name, value]) => status[name as keyof Settings] !== value),
    );
    if (Object.keys(change).length > 0) await control.set(change);
    return change;
  }

  /** Adds before it deletes, so that nothing goes unseen in between. @returns how many rules had to be added */
  async #syncRules({ control, memo, locked }: Opened): Promise<number> {
    const calls = syscallRules(this.#parts.rules(), ABIS[process.arch] ?? []);
    const wanted = locked ? calls : [memo, ...EXCLUDED.map(excludeRule), ...calls];
    const present = (await control.rules()).filter(({ ours }) => ours);
    const missing = wanted.filter((rule) => !present.some(({ data }) => data.equals(rule)));
    if (locked) {
      if (missing.length > 0) throw lockedOut();
      return 0;
    }
    for (const rule of missing) await control.addRule(rule);
    for (const { data } of present) {
      if (!wanted.some((rule) => rule.equals(data))) await control.deleteRule(data);
    }
    return missing.length;
  }

  /** Undoes what open did, as far as it got, in an order that leaves the memo until all else is done. */
  async #release(opened: Opened): Promise<void> {
    const { control, socket } = opened;
    try {
      // Without the slot nothing was changed, and rules with our key are those of an agent that lives.
      if (opened.registered) await this.#restore(opened);
    } finally {
      socket.close();
      control.close();
    }
  }

  async #restore(opened: Opened): Promise<void> {
    const { log } = this.#parts;
    const { control, found, locked } = opened;
    const ours = locked ? [] : (await control.rules()).filter((rule) => rule.ours);
    for (const rule of ours) if (memoIn(rule) === undefined) await control.deleteRule(rule.data);
    await this.#finish(opened).catch((err: unknown) => log.warn({ err }, 'Could not read the last events.'));
    const status = await control.status();
    // Another daemon needs the settings as they are. The memo stays, for whoever can restore them one day.
    if (status.pid !== process.pid && status.pid !== 0) return;
    const change = locked ? {} : restore(found, status);
    if (Object.keys(change).length > 0) await control.set(change);
    for (const rule of ours) if (memoIn(rule) !== undefined) await control.deleteRule(rule.data);
    if (status.pid === process.pid) await control.set({ pid: 0 });
  }

  /**
   * The last events, and the last losses. What the kernel couldn't deliver waits in its retry queue until there is another
   * record; so one is made, by setting what is set already, until no more come than that.
   */
  async #finish(opened: Opened): Promise<void> {
    const { clock, sink } = this.#parts;
    const { control, loss, locked, reassembler } = opened;
    for (let round = 0, records = FEW_RECORDS; round < MOST_ROUNDS && records > RECORDS_PER_ROUND; round += 1) {
      if (!locked) await control.set({ failure: RUNNING.failure });
      await clock.sleep(SHORTEST_PAUSE);
      records = await this.#drain(opened);
    }
    reassembler.flush();
    this.#deliver(opened);
    loss.kernelSays((await control.status()).lost, reassembler.counts.missing);
    const lost = loss.take(clock.monotonic(), true) + this.#newlyUnusable(opened);
    if (lost > 0) sink.lost(lost);
  }

  async #read(opened: Opened): Promise<void> {
    const { clock, sink, onLost } = this.#parts;
    const { signal } = opened.stopping;
    let pause: Duration = SHORTEST_PAUSE;
    let checkAt = clock.monotonic() + CHECK_EVERY;
    try {
      while (!signal.aborted) {
        const records = await this.#drain(opened);
        const now = clock.monotonic();
        opened.reassembler.expire(now);
        this.#deliver(opened);
        if (now >= checkAt) {
          checkAt = now + CHECK_EVERY;
          await this.#inTurn(() => this.#check(opened));
        }
        const lost = opened.loss.take(now) + this.#newlyUnusable(opened);
        if (lost > 0) sink.lost(lost);
        if (records > MANY_RECORDS) pause = milliseconds(Math.max(SHORTEST_PAUSE, pause / 2));
        else if (records < FEW_RECORDS) pause = milliseconds(Math.min(LONGEST_PAUSE, pause * 2));
        await clock.sleep(pause, signal);
      }
    } catch (error) {
      if (!signal.aborted) onLost?.(error instanceof AgentError ? error : unavailable(error));
    }
  }

  /** Whether audit is still as the agent needs it; puts right what others undid. @throws AgentError when the slot is gone */
  async #check(opened: Opened): Promise<void> {
    const { log } = this.#parts;
    const { control, loss, reassembler, socket } = opened;
    const status = await control.status();
    loss.kernelSays(status.lost, reassembler.counts.missing);
    if (status.pid !== process.pid) throw status.pid === 0 ? dismissed() : taken(status.pid);
    const { enabled, backlogWaitTime } = RUNNING;
    const change = await this.#assertSettings(opened, { enabled, backlogWaitTime });
    if (Object.keys(change).length > 0) log.warn(change, 'Somebody changed the settings of audit; set them again.');
    const added = await this.#syncRules(opened);
    if (added > 0) log.warn({ rules: added }, 'Somebody removed audit rules of the agent; added them again.');
    const { missing, late } = reassembler.counts;
    log.trace({ missing, late, malformed: opened.malformed, overruns: socket.overruns }, 'Checked audit.');
  }

  /** Reads until nothing is left, in turns that each end with a delivery. @returns the number of records */
  async #drain(opened: Opened): Promise<number> {
    for (let records = 0; ; ) {
      const { read, more } = this.#drainTurn(opened);
      records += read;
      this.#deliver(opened);
      if (!more) return records;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #drainTurn(opened: Opened): { read: number; more: boolean } {
    const { clock } = this.#parts;
    const { socket } = opened;
    const start = clock.monotonic();
    let now = start;
    for (let read = 0; ; ) {
      const length = socket.read(this.#buffer);
      if (length === undefined) return { read, more: false };
      this.#take(opened, this.#buffer, length, now);
      read += 1;
      if (opened.batch.length >= EVENTS_PER_BATCH) this.#deliver(opened);
      if (read % RECORDS_PER_LOOK !== 0) continue;
      now = clock.monotonic();
      if (now - start >= LONGEST_TURN) return { read, more: true };
    }
  }

  /**
   * Takes one datagram, which is one record. Its length is the datagram's: in records, unlike anywhere else in netlink,
   * nlmsg_len leaves the header out, since auditd has always expected it so. See audit_log_end() in kernel/audit.c.
   */
  #take(opened: Opened, datagram: Buffer, length: number, now: Duration): void {
    if (length < HEADER_BYTES) return;
    const type = readU16(datagram, 4);
    if (type < FIRST_RECORD_TYPE || type === AUDIT_REPLACE) return;
    const header = readHeader(datagram, HEADER_BYTES);
    if (header === undefined || header.bodyAt > length) {
      opened.malformed += 1;
      return;
    }
    opened.loss.see(header.serial);
    if (!Reassembler.wants(type)) return;
    const text = header.bodyAt === length ? '' : datagram.toString('latin1', header.bodyAt, length);
    opened.reassembler.accept(type, header, text, now);
  }

  #deliver(opened: Opened): void {
    if (opened.batch.length === 0) return;
    const events = opened.batch;
    opened.batch = [];
    this.#parts.sink.accept('audit', events);
  }

  #newlyUnusable(opened: Opened): number {
    const all = opened.reassembler.counts.unusable + opened.malformed;
    const since = all - opened.unusable;
    opened.unusable = all;
    return since;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}

/** Below are answers to requests. */
const FIRST_RECORD_TYPE = 1100;
/** The kernel's question whether this daemon still lives, when another wants the slot. To read it is to answer. */
const AUDIT_REPLACE = 1329;

/** What belongs to one time of being open. */
interface Opened {
  readonly control: AuditControl;
  readonly socket: NetlinkSocket;
  /** Audit's settings before any agent changed them. */
  readonly found: Settings;
  /** The rule that keeps `found`. */
  readonly memo: Buffer;
  /** Neither rules nor settings can change until the next boot. */
  readonly locked: boolean;
  registered: boolean;
  readonly stopping: AbortController;
  readonly loss: LossMeter;
  readonly reassembler: Reassembler;
  batch: AuditEvent[];
  /** Events without use, and records without header, that have been told as lost. */
  unusable: number;
  malformed: number;
  reading: Promise<void>;
}

/** What an agent that was killed had found. */
const foundBefore = (rules: readonly KernelRule[]): Settings | undefined => {
  for (const rule of rules) {
    const memo = memoIn(rule);
    const settings = memo === undefined ? undefined : parseSettings(memo);
    if (settings !== undefined) return settings;
  }
  return undefined;
};

const taken = (pid: number) =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    `Another audit daemon, process ${pid}, receives the kernel's audit records.`,
    'Stop it (for auditd: systemctl disable --now auditd) if the agent is to see every program start.',
  );

const dismissed = () =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    'The kernel no longer has this process as its audit daemon.',
    'Find out what resets it (auditctl, another agent), and stop that.',
  );

const lockedOut = () =>
  new AgentError(
    'AUDIT_UNAVAILABLE',
    "Audit's rules are locked until the next boot (enabled is 2), and the agent's are not among them.",
    'Add rules for execve and execveat, for both ABIs and with the key vakt, to those loaded at boot, then reboot.',
  );

function unavailable(error: unknown): AgentError {
  const refusal = error instanceof AgentError ? error.cause : error;
  const errno = errnoOf(refusal);
  if (error instanceof AgentError && errno !== 'EPROTONOSUPPORT' && errno !== 'EPERM' && errno !== 'EACCES') {
    return error;
  }
  if (errno === undefined) return toAgentError(error);
  return new AgentError(
    'AUDIT_UNAVAILABLE',
    `The kernel doesn't give this process its audit records (${messageOf(refusal)}).`,
    REMEDIES[errno] ?? 'Look up the error in errno(3), and check that the kernel has CONFIG_AUDITSYSCALL=y.',
    { cause: error },
  );
}

const NO_SUPPORT =
  'Use a kernel with CONFIG_AUDIT=y and CONFIG_AUDITSYSCALL=y, and without audit=0 on its command line.';
const NOT_ALLOWED =
  "Grant CAP_AUDIT_CONTROL and CAP_AUDIT_READ, and run it in the host's pid and user namespaces (podman: --pid=host).";
const REMEDIES: Readonly<Record<string, string>> = {
  EPROTONOSUPPORT: NO_SUPPORT,
  ECONNREFUSED: NO_SUPPORT,
  EPERM: NOT_ALLOWED,
  EACCES: NOT_ALLOWED,
  EINVAL: NOT_ALLOWED,
};
