import { firewallConfiguration } from '../../src/agent/collectors/firewall-configuration.ts';
import { findTool } from '../../src/agent/host/run-tool.ts';
import { Firewall } from '../../src/agent/linux/firewall/firewall.ts';
import { AgentError } from '../../src/core/base/errors.ts';
import { sources } from '../agent/collectors/samples.ts';

/* Prints one snapshot of this network namespace's firewall with its source's status and its duration, as JSON. For
 * firewall.test.ts, which runs it in the namespace of the rules: `ip netns exec NAME node firewall-snapshot.js`. Its arguments
 * are the names of tools that it must not find. */

const hidden = process.argv.slice(2);
const firewall = new Firewall({ find: (name) => (hidden.includes(name) ? undefined : findTool(name)) });
const started = process.hrtime.bigint();
const answer = await firewallConfiguration
  .collect({ ...sources, firewall }, new AbortController().signal)
  .then((payload) => ({ payload }))
  .catch((error: unknown) => {
    if (!(error instanceof AgentError)) throw error;
    const { id, message, remedy } = error;
    return { error: { id, message, remedy } };
  });
const milliseconds = Number(process.hrtime.bigint() - started) / 1e6;
const residentMb = process.resourceUsage().maxRSS / 1024;
process.stdout.write(JSON.stringify({ ...answer, status: firewall.status(), milliseconds, residentMb }));
