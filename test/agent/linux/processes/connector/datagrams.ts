import { readFileSync } from 'node:fs';
import { writeU16, writeU32 } from '../../../../../src/agent/linux/native/byte-order.ts';
import { encodeMessage } from '../../../../../src/agent/linux/native/netlink/message.ts';
import { EXEC, EXIT, MESSAGE_TYPE, NONE } from '../../../../../src/agent/linux/processes/connector/messages.ts';

/** Messages from `npm run capture -- process-connector`. */
export const golden: readonly Buffer[] = readFileSync('test/golden/debian13-6.18/process-connector.txt', 'latin1')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => Buffer.from(line, 'hex'));

interface Fields {
  readonly what?: number;
  readonly index?: number;
  readonly value?: number;
  readonly acknowledgement?: number;
  readonly nanoseconds?: number;
  /** The words after the time. */
  readonly details?: readonly number[];
}

/** A datagram as the process connector makes it. */
export function datagram(fields: Fields = {}): Buffer {
  const { what = EXIT, index = 1, value = 1, acknowledgement = 0, nanoseconds = 5e9, details = [] } = fields;
  const payload = Buffer.alloc(60);
  writeU32(payload, 0, index);
  writeU32(payload, 4, value);
  writeU32(payload, 12, acknowledgement);
  writeU16(payload, 16, 40);
  writeU32(payload, 20, what);
  writeU32(payload, 28, nanoseconds % 2 ** 32);
  writeU32(payload, 32, Math.floor(nanoseconds / 2 ** 32));
  for (const [at, word] of details.entries()) writeU32(payload, 36 + 4 * at, word);
  return encodeMessage(MESSAGE_TYPE, 0, 0, payload);
}

export const exitOf = (pid: number, code = 0, { threadId = pid, nanoseconds = 5e9 } = {}): Buffer =>
  datagram({ what: EXIT, nanoseconds, details: [threadId, pid, code, 17] });

export const execOf = (pid: number, { nanoseconds = 5e9 } = {}): Buffer =>
  datagram({ what: EXEC, nanoseconds, details: [pid, pid] });

export const answerTo = (acknowledgement: number, errno = 0): Buffer =>
  datagram({ what: NONE, acknowledgement: (acknowledgement + 1) >>> 0, details: [errno] });
