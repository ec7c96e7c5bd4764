import { closeSync, openSync, readSync } from 'node:fs';
import type { Clock } from '../../../base/clock.ts';
import { type Duration, hours } from '../../../base/duration.ts';
import { AgentError, messageOf } from '../../../base/errors.ts';
import { hostMount } from '../../../base/in-root.ts';
import type { Reader } from '../../../base/reader/reader.ts';
import type { HardwareDevice, ListingStatus } from '../../../contract/sources.ts';
import { MAX_PER_KIND } from '../../../host/sysfs.ts';
import { HARDWARE, type HardwareListing, type HardwarePlace, MAX_DEVICES, parseListing } from './list-hardware.ts';

/** In bytes. */
const LONGEST_NUMBER = 64;
/** How long nothing is listed after a listing hung: each attempt may leave a child process that cannot be killed. */
const REST = hours(1);

interface Options extends HardwarePlace {
  readonly reader: Pick<Reader, 'ask'>;
  readonly clock: Pick<Clock, 'monotonic'>;
}

/** The hardware that the kernel knows, listed by a child process: see list-hardware.ts. */
export class Hardware {
  readonly #options: Options;
  #status: ListingStatus = { state: 'off' };
  /** The open file of the trace: looking its name up again could wait. */
  #trace: number | undefined;
  #hung: { readonly at: Duration; readonly where: string } | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  /** How the last listing went. */
  status(): ListingStatus {
    return this.#status;
  }

  /** The number of the kernel's last message about a device: it counts whatever is attached, detached or changed. */
  async trace(): Promise<string | undefined> {
    const { hostRoot, sys = hostMount(hostRoot, 'sys') } = this.#options;
    try {
      this.#trace ??= openSync(`${sys}/kernel/uevent_seqnum`, 'r');
      const number = Buffer.alloc(LONGEST_NUMBER);
      return number.toString('latin1', 0, readSync(this.#trace, number, 0, LONGEST_NUMBER, 0));
    } catch {
      if (this.#trace !== undefined) closeSync(this.#trace);
      this.#trace = undefined;
      return undefined;
    }
  }

  /**
   * All devices, by kind and in natural order.
   *
   * @throws the signal's reason when it aborts, AgentError SOURCE_UNREADABLE when sysfs is missing or can't be read
   */
  async devices(signal: AbortSignal): Promise<readonly HardwareDevice[]> {
    signal.throwIfAborted();
    const { found, leftOut } = await this.#list(signal);
    const reason = `${leftOut} devices are not listed: at most ${MAX_PER_KIND} of a kind and ${MAX_DEVICES} in all are.`;
    this.#status = leftOut === 0 ? { state: 'on' } : { state: 'degraded', reason, leftOut };
    return found;
  }

  async #list(signal: AbortSignal): Promise<HardwareListing> {
    const { reader, clock, hostRoot, sys, proc, wordBits } = this.#options;
    if (this.#hung !== undefined && clock.monotonic() - this.#hung.at < REST) throw hangs(this.#hung.where);
    const place = {
      hostRoot,
      ...(sys === undefined ? {} : { sys }),
      ...(proc === undefined ? {} : { proc }),
      ...(wordBits === undefined ? {} : { wordBits }),
    };
    const [answer] = await reader.ask(HARDWARE, [place], signal);
    signal.throwIfAborted();
    this.#hung = undefined;
    if (answer?.state === 'hung') {
      this.#hung = { at: clock.monotonic(), where: answer.at ?? 'sysfs' };
      throw hangs(this.#hung.where);
    }
    if (answer?.state !== 'answered')
      throw unreadable(answer === undefined || answer.state === 'avoided' ? 'it was not asked' : answer.message);
    const listing = parsed(answer.value);
    if (listing !== null) return listing;
    const folder = `${sys ?? hostMount(hostRoot, 'sys')}/devices`;
    throw unreadable(`there is no ${folder}`, 'Mount sysfs at /sys; containers have it by default.');
  }
}

function parsed(answer: unknown): HardwareListing | null {
  try {
    return parseListing(answer);
  } catch (error) {
    throw unreadable(`the reader's answer is not valid: ${messageOf(error)}`);
  }
}

const hangs = (where: string) =>
  unreadable(
    `reading ${where} hung, and its process was killed; it is tried again an hour later`,
    'Look for a program that keeps the folder locked: its mkdir(2) there does not return. Any user can write one, with FUSE.',
  );

const unreadable = (what: string, remedy = 'Look at the log for what is wrong with the reader process.') =>
  new AgentError('SOURCE_UNREADABLE', `Hardware can't be listed: ${what}`, remedy);
