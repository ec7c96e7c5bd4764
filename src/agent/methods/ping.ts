import * as v from 'valibot';
import { method } from '../../core/contract/method.ts';
import { type MethodParts, nothing, text, time } from './parts.ts';

export const ping = method({
  name: 'ping',
  summary: 'Answers if the agent is running and connected.',
  permission: 'ping',
  request: nothing,
  answer: v.strictObject({
    version: text("The agent's version."),
    agentId: text("The agent's id, as in its messages."),
    time: time("Current time of the device's clock."),
  }),
  run(_request, { now, status }: MethodParts) {
    const { version, agentId } = status();
    return { version, agentId, time: now().toISOString() };
  },
});
