import { BaselineEngine } from '../../../src/agent/baseline/engine.ts';
import { systemClock } from '../../../src/core/base/clock.ts';

/* Evaluates the rules that it is given as this process sees the system, and prints the outcomes as JSON. */

const engine = new BaselineEngine({ hostRoot: '/', clock: systemClock, inContainer: false });
const options = { level: 1, walk: false, groupsDisabled: [], checksDisabled: [], roles: [] } as const;
const { outcomes } = await engine.scan({ ...options, only: process.argv.slice(2) }, new AbortController().signal);
process.stdout.write(JSON.stringify(outcomes));
