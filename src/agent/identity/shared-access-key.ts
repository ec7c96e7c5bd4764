import { AgentError } from '../../core/base/errors.ts';

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Whose key it is, and the command that shows it. */
const SHOWN_BY = {
  module: 'az iot hub module-identity show',
  device: 'az iot hub device-identity show',
  enrolment: 'az iot dps enrollment show --show-keys',
  'enrolment group': 'az iot dps enrollment-group show --show-keys',
} as const;
export type KeyOwner = keyof typeof SHOWN_BY;

/**
 * Checks that a text can be a shared access key: base64 of 16 to 64 bytes.
 *
 * @param origin the file it was read from, for the message
 * @throws AgentError SECRET_FILE_MALFORMED
 */
export function checkedKey(key: string, origin: string, owner: KeyOwner = 'module'): string {
  const fault = faultOf(key);
  if (fault === undefined) return key;
  const remedy = `Copy the ${owner}'s primary key again, for example from: ${SHOWN_BY[owner]}.`;
  throw new AgentError('SECRET_FILE_MALFORMED', `the key in ${origin} ${fault}`, remedy);
}

/** For keys that are not from a file. */
export const isSharedAccessKey = (key: string): boolean => faultOf(key) === undefined;

function faultOf(key: string): string | undefined {
  if (key === '') return 'is missing';
  if (!BASE64.test(key)) return 'is not base64';
  const { length } = Buffer.from(key, 'base64');
  return length < 16 || length > 64 ? `has ${length} bytes instead of 16 to 64` : undefined;
}
