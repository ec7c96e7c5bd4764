import { closeSync, openSync, readSync } from 'node:fs';
import type { HardwareDevice, ListingStatus } from '../../../../core/contract/sources.ts';
import { hostMount } from '../../../host/in-root.ts';
import { MAX_PER_KIND } from '../../../host/sysfs.ts';
import { type Asking, MachineQuestion } from '../machine-question.ts';
import { HARDWARE, type HardwareListing, type HardwarePlace, MAX_DEVICES, parseListing } from './list-hardware.ts';

/** In bytes. */
const LONGEST_NUMBER = 64;

/** The hardware that the kernel knows, listed by a child process: see list-hardware.ts. */
export class Hardware {
  readonly #place: HardwarePlace;
  readonly #question: MachineQuestion<HardwarePlace, HardwareListing | null>;
  #status: ListingStatus = { state: 'off' };
  /** The open file of the trace: looking its name up again could wait. */
  #trace: number | undefined;

  constructor({ reader, clock, ...place }: HardwarePlace & Asking) {
    this.#place = place;
    const failure = "Hardware can't be listed";
    this.#question = new MachineQuestion({ kind: HARDWARE, failure, parse: parseListing, reader, clock });
  }

  /** How the last listing went. */
  status(): ListingStatus {
    return this.#status;
  }

  /** The number of the kernel's last message about a device: it counts every attached, detached or changed device. */
  async trace(): Promise<string | undefined> {
    try {
      this.#trace ??= openSync(`${this.#sys}/kernel/uevent_seqnum`, 'r');
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
    const listing = await this.#question.ask(this.#place, signal);
    if (listing === null)
      throw this.#question.unreadable(
        `there is no ${this.#sys}/devices`,
        'Mount sysfs at /sys; containers have it by default.',
      );
    const { found, leftOut } = listing;
    const reason = `${leftOut} devices are not listed: at most ${MAX_PER_KIND} of a kind and ${MAX_DEVICES} in all are.`;
    this.#status = leftOut === 0 ? { state: 'on' } : { state: 'degraded', reason, leftOut };
    return found;
  }

  get #sys(): string {
    return this.#place.sys ?? hostMount(this.#place.hostRoot, 'sys');
  }
}
