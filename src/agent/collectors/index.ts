import type { Collector } from '../../core/contract/collector.ts';
import { configurationError } from './configuration-error.ts';
import { connectedHardware } from './connected-hardware.ts';
import { connectionCreate } from './connection-create.ts';
import { diagnostic } from './diagnostic.ts';
import { droppedEventsStatistics } from './dropped-events-statistics.ts';
import { firewallConfiguration } from './firewall-configuration.ts';
import { listeningPorts } from './listening-ports.ts';
import { localUsers } from './local-users.ts';
import { login } from './login.ts';
import { messageStatistics } from './message-statistics.ts';
import { osBaseline } from './os-baseline.ts';
import { processCreate } from './process-create.ts';
import { processTerminate } from './process-terminate.ts';
import { securityAlert } from './security-alert.ts';
import { systemInformation } from './system-information.ts';

/** Every event that the agent can send, in the order of src/agent/collectors/README.md. Add yours here. */
export const collectors: readonly Collector[] = [
  processCreate,
  processTerminate,
  connectionCreate,
  login,
  listeningPorts,
  localUsers,
  firewallConfiguration,
  systemInformation,
  connectedHardware,
  osBaseline,
  diagnostic,
  configurationError,
  droppedEventsStatistics,
  messageStatistics,
  securityAlert,
];
