/**
 * Starts to measure the CPU time of this process. Unlike the time by a clock, it does not grow with what others
 * do on this machine.
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
