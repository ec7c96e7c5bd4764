import type { Commands } from '../../core/command-line/program.ts';

/** Every command of the agent. */
export const commands: Commands = {
  run: () => import('./run.ts'),
  check: () => import('./check.ts'),
  collect: () => import('./collect.ts'),
  events: () => import('./events.ts'),
  status: () => import('./status.ts'),
  'support-bundle': () => import('./support-bundle.ts'),
  baseline: () => import('./baseline.ts'),
  alerts: () => import('./alerts.ts'),
  rules: () => import('./rules.ts'),
  posture: () => import('./posture.ts'),
  report: () => import('./report.ts'),
  'verify-chain': () => import('./verify-chain.ts'),
  'remove-rules': () => import('./remove-rules.ts'),
  'make-code-cache': () => import('./make-code-cache.ts'),
};
