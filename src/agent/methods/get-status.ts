import { method } from '../../core/contract/method.ts';
import { LocalStatusSchema } from '../status/schema.ts';
import { type MethodParts, nothing } from './parts.ts';

export const getStatus = method({
  name: 'getStatus',
  summary: "Returns the agent's status, as `vakt status --json` prints it on the device.",
  permission: 'getStatus',
  request: nothing,
  answer: LocalStatusSchema,
  run: (_request, { status }: MethodParts) => status(),
});
