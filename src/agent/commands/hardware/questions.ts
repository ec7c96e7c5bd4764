/* Queried functions of the package systeminformation, with their arguments and the privileges that each needs. */

export interface HardwareQuestion {
  /** The function's name in systeminformation. */
  readonly name: string;
  readonly about: string;
  readonly args: readonly string[];
  /**
   * `none`: a user without any rights is enough, at the cost of serial numbers. `files`: files that only root may read, such as
   * the firmware's tables. `disks`: commands to disks, too, for smartctl(8).
   */
  readonly needs: 'none' | 'files' | 'disks';
}

const question = (name: string, about: string, needs: HardwareQuestion['needs'] = 'none', ...args: string[]) =>
  ({ name, about, needs, args }) satisfies HardwareQuestion;

/** In the order in which they are asked. */
export const HARDWARE_QUESTIONS: readonly HardwareQuestion[] = [
  question('system', 'product and virtualisation'),
  question('bios', 'firmware'),
  question('baseboard', 'board'),
  question('chassis', 'housing'),
  question('memLayout', 'memory modules', 'files'),
  question('diskLayout', 'disks with their health and temperatures', 'disks'),
  question('cpuTemperature', 'temperatures of the processor'),
  question('battery', 'battery'),
  question('graphics', 'graphics and displays'),
  question('networkInterfaces', 'network interfaces', 'none', '*'),
  question('services', 'services', 'none', '*'),
];
