import { failed, note, ok } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'identity';

/** The way that the identity takes, step by step, up to the connection. */
export const identity: Check = {
  name: NAME,
  run({ identity: who }) {
    if ('id' in who) return [failed(NAME, who)];
    const { steps, failure } = who;
    const findings = steps.map(({ name, text, remedy }) =>
      remedy === undefined ? ok(name, text) : note(name, text, remedy),
    );
    const isToBeMade = failure?.error.id === 'MODULE_UNKNOWN' && steps.at(-1)?.remedy !== undefined;
    return failure === undefined || isToBeMade ? findings : [...findings, failed(NAME, failure.error)];
  },
};
