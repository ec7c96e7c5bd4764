/* Shared by tests in an emulated machine: an agent whose status is read from its control socket. */

const CONFIGURATION = {
  hub: { hostName: 'nowhere.invalid' },
  identity: { kind: 'moduleKey', deviceId: 'device1', keyFile: '/run/key' },
  stateDirectory: '/run/vakt-state',
  controlSocket: '/run/vakt.sock',
  collectors: { loopbackConnections: true },
};

/**
 * Returns the files that `PREPARE` expects.
 *
 * @param events names of the events that `ask.mjs` writes to `/run/NAME`, one per line
 * @param more additional settings of the local file
 */
export const agentFiles = (events: readonly string[], more: object = {}): Readonly<Record<string, string>> => ({
  'agent.json': JSON.stringify({ ...CONFIGURATION, ...more }),
  'ask.mjs': ask(events),
});

/**
 * The first lines of a script for sh(1): they put all files that the agent needs into `/run`. `until_in PATTERN FILE` waits until
 * a line of the file matches, and aborts the script after a time limit.
 */
export const PREPARE = `
set -eu
until_in() { for i in $(seq 1800); do if grep -q -- "$1" "$2" 2>/dev/null; then return 0; fi; sleep 0.1; done
  echo "not in $2: $1" >&2; cat /run/agent.log >&2; exit 1; }
cp /results/agent.json /results/ask.mjs /run
(umask 077; printf '%s' MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE= >/run/key)
mkdir -m 0700 /run/vakt-state
`;

/**
 * Follows events and writes the status to `/run/status` at each SIGUSR1. One process does both, since Node takes seconds to start
 * in such a machine.
 */
const ask = (events: readonly string[]) => `
import { request } from 'node:http';
import { appendFileSync, writeFileSync } from 'node:fs';
const ask = (path, take) => request({ socketPath: '/run/vakt.sock', path }, take).end();
for (const event of ${JSON.stringify(events)}) {
  ask('/follow?event=' + event, (answer) => {
    writeFileSync('/run/' + event, 'following\\n');
    answer.on('data', (data) => appendFileSync('/run/' + event, data));
  });
}
process.on('SIGUSR1', () => {
  let text = '';
  ask('/status', (answer) => answer.on('data', (data) => (text += data)).on('end', () => writeFileSync('/run/status', text + '\\n')));
});
`;
