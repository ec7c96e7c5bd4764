/**
 * Starts to measure the CPU time of this process. Unlike wall time, it does not grow with the load of other processes.
 *
 * @returns a function that returns the milliseconds used since then
 */
export function processorTime(): () => number {
  const began = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1_000;
  };
}
