import { subscribe } from 'node:diagnostics_channel';
import { writeSync } from 'node:fs';

/*
 * Loaded into the agent's process before the agent, with --import: reports on file descriptor 3 which programs it
 * starts. The agent looks for one of them in auditd's log to check that the log is being written, and in these tests no
 * kernel notifies auditd. Does not change the agent's behaviour.
 */
subscribe('child_process', (message) => {
  const { process: child } = message as { process: import('node:child_process').ChildProcess };
  child.on('spawn', () => writeSync(3, `${JSON.stringify({ pid: child.pid, argv: child.spawnargs })}\n`));
});
