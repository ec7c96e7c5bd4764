import type { Commands } from '../../core/command-line/program.ts';

export const commands: Commands = { fleet: () => import('./fleet.ts') };
