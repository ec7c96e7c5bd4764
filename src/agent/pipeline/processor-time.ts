import { type Duration, milliseconds } from '../../core/base/duration.ts';

/** What this process has used of processors since its start, all its threads together; its child processes are not in it. */
export function processorTime(): Duration {
  const { user, system } = process.cpuUsage();
  return milliseconds((user + system) / 1_000);
}
