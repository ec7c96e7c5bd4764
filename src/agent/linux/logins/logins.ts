import { join } from 'node:path';
import { type Clock, isPlausible } from '../../../core/base/clock.ts';
import { seconds } from '../../../core/base/duration.ts';
import type { Logger } from '../../../core/base/log.ts';
import { exists } from '../../../core/base/paths.ts';
import type { SourceStatus } from '../../../core/contract/sources.ts';
import type { LoginSeen, StreamSink } from '../../../core/contract/streams.ts';
import { hostProc } from '../../host/in-root.ts';
import type { BackgroundWriter } from '../../state/background-writer.ts';
import { NoteFile } from '../../state/note-file.ts';
import type { AuditEvent } from '../audit/event.ts';
import { OptionalSource } from '../source-state/optional-source.ts';
import { AuditLogins } from './audit-logins.ts';
import { HeldLogins } from './held-logins.ts';
import { LoginConnections } from './login-connections.ts';
import { type LoginCheckpoint, LoginFiles, parseLoginCheckpoint } from './login-files.ts';
import { LoginReporters } from './login-reporters.ts';

/** How long the login files are read for entries from before audit was read. */
const CATCH_UP = seconds(3);

interface Parts {
  readonly sink: StreamSink;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostRoot: string;
  /** auditd's log, below hostRoot. If it exists, missed logins are read from it. */
  readonly auditLog: string;
  /** If omitted, nothing is saved, and missed logins are not reported. */
  readonly stateDirectory?: string | undefined;
  /** Saves in the background, after the events. Default: immediately. */
  readonly writer?: BackgroundWriter | undefined;
  /** The program that a process was last seen to start, and its container. */
  readonly executableOf?: (pid: number) => string | undefined;
  readonly containerOf?: (pid: number) => string | undefined;
}

/**
 * Logins from audit if audit is available, else from wtmp, btmp and wtmpdb; never from both at once.
 *
 * Saves up to which time logins were reported. Logins recorded in the files while the agent was not running are reported
 * once, even if audit is the source afterwards, unless auditd's log has them. Logins that were waiting for a better
 * record when the agent was killed are reported at the next start as they are.
 */
