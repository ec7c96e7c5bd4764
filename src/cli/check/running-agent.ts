import { failed, note, ok } from './finding.ts';
import type { Check } from './situation.ts';

const NAME = 'running agent';

export const runningAgent: Check = {
  name: NAME,
  run({ agent: { status, doubt } }) {
    if (doubt?.id === 'CONFIG_INVALID') return [failed(NAME, doubt)];
    if (doubt !== undefined) return [note(NAME, `can't be asked: ${doubt.message}`, doubt.remedy)];
    if (status === undefined) return [note(NAME, 'none; everything is tried as this user', 'Start it: vakt run.')];
    return [ok(NAME, `${status.state}, version ${status.version}; it is asked, not disturbed`)];
  },
};
