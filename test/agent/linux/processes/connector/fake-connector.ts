import { openSync } from 'node:fs';
import { readU32 } from '../../../../../src/agent/linux/native/byte-order.ts';
import { NetlinkSocket } from '../../../../../src/agent/linux/native/netlink/socket.ts';
import { ProcessConnector } from '../../../../../src/agent/linux/processes/connector/connector.ts';
import { IGNORE } from '../../../../../src/agent/linux/processes/connector/messages.ts';
import { answerTo } from './datagrams.ts';

/** A socket that gives datagrams instead of the kernel's, and answers requests as the kernel does. */
export class FakeSocket extends NetlinkSocket {
  readonly waiting: Buffer[];
  readonly requests: number[] = [];
  readonly filters: Buffer[] = [];
  readonly #answer: (acknowledgement: number) => Buffer | undefined;
  broken: Error | undefined;
  /** Endless datagrams, read when none is waiting. */
  endless: (() => Buffer) | undefined;

  constructor(answer: (acknowledgement: number) => Buffer | undefined = answerTo, waiting: readonly Buffer[] = []) {
    super(openSync('/dev/null', 'r'));
    this.#answer = answer;
    this.waiting = [...waiting];
  }

  override send(_type: number, _flags: number, payload: Buffer): number {
    this.requests.push(readU32(payload, 20));
    const answer = this.#answer(readU32(payload, 12));
    if (answer !== undefined) this.waiting.push(answer);
    return 1;
  }

  override read(into: Buffer): number | undefined {
    if (this.broken !== undefined) throw this.broken;
    return (this.waiting.shift() ?? this.endless?.())?.copy(into);
  }

  override filter(program: Buffer): boolean {
    this.filters.push(program);
    return true;
  }

  /** As where the kernel announces nothing: it is read at intervals. */
  override announceArrivals(): boolean {
    return false;
  }

  override close(): void {
    super.close();
    this.broken = Object.assign(new Error('EBADF: bad file descriptor, read'), { code: 'EBADF' });
  }

  /** Whether it was told to stop before it was closed. */
  get isClosed(): boolean {
    return this.broken !== undefined && this.requests.at(-1) === IGNORE;
  }
}

/** A connector whose kernel is in the test's hand. */
export const fakeConnector = (socket = new FakeSocket()) =>
  ProcessConnector.open(
    () => Buffer.alloc(8),
    () => socket,
  );
