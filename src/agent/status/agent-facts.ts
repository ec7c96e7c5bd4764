import type { Collector } from '../../core/contract/collector.ts';
import type { HubStatus } from '../../core/contract/hub.ts';
import type { StreamName } from '../../core/contract/streams.ts';
import type { AgentFacts } from '../posture/evaluate.ts';
import type { LocalStatus } from './schema.ts';

/** Streams that the kernel's audit reports best. Ends of programs come from elsewhere anyway. */
const AUDITED: readonly StreamName[] = ['starts', 'connections', 'logins'];

/** What the running agent knows of itself, for recommendations. */
export function agentFacts(
  { configuration, collectors, hub }: Pick<LocalStatus, 'configuration' | 'collectors'> & { hub: HubStatus },
  declared: readonly Collector[],
): AgentFacts {
  const { desiredVersion, errors, warnings } = configuration;
  const refused = Object.keys(errors).length;
  const warned = Object.keys(warnings).length;
  return {
    configuration:
      desiredVersion === undefined
        ? { unknown: 'the module twin has not been read since the start of the agent' }
        : { found: { refused, warned } },
    credential: { found: { expiresSoon: hub.credential.expiresSoon === true } },
    audit: auditFact(collectors, declared),
  };
}

function auditFact(collectors: LocalStatus['collectors'], declared: readonly Collector[]): AgentFacts['audit'] {
  const events = declared.filter((event) => event.category === 'Triggered' && AUDITED.includes(event.stream));
  const states = events.flatMap(({ name }) => collectors[name] ?? []);
  // A source without a name has not been opened yet, unless it cannot be opened.
  const evaluatedStates = states.filter(({ state, source }) => source !== undefined || state === 'unavailable');
  if (evaluatedStates.length === 0)
    return { unknown: `${events.map(({ name }) => name).join(', ')} are off, or not collected yet` };
  return { found: { eventsWithout: evaluatedStates.filter(({ source = '' }) => !source.startsWith('audit')).length } };
}
