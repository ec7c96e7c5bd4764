import { systemClock } from '../../core/base/clock.ts';
import { AgentError } from '../../core/base/errors.ts';
import type { FirewallRule } from '../../core/contract/sources.ts';
import type { Answerer } from '../reader/question.ts';
import { BaselineEngine, type EngineParts } from './engine.ts';
import type { FirewallFacts, ScanQuestion } from './scan-question.ts';

/** Runs a scan in the child. Only the child loads this file: the agent needs neither the engine nor the rules. */
export const scanAnswerer =
  (parts: Pick<EngineParts, 'fileCapabilities'>): Answerer<ScanQuestion, unknown> =>
  ({ hostRoot, options, firewall, hung }, { at }) =>
    new BaselineEngine({
      ...parts,
      hostRoot,
      clock: systemClock,
      ...(firewall === undefined ? {} : { firewall: { rules: async () => rulesOf(firewall) } }),
      hung,
      at,
    }).scan(options, new AbortController().signal);

function rulesOf(facts: FirewallFacts): readonly FirewallRule[] {
  if ('rules' in facts) return facts.rules;
  throw new AgentError('SOURCE_UNREADABLE', facts.problem, facts.remedy);
}
