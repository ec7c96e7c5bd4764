import type { Step } from '../../identity/identity.ts';
import { failed, note, ok } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'identity';

/** Only the registry's step says of a missing module that the agent will create it. */
const isToBeMadeBy = (steps: readonly Step[]): boolean => {
  const last = steps.at(-1);
  return last?.name === 'registry' && last.remedy !== undefined;
};

/** The way that the identity takes, step by step, up to the connection. */
export const identity: Check = {
  name: NAME,
  run({ identity: who }) {
    if ('id' in who) return [failed(NAME, who)];
    const { steps, failure } = who;
    const findings = steps.map(({ name, text, remedy }) =>
      remedy === undefined ? ok(name, text) : note(name, text, remedy),
    );
    const isToBeMade = failure?.error.id === 'MODULE_UNKNOWN' && isToBeMadeBy(steps);
    return failure === undefined || isToBeMade ? findings : [...findings, failed(NAME, failure.error)];
  },
};
