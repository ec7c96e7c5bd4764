import { propertiesOf } from '../../src/core/contract/message.ts';
import type { ReceivedMessage } from '../../src/emulator/message-log.ts';
import type { SimulatedAgent } from '../agent/pipeline/simulated-agent.ts';

/* Messages as their owner's database receives them, by both ways that config/kql/ has mappings for. */

export type Received = Pick<
  ReceivedMessage,
  'deviceId' | 'moduleId' | 'enqueuedAt' | 'systemProperties' | 'applicationProperties' | 'body'
>;

/**
 * A record of a data connection to the hub's Event Hubs endpoint: the body, and the chosen system properties as members.
 * Source: "IoT Hub data connection", Azure Data Explorer documentation.
 */
export const hubRecord = ({ deviceId, enqueuedAt, systemProperties, body }: Received): object => ({
  ...(JSON.parse(body) as object),
  'iothub-connection-device-id': deviceId,
  'iothub-enqueuedtime': enqueuedAt.toISOString(),
  'message-id': systemProperties.messageId,
});

/**
 * A line of a blob that a route to storage writes with the encoding JSON. The body is JSON because the message's content
 * type and encoding declare JSON. Source: "Use IoT Hub message routing", Azure IoT Hub documentation.
 */
export const storageRecord = (message: Received): object => ({
  EnqueuedTimeUtc: message.enqueuedAt.toISOString(),
  Properties: message.applicationProperties,
  SystemProperties: {
    ...message.systemProperties,
    connectionDeviceId: message.deviceId,
    connectionModuleId: message.moduleId,
    enqueuedTime: message.enqueuedAt.toISOString(),
  },
  Body: JSON.parse(message.body),
});

/** The messages of a simulated agent as the hub passes them on. */
export const receivedFrom = (agent: SimulatedAgent, deviceId: string): Received[] =>
  agent.messages.map(({ at, message }) => {
    const { system, application } = propertiesOf(message);
    const enqueuedAt = new Date(at);
    return {
      deviceId,
      moduleId: 'azureiotsecurity',
      enqueuedAt,
      systemProperties: system,
      applicationProperties: application,
      body: message.body,
    };
  });
