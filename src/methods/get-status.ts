import { method } from '../contract/method.ts';
import { nothing, object } from './fields.ts';
import type { MethodParts } from './parts.ts';

export const getStatus = method({
  name: 'getStatus',
  summary: 'Says how the agent is doing, as `vakt status --json` does on the device.',
  permission: 'getStatus',
  request: nothing,
  answer: object('The status: securityAgent of the reported properties, with figures of now, books by event and more.'),
  run: (_request, { status }: MethodParts) => ({ ...status() }),
});
