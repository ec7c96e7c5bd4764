import { type Finding, failed, note, ok, seen } from './finding.ts';
import { isFileError } from './secrets.ts';
import type { Check, Presented, Situation } from './situation.ts';

const NAME = 'identity';

/** Settings and files of the agent's identity, then each step from the identity to the connection. */
export const identity: Check = {
  name: NAME,
  run({ identity: who, network, agent }, failedChecks) {
    if ('id' in network) return isFileError(network) ? [] : [failed(NAME, network)]; // by the check of the secrets
    if ('id' in who) return [failed(NAME, who)];
    if (failedChecks.has('clock')) return []; // services refuse what depends on the time
    return who.isLeftToAgent === true ? [leftTo(agent, who)] : stepsOf(who);
  },
};

function stepsOf({ steps, failure }: Presented): Finding[] {
  const findings = steps.map(({ name, text, details, remedy }) =>
    seen(remedy === undefined ? ok(name, text) : note(name, text, remedy), details),
  );
  // Only the registry step reports that the agent will create a missing module.
  const last = steps.at(-1);
  const willBeCreated =
    failure?.error.id === 'MODULE_UNKNOWN' && last?.name === 'registry' && last.remedy !== undefined;
  return failure === undefined || willBeCreated ? findings : [...findings, failed(NAME, failure.error)];
}

function leftTo({ statusByThisFile }: Situation['agent'], { identity: { kind } }: Presented): Finding {
  const { hub, source } = statusByThisFile?.credential ?? {};
  const where = hub === undefined ? '' : ` for ${hub}`;
  const details = source === undefined ? [] : [`in use: ${source}`];
  return seen(ok(NAME, `${kind}${where}; only the running agent asks services for credentials`), details);
}
