import type { Method } from '../../core/contract/method.ts';
import { collectNow } from './collect-now.ts';
import { flush } from './flush.ts';
import { getDiagnostics } from './get-diagnostics.ts';
import { getStatus } from './get-status.ts';
import type { MethodParts } from './parts.ts';
import { pause, resume } from './pause.ts';
import { ping } from './ping.ts';
import { setLogLevel } from './set-log-level.ts';

/** Every direct method, in the order the docs list them. Add yours here. */
export const methods: readonly Method<MethodParts>[] = [
  ping,
  collectNow,
  flush,
  pause,
  resume,
  setLogLevel,
  getStatus,
  getDiagnostics,
];
