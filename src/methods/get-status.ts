import { method } from '../contract/method.ts';
import { LocalStatusSchema } from '../status/schema.ts';
import { nothing } from './fields.ts';
import type { MethodParts } from './parts.ts';

export const getStatus = method({
  name: 'getStatus',
  summary: 'Says how the agent is doing, as `vakt status --json` does on the device.',
  permission: 'getStatus',
  request: nothing,
  answer: LocalStatusSchema,
  run: (_request, { status }: MethodParts) => status(),
});