export class Logins {
  readonly #parts: Parts;
  readonly #audit: AuditLogins;
  readonly #files: OptionalSource<LoginFiles>;
  readonly #note: NoteFile | undefined;
  readonly #held: HeldLogins | undefined;
  #checkpoint: LoginCheckpoint | undefined;
  #caughtUp = false;
  #heldEmitted = false;
  #warned = false;
  /** Login records without a user or process, as far as they were counted already. */
  #unusable = 0;
  #stopping = new AbortController();
  #catchingUp: Promise<void> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
    const { sink, clock, hostRoot, stateDirectory, writer } = parts;
    const proc = hostProc(hostRoot);
    const connections = new LoginConnections({ clock, proc });
    const reporters = new LoginReporters({ ...parts, proc });
    this.#audit = new AuditLogins({
      portsOf: (...login) => connections.portsOf(...login),
      reporterOf: (pid) => reporters.of(pid),
    });
    if (stateDirectory !== undefined) {
      this.#note = new NoteFile(join(stateDirectory, 'login-checkpoint.json'), writer);
      this.#held = new HeldLogins(join(stateDirectory, 'held-logins.json'), writer);
    }
    this.#checkpoint = parseLoginCheckpoint(this.#note?.read());
    this.#files = new OptionalSource(() => this.#openFiles(sink));
  }

  /** Takes audit events. */
  accept(events: readonly AuditEvent[]): void {
    this.#emit(this.#audit.accept(events));
    const { unusable } = this.#audit.counts;
    if (unusable > this.#unusable) this.#parts.sink.drop('logins', 'unresolved', unusable - this.#unusable);
    this.#unusable = unusable;
  }

  /** Reports logins that have waited long enough for a better record. Call it after every drain of audit. */
  expire(): void {
    this.#emit(this.#audit.expire(this.#parts.clock.monotonic()));
    this.#keep();
  }

  /** Reads the login files if audit is not the source. Never rejects. */
  async follow({ isWanted, isFromAudit }: { isWanted: boolean; isFromAudit: boolean }): Promise<void> {
    this.#emitHeld();
    if (!isFromAudit) this.#flush();
    await this.#files.want(isWanted && !isFromAudit);
    if (!isWanted || this.#caughtUp) return;
    this.#caughtUp = true;
    if (isFromAudit && this.#checkpoint !== undefined) this.#catchingUp = this.#catchUp(this.#stopping.signal);
  }

  /** The status of the login files. If audit is the source, its own status applies. */
  status(): SourceStatus {
    return this.#files.status((files) => files.status());
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#catchingUp;
    this.#stopping = new AbortController();
    this.#flush();
    await this.#files.close();
  }

  #flush(): void {
    this.#emit(this.#audit.flush());
    this.#keep();
  }

  /** Reports once the logins that an earlier run left. */
  #emitHeld(): void {
    if (this.#heldEmitted) return;
    this.#heldEmitted = true;
    const { logins = [], unusable = 0 } = this.#held?.read() ?? {};
    if (unusable > 0) this.#parts.sink.drop('logins', 'killed', unusable);
    this.#emit([...logins].sort((a, b) => a.time.getTime() - b.time.getTime()));
    this.#keep();
  }

  /** Saves the waiting logins, so that they survive kill -9. */
  #keep(): void {
    if (!this.#heldEmitted) return;
    try {
      this.#held?.write(this.#audit.held());
    } catch (err) {
      if (!this.#warned) this.#parts.log.warn({ err }, 'Could not save the logins that wait for a better record.');
      this.#warned = true;
    }
  }

  async #catchUp(signal: AbortSignal): Promise<void> {
    const { hostRoot, auditLog, sink, clock, log } = this.#parts;
    if (exists(join(hostRoot, auditLog))) return;
    const listeningSince = clock.now();
    const files = this.#openFiles({
      ...sink,
      accept(stream, records) {
        const missed = records.filter((record) => 'time' in record && isBefore(record.time, listeningSince));
        if (missed.length > 0) sink.accept(stream, missed);
      },
    });
    try {
      files.open();
      await clock.sleep(CATCH_UP, signal);
    } catch (err) {
      log.debug({ err }, 'No login files to catch up from.');
    }
    await files.close();
    this.#remember({ timeMs: laterOf(clock.now().getTime(), this.#checkpoint, clock.now()) });
  }

  #openFiles(sink: StreamSink): LoginFiles {
    const { clock, log, hostRoot } = this.#parts;
    const moved = (checkpoint: LoginCheckpoint) => this.#remember(checkpoint);
    return new LoginFiles({ sink, clock, log, hostRoot, checkpoint: this.#checkpoint, moved });
  }

  #emit(logins: readonly LoginSeen[]): void {
    const last = logins.at(-1);
    if (last === undefined) return;
    this.#parts.sink.accept('logins', logins);
    this.#remember({ timeMs: laterOf(last.time.getTime(), this.#checkpoint, this.#parts.clock.now()) });
  }

  #remember(checkpoint: LoginCheckpoint): void {
    this.#checkpoint = checkpoint;
    try {
      this.#note?.write(checkpoint);
    } catch (err) {
      this.#parts.log.debug({ err }, 'Could not save up to which time logins were reported.');
    }
  }
}

/** Whether something happened before `instant`. While the clock is not set, any plausible time counts as before. */
const isBefore = (time: Date, instant: Date): boolean => time < instant || (!isPlausible(instant) && isPlausible(time));

/** The time up to which logins were reported only moves forward, unless it came from a clock that was ahead. */
const laterOf = (timeMs: number, known: LoginCheckpoint | undefined, now: Date): number => {
  const before = known?.timeMs ?? 0;
  return before > now.getTime() && isPlausible(now) ? timeMs : Math.max(timeMs, before);
};
