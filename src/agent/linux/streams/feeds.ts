import { join } from 'node:path';
import { readOptional } from '../../../core/base/bounded-file.ts';
import type { Duration } from '../../../core/base/duration.ts';
import type { SourceStatus } from '../../../core/contract/sources.ts';
import type { StreamName } from '../../../core/contract/streams.ts';
import { NoteFile } from '../../state/note-file.ts';
import { AuditControl } from '../audit/control.ts';
import type { AuditStatus } from '../audit/status.ts';
import { UnauditedProcesses } from '../audit/unaudited-processes.ts';
import { NETLINK_AUDIT, openNetlink } from '../native/netlink/socket.ts';
import { type DeliveryParts, FeedDelivery, type FeedSubscriber } from './feed-delivery.ts';
import { ReadTimes } from './read-times.ts';
import { type Feed, type LadderParts, type Rung, SourceLadder } from './source-ladder.ts';

/** Size limit for files in /proc about the whole system. */
const MAX_BYTES = 16 * 1024;

type LadderOptions =
  | 'wanted'
  | 'supervisor'
  | 'commandLines'
  | 'heldStarts'
  | 'yieldsToAgent'
  | 'flooded'
  | 'backlogWait';

interface Parts extends Omit<DeliveryParts, 'times'>, Pick<LadderParts, LadderOptions> {
  /** The streams that a lost audit event may have belonged to. */
  readonly audited: readonly StreamName[];
}

/**
 * The feeds that several sources read from: the kernel's audit, or if that isn't available, starts of programs by other
 * means. At most one feed is open, the best available one. `refresh`, `improve` and `close` are called within
 * `SourceSupervisor.run`.
 */
export class Feeds {
  /** Up to which times the open feed was read. */
  readonly times: ReadTimes;
  readonly #parts: Parts;
  readonly #ladder: SourceLadder;
  readonly #delivery: FeedDelivery;
  readonly #unaudited: UnauditedProcesses | undefined;
  /** Until the first attempt to open a feed is done. */
  #isOpening = true;

  /** @param ladder replaced in tests */
  constructor(parts: Parts, ladder?: readonly Rung[]) {
    this.#parts = parts;
    const { clock, log, stateDirectory, writer, proc, audited } = parts;
    this.times = new ReadTimes(clock, () => this.current !== undefined || this.#isOpening);
    const delivery = new FeedDelivery({ ...parts, times: this.times });
    this.#delivery = delivery;
    if (stateDirectory !== undefined) {
      this.#unaudited = new UnauditedProcesses({
        proc,
        commandLine: readOptional('/proc/cmdline', MAX_BYTES),
        bootId: readOptional('/proc/sys/kernel/random/boot_id', MAX_BYTES)?.trim() ?? '',
        note: new NoteFile(join(stateDirectory, 'audit-enabled.json'), writer),
        clock,
        log,
      });
    }
    const lost = (count: number) => delivery.drop(audited, 'kernel', count);
    this.#ladder = new SourceLadder(
      {
        ...parts,
        audit: { accept: (events) => delivery.accept(events), lost },
        auditLog: { accept: (events) => delivery.acceptLogged(events), lost },
        excluded: (count) => delivery.drop('starts', 'excluded', count),
        sink: { accept: (...batch) => parts.sink.accept(...batch), drop: (...loss) => delivery.drop(...loss) },
        resume: () => delivery.resume(),
        drained: (progress) => delivery.drained(progress, this.current),
        settled: (until) => delivery.settled(until),
        foundTaskRule: (isThere) => void this.#unaudited?.foundTaskRule(isThere),
        opened: () => {
          if (this.current === 'audit') delivery.auditOpened(this.status('audit').source === 'auditLog');
        },
        interrupted: () => delivery.interrupted(),
      },
      ladder,
    );
  }

  /** Subscribers receive what the feeds report, in this order. Call this before the feeds are opened. */
  subscribe(subscribers: readonly FeedSubscriber[]): void {
    this.#delivery.subscribe(subscribers);
  }

  /** The feed that is open; `undefined` when none is. */
  get current(): Feed | undefined {
    return this.#ladder.feed;
  }

  /** Status for a source that needs `feed`. Both feeds report starts. */
  status(feed: Feed): SourceStatus {
    return this.#ladder.status(feed);
  }

  /** Status of the feed that serves most requested streams. */
  wantedStatus(): SourceStatus {
    return this.#ladder.wantedStatus();
  }

  /**
   * The same for a source that needs audit's records of system calls: the reason names processes that audit does not
   * report. The state is unchanged: most systems have such processes, and a permanent `degraded` would hide other problems.
   */
  statusOfCalls(feed: Feed): SourceStatus {
    const status = this.status(feed);
    if (this.current !== 'audit' || status.state === 'off') return status;
    const reasons = [status.reason, this.#unaudited?.reason()].filter((reason) => reason !== undefined);
    return reasons.length === 0 ? status : { ...status, reason: reasons.join(' ') };
  }

  /** When audit was last read, which happens at least every two seconds. While it isn't open, the current time. */
  lastMoved(): Duration {
    return this.current === 'audit' ? this.times.last : this.#parts.clock.monotonic();
  }

  /**
   * Connects the kernel's audit if it is wanted and available: from now on, its records wait in the kernel until `refresh`
   * reads them. Never rejects.
   */
  async connect(): Promise<void> {
    if (this.#wantsAudit) await this.#unaudited?.ask(() => this.#auditStatus());
    await this.#ladder.connect();
  }

  /** Closes what `connect` has opened, unless `refresh` has taken it over. Never rejects. */
  async disconnect(): Promise<void> {
    await this.#ladder.disconnect();
  }

  /** Opens and closes feeds as `wanted()` demands. */
  async refresh(): Promise<void> {
    if (this.#wantsAudit) await this.#unaudited?.look(() => this.#auditStatus());
    try {
      await this.#ladder.refresh();
    } finally {
      this.#isOpening = false;
    }
  }

  /** Opens a better feed, if one has become available. */
  async improve(): Promise<void> {
    await this.#ladder.improve();
  }

  /** Delivers what is left, and closes the open feed. */
  async close(): Promise<void> {
    await this.#ladder.close();
  }

  /** Stops catching up, and saves the position in audit. Call this when the sources have closed. */
  async finish(): Promise<void> {
    await this.#delivery.finish();
  }

  get #wantsAudit(): boolean {
    return this.#parts.wanted().feeds.has('audit');
  }

  async #auditStatus(): Promise<AuditStatus> {
    const control = new AuditControl(openNetlink(NETLINK_AUDIT), this.#parts.clock);
    try {
      return await control.status();
    } finally {
      control.close();
    }
  }
}
