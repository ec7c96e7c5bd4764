import type { Commands } from '../../core/command-line/program.ts';

export const commands: Commands = {
  demo: () => import('./demo.ts'),
  emulator: () => import('./emulator.ts'),
};
